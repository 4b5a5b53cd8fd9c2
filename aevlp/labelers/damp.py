"""DAMP (dynamic augmented multi-focus pseudo-labeling): a frozen vision-language model labels whole images and tiles.

Tran et al., AEVLP, ICCV 2025, as in the public code. With q the softmax over classes of cosine / temperature of a view:

    gate     = min(max over known positives of q_global, eta), 0 for an image without one
    local_j  = max over tiles of q_j where that exceeds the gate, else min over tiles
    score_j  = (q_global_j + local_j) / 2
    positive = among the top_k classes by score (with skip_known, of those not known to be absent), those with score >= threshold
    negative = the floor(negative_ratio * C) classes with the smallest (q_global_j + mean over tiles of q_j) / 2

The public code computes the negatives but stores them as 0 (`negatives: off`); the paper's figure shows -1 (`on`).
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from aevlp.config.registry import register
from aevlp.data.dataset import Split
from aevlp.data.rows import take_rows
from aevlp.labelers._base import Explained, Labeler, ReportProgress, Trial
from aevlp.labelers._cosines import Streamed, cosines_of, no_cache
from aevlp.labelers._damp_config import DAMPConfig
from aevlp.labelers._damp_explained import explain
from aevlp.random import VIEW_FLIP, flips
from aevlp.vision_language.by_name import require, unmirrored
from aevlp.vision_language.embedder import Embedder
from aevlp.vision_language.embedding_cache import Notify
from aevlp.vision_language.encoders._base import Encoder
from aevlp.vision_language.label_graph import residual
from aevlp.vision_language.prompts import text_features


def scores(cosines: Tensor, observed: Tensor, *, temperature: float, eta: float) -> tuple[Tensor, Tensor]:
    """score and mean-score of every class, (B,C) float32 in [0,1]; see the module for both.

    Args:
        cosines: (B,V,C), view 0 the whole image, then the tiles. With V = 1 both scores are the global one.
        observed: (B,C) in {-1,0,1}.
        temperature: above 0.
        eta: cap of the gate.
    """
    q = torch.softmax(cosines.float() / temperature, dim=-1)
    whole, tiles = q[:, 0], q[:, 1:]
    if tiles.shape[1] == 0:
        return whole, whole
    gate = (whole * (observed > 0)).amax(dim=1, keepdim=True).clamp(max=eta)
    largest = tiles.amax(dim=1)
    local = torch.where(largest > gate, largest, tiles.amin(dim=1))
    return (whole + local) / 2, (whole + tiles.mean(dim=1)) / 2


def assign(
    cosines: Tensor,
    observed: Tensor,
    *,
    temperature: float,
    eta: float,
    threshold: float,
    top_k: int,
    negative_ratio: float,
    negatives: Literal["off", "on"],
    skip_known: bool = False,
) -> Tensor:
    """Pseudo-labels int8 (B,C) in {-1,0,1}; 0 where a label is known, to be there or to be absent.

    Arguments as in `scores` and `DAMPConfig`. The number of negatives is floor(negative_ratio * C + 1e-9). With
    `negatives="off"` those classes are set to 0, which can clear a pseudo-positive, as in the public code; with "on"
    they are set to -1, except where they are pseudo-positives. Any other word raises ValueError.
    """
    if negatives not in ("off", "on"):
        raise ValueError(f'negatives must be "off" or "on", is {negatives!r}')
    score, mean_score = scores(cosines, observed, temperature=temperature, eta=eta)
    num_classes = score.shape[1]
    eligible = score.masked_fill(observed < 0, -1.0) if skip_known else score
    best = eligible.topk(min(top_k, num_classes), dim=1).indices
    positive = torch.zeros_like(score).scatter(1, best, 1.0) * (score >= threshold)
    worst = mean_score.topk(math.floor(negative_ratio * num_classes + 1e-9), dim=1, largest=False).indices
    bottom = torch.zeros_like(score).scatter(1, worst, 1.0)
    pseudo = positive * (1 - bottom) if negatives == "off" else positive - bottom * (1 - positive)
    return (pseudo * (observed == 0)).to(torch.int8)


@register("labelers", "damp", config=DAMPConfig)
class DAMP(Labeler):
    """Encodes each view of each training image once, if ever, and assigns from the stored cosines in every epoch."""

    def __init__(
        self, config: DAMPConfig, *, prompt_names: list[str], flip: bool, seed: int, device: torch.device,
        notify: Notify | None = None, **_: Any,
    ):  # fmt: skip
        self.config, self.seed = config, seed
        self.embedder = Embedder(config.encoder, device, notify)
        self.mirrors = config.flip and not self.embedder.by_name  # by name a mirror image has the embedding of the image
        self.flip = flip and self.mirrors
        self._unmirrored = flip and config.flip and self.embedder.by_name
        features = text_features(self.embedder, prompt_names, config.prompts)
        if config.label_graph.enabled:
            if notify and config.label_graph.relation is None and self.embedder.normalization == "imagenet":
                notify("as in the public code but for the label relation: its file is not given (labeler.label_graph.relation), "
                       "so relation is computed from the text features")  # fmt: skip
            features = features + residual(features, config.label_graph, seed).to(features.device)
        self.text = torch.nn.functional.normalize(features, dim=-1)
        self._cosines = torch.empty(0)
        self._streamed: Streamed | None = None
        self._notify = notify or (lambda _: None)
        self.threshold = config.threshold
        if config.temperature == "encoder":
            self.temperature = self.embedder.temperature
            self.found = {"temperature": self.temperature}
        else:
            self.temperature = config.temperature

    @property
    def encoder(self) -> Encoder:
        """The vision-language model; loaded when first asked for."""
        return self.embedder.encoder

    def cosines(self, dataset: Split, flip: bool, progress: ReportProgress | None = None) -> Tensor:
        """(N,F,V,C) float32: F = 2 holds the views as they are and mirrored, F = 1 as they are."""
        result = torch.empty(len(dataset), 1 + flip, 1 + self.config.grid**2, len(self.text))
        for rows, cosines in self._chunks(dataset, flip, progress):
            result[rows.start : rows.stop] = cosines.cpu()
        return result

    def _chunks(self, dataset: Split, flip: bool, progress: ReportProgress | None) -> Iterator[tuple[range, Tensor]]:
        """The same, some rows at a time, on the device of the encoder; in any order."""
        try:
            for rows, embeddings in self.embedder.embed(dataset.images, self.config.grid, flip, progress, self.uses_cache):
                yield rows, cosines_of(embeddings, self.text)
        finally:
            self.num_images_encoded = self.embedder.num_images_encoded

    def require(self, dataset: Split) -> None:
        """See `aevlp.labelers`."""
        if self.embedder.by_name:
            require(self.encoder, dataset.images, range(len(dataset)), self.config.grid)

    def prepare(self, dataset: Split, progress: ReportProgress | None = None) -> None:
        """Encode what is not cached of the views of all training images, and their mirror images where the dataset flips."""
        if self._unmirrored:
            self._notify(unmirrored(self.encoder))
        needed = self.table_mb(len(dataset))
        if needed > self.config.table_mb and self.uses_cache:
            if not self.embedder.has_reader(dataset.images):
                raise no_cache(needed, self.config.table_mb, self.config.encoder.cache)
            self._notify(
                f"cosines of all training views take {needed:,.0f} MB, labeler.table_mb allows {self.config.table_mb:,}: they "
                f"are computed from the {'vectors' if self.embedder.by_name else 'cache'} as needed"
            )
            self.encode(dataset, self.flip, progress)
            reader = self.embedder.reader(dataset.images, self.config.grid, self.flip)
            self._streamed = Streamed(reader, self.text, len(dataset))
            return
        # On the encoder's device, so that a training step need not wait for the host: .7 GB for COCO at grid 4.
        self._streamed, self._cosines = None, self.cosines(dataset, self.flip, progress).to(self.text.device)

    def table_mb(self, num_images: int) -> float:
        """Megabytes (2^20 bytes) of the cosines of so many training images."""
        return 4 * num_images * (1 + self.flip) * (1 + self.config.grid**2) * len(self.text) / 2**20

    def label(self, index: Tensor, observed: Tensor, *, epoch: int, images: Tensor | None = None) -> Tensor:
        """See `aevlp.labelers`. Where the dataset flips, each view is mirrored by a coin of its own in each epoch."""
        coins = None
        if self.flip:
            coins = torch.from_numpy(flips(VIEW_FLIP, self.seed, epoch, index.tolist(), 1 + self.config.grid**2))
        return self.assign(self._prepared(index, coins).to(observed.device), observed)

    def _prepared(self, index: Tensor, mirrored: Tensor | None = None) -> Tensor:
        """Cosines (B,V,C) of training rows after `prepare`, each view mirrored or not as `mirrored` (B,V) bool says."""
        if self._streamed is not None:
            return self._streamed(index, mirrored)
        device = self._cosines.device
        stored = self._cosines[index.to(device, non_blocking=True)]
        if mirrored is None:
            return stored[:, 0]
        return torch.where(mirrored.to(device, non_blocking=True)[:, :, None], stored[:, 1], stored[:, 0])

    @property
    def _is_prepared(self) -> bool:
        return self._streamed is not None or len(self._cosines) > 0

    def evaluate(self, dataset: Split, progress: ReportProgress | None = None) -> tuple[Tensor, Tensor]:
        """Scores without a gate (no label is known at test time), and pseudo-labels given the observed labels."""
        shape = len(dataset), len(self.text)
        blind, pseudo = torch.empty(shape), torch.empty(shape, dtype=torch.int8)
        for rows, cosines in self._chunks(dataset, False, progress):
            chunk, observed = slice(rows.start, rows.stop), torch.from_numpy(dataset.observed[rows.start : rows.stop])
            cosines = cosines[:, 0].cpu()
            zeros = torch.zeros_like(observed)
            blind[chunk] = scores(cosines, zeros, temperature=self.temperature, eta=self.config.eta)[0]
            pseudo[chunk] = self.assign(cosines, observed)
        return blind, pseudo

    def explain(self, dataset: Split, progress: ReportProgress | None = None) -> Explained:
        """See `aevlp.labelers`; every view as it is, so where the dataset flips, an epoch's labels can differ."""
        cosines = self.cosines(dataset, flip=False, progress=progress)[:, 0]
        return self._explained(cosines, torch.from_numpy(dataset.observed))

    def explain_parts(
        self, dataset: Split, parts: Iterable[range], progress: ReportProgress | None = None
    ) -> Iterator[Explained | None]:
        """See `aevlp.labelers`; a cache is opened once, not for each part."""
        if not self.embedder.has_reader(dataset.images):
            yield from super().explain_parts(dataset, parts, progress)
            return
        with contextlib.closing(self.embedder.reader(dataset.images, self.config.grid, flip=False)) as reader:
            for rows in parts:
                cosines = cosines_of(reader.read(rows), self.text)[:, 0].cpu()
                yield self._explained(cosines, torch.from_numpy(dataset.observed[rows.start : rows.stop]))

    def encode(self, dataset: Split, flip: bool, progress: ReportProgress | None = None, rows: range | None = None) -> None:
        """Encode what is not cached of the views of a split; nothing where it could not be kept."""
        if self.embedder.keeps(dataset.images):
            try:
                for _ in self.embedder.embed(dataset.images, self.config.grid, flip, progress, rows=rows):
                    pass
            finally:
                self.num_images_encoded = self.embedder.num_images_encoded

    def count_missing(self, dataset: Split, flip: bool, rows: range | None = None) -> int:
        """Views of a split that are not in the cache."""
        return self.embedder.count_missing(dataset.images, self.config.grid, flip, rows)

    def view_scores(self, index: Tensor) -> Tensor | None:
        """Softmax of cosine / temperature in each view, unmirrored; view 0 is the whole image. None before `prepare`."""
        return torch.softmax(self._prepared(index) / self.temperature, dim=-1).cpu() if self._is_prepared else None

    def _explained(self, cosines: Tensor, observed: Tensor) -> Explained:
        pseudo = self.assign(cosines, observed)
        return explain(cosines, observed, pseudo, temperature=self.temperature, eta=self.config.eta)

    def settle(self, found: Mapping[str, float]) -> None:
        """Take `temperature` and `threshold`, as far as they are given, instead of those of the configuration."""
        self.found = {**self.found, **found}
        self.temperature = found.get("temperature", self.temperature)
        self.threshold = found.get("threshold", self.threshold)

    def trial(self, dataset: Split, rows: np.ndarray) -> Trial:
        """See `aevlp.labelers`; every view as it is. After `prepare` nothing is read."""
        if self._is_prepared:
            return _Trial(self, self._prepared(torch.from_numpy(rows)))
        return _Trial(self, self.cosines(take_rows(dataset, rows), flip=False)[:, 0])

    def assign(
        self, cosines: Tensor, observed: Tensor, temperature: float | None = None, threshold: float | None = None
    ) -> Tensor:
        """Pseudo-labels of cosines (B,V,C), at other settings where given; see `assign` of this module."""
        config = self.config
        return assign(
            cosines, observed, temperature=self.temperature if temperature is None else temperature, eta=config.eta,
            threshold=self.threshold if threshold is None else threshold, top_k=config.top_k,
            negative_ratio=config.negative_ratio, negatives=config.negatives, skip_known=config.skip_known,
        )  # fmt: skip


@dataclass(frozen=True)
class _Trial:
    """See `aevlp.labelers.Trial`; cosines (N,V,C)."""

    labeler: DAMP
    cosines: Tensor

    def scores(self, temperature: float | None = None) -> np.ndarray:
        nothing = torch.zeros(len(self.cosines), self.cosines.shape[2], dtype=torch.int8, device=self.cosines.device)
        temperature = self.labeler.temperature if temperature is None else temperature
        found: np.ndarray = scores(self.cosines, nothing, temperature=temperature, eta=self.labeler.config.eta)[0].cpu().numpy()
        return found

    def label(self, observed: np.ndarray, temperature: float | None = None, threshold: float | None = None) -> np.ndarray:
        known = torch.from_numpy(observed).to(self.cosines.device)
        found: np.ndarray = self.labeler.assign(self.cosines, known, temperature, threshold).cpu().numpy()
        return found
