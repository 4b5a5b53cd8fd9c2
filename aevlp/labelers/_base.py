"""What every labeler is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from aevlp.data.dataset import Split
from aevlp.data.rows import take_rows

ReportProgress = Callable[[int, int], None]
"""Called with (images done, images in all); may raise to stop."""


class Trial(Protocol):
    """A labeler looking at N photos, which can be told of other labels and tried at other settings than its own."""

    def scores(self, temperature: float | None = None) -> np.ndarray:
        """(N,C), found without being told of any label; larger where a class is likelier there."""
        ...

    def label(self, observed: np.ndarray, temperature: float | None = None, threshold: float | None = None) -> np.ndarray:
        """Pseudo-labels int8 (N,C) given `observed` (N,C)."""
        ...


@dataclass(frozen=True)
class Explained:
    """Pseudo-labels one by one, in row order: K of them, every field (K,)."""

    row: Tensor
    """int64 row of the split."""
    column: Tensor
    """int64 class."""
    sign: Tensor
    """int8, 1 or -1."""
    score: Tensor
    """float32 that decided it."""
    view: Tensor
    """int64: 0 the whole image alone, v the tile v - 1 (row-major) besides it, -1 all tiles besides it."""
    whole: Tensor
    """float32 probability of the class in the whole image."""
    tile: Tensor
    """float32 probability in that tile, or the mean over all; NaN where there is none."""
    grid: int = 0
    """Tiles per side."""


class Labeler:
    """A labeler that assigns nothing; others override what they need."""

    num_images_encoded = 0
    """Views that went through the encoder so far."""

    mirrors = True
    """Whether it takes mirrored views of training images where the dataset flips."""

    uses_cache = True
    """Whether embeddings may be read from the cache and kept there; off where encoding is to be timed."""

    found: Mapping[str, float] = MappingProxyType({})
    """Settings that are not the configuration's but were found, by name; what a run found is kept with it."""

    def require(self, dataset: Split) -> None:
        """AevlpError where it is known, before anything is encoded, that images of a split cannot be looked at."""

    def prepare(self, dataset: Split, progress: ReportProgress | None = None) -> None:
        """Look at the training images once. The split's full labels are not read."""

    def label(self, index: Tensor, observed: Tensor, *, epoch: int, images: Tensor | None = None) -> Tensor:
        """Pseudo-labels int8 (B,C) of training rows `index` (B,), given on the CPU, with observed labels (B,C), on their device.

        They depend on nothing else but the epoch and the seed.
        """
        return torch.zeros(observed.shape, dtype=torch.int8, device=observed.device)

    def evaluate(self, dataset: Split, progress: ReportProgress | None = None) -> tuple[Tensor, Tensor] | None:
        """Scores (N,C) float32 and pseudo-labels int8 (N,C) of another split; None where the labeler has no scores."""
        return None

    def explain(self, dataset: Split, progress: ReportProgress | None = None) -> Explained | None:
        """All pseudo-labels of a split, of images as they are, and why; None where the labeler cannot tell.

        `label` asks this of parts of the training images, and without `prepare`.
        """
        return None

    def explain_parts(
        self, dataset: Split, parts: Iterable[range], progress: ReportProgress | None = None
    ) -> Iterator[Explained | None]:
        """`explain` for each of these ranges of rows; what it gives counts rows from 0 in each."""
        for rows in parts:

            def report(done: int, _: int, first: int = rows.start) -> None:
                if progress:
                    progress(first + done, len(dataset))

            yield self.explain(take_rows(dataset, np.array(rows)), report)

    def encode(self, dataset: Split, flip: bool, progress: ReportProgress | None = None, rows: range | None = None) -> None:
        """Fill the cache with the views of a split, mirror images included where `flip`; nothing where there is no cache.

        `rows`, where it is given, are all that is wanted: a part of the work of a job array (`--shard`).
        """

    def count_missing(self, dataset: Split, flip: bool, rows: range | None = None) -> int | None:
        """Views to encode before a split is labeled, their mirror images included where `flip`; None where it cannot count."""
        return None

    def settle(self, found: Mapping[str, float]) -> None:
        """Take settings that were found, by this labeler or when its run began."""

    def trial(self, dataset: Split, rows: np.ndarray) -> Trial | None:
        """Some rows of the training images to try the labeler on; None where it cannot tell what its labels may be worth."""
        return None

    def table_mb(self, num_images: int) -> float:
        """Megabytes that it would keep in memory for so many training images; its `table_mb` may forbid it."""
        return 0.0

    def view_scores(self, index: Tensor) -> Tensor | None:
        """Class probabilities (B,V,C) of the views of training rows `index` (B,), for people to look at; None where unknown."""
        return None

    def state_dict(self) -> dict[str, Any]:
        """State beyond the configuration, in types that `torch.load(weights_only=True)` takes."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore `state_dict()`."""
