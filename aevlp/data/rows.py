"""Some rows of a split, as a split of their own."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from aevlp.data.dataset import ImageSource, Split, identity
from aevlp.data.features import FeatureImages


@dataclass(frozen=True)
class _ImageRows:
    images: ImageSource
    rows: np.ndarray

    @property
    def in_memory(self) -> bool:
        return getattr(self.images, "in_memory", False)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row: int) -> Tensor:
        return self.images[int(self.rows[row])]

    def name(self, row: int) -> str:
        return self.images.name(int(self.rows[row]))

    def identity(self, row: int) -> bytes | None:
        return identity(self.images, int(self.rows[row]))


def take_rows(split: Split, rows: np.ndarray) -> Split:
    """The split that holds `rows` of another, in that order; images are still read when asked for."""
    targets = None if split.targets is None else split.targets[rows]
    images: ImageSource = _ImageRows(split.images, rows)
    if isinstance(split.images, FeatureImages):
        images = FeatureImages(images, split.images.features[rows])
    return replace(split, images=images, observed=split.observed[rows], targets=targets)
