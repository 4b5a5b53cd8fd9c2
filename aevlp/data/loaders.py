"""Batches for training and evaluation. A training batch holds image, observed and index, and no true label."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from aevlp import ranks
from aevlp.config.errors import DataError
from aevlp.data.dataset import ImageSource, Split
from aevlp.data.features import FeatureBatches, stored_features
from aevlp.data.images import resize
from aevlp.data.workers import Plugins, check_sockets, leave_signals_to_main, start
from aevlp.random import IMAGE_FLIP, epoch_order, flips
from aevlp.system import usable_cores

MOST_WORKERS = 16
"""That `trainer.num_workers: auto` starts for a device."""


@dataclass(frozen=True)
class TrainBatch:
    """`image` (B,3,S,S) uint8 or features (B,D), `observed` (B,C) int8, `index` (B,) int64 rows of the training split."""

    image: Tensor
    observed: Tensor
    index: Tensor


class _Rows(Dataset):
    def __getstate__(self) -> dict[str, Any]:
        return {"plugins": Plugins(), **self.__dict__}  # first, as they may define the images


class _TrainSet(_Rows):
    """Images and their rows. Labels stay in the main process, which looks them up by row: a worker would hold them all."""

    def __init__(self, images: ImageSource, image_size: int, flip: bool, seed: int):
        self.images, self.image_size, self.flip, self.seed = images, image_size, flip, seed

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, int]:
        epoch, row = key  # the epoch travels with the row, so that workers can live as long as the run
        image = resize(self.images[row][None], self.image_size)[0]
        if self.flip and flips(IMAGE_FLIP, self.seed, epoch, [row], 1)[0, 0]:
            image = image.flip(-1)
        return image, row


class _EvalSet(_Rows):
    def __init__(self, images: ImageSource, image_size: int):
        self.images, self.image_size = images, image_size

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, row: int) -> Tensor:
        return resize(self.images[row][None], self.image_size)[0]


class _EpochBatches:
    """This rank's share of each batch, as (epoch, row) keys in the order of the epoch, from batch `start` on.

    Where the last batch has fewer images than there are ranks, a rank without one gets the first, which then counts nothing.
    """

    def __init__(self, num_images: int, batch_size: int, seed: int):
        self.num_images, self.batch_size, self.seed = num_images, batch_size, seed
        self.epoch, self.start = 1, 0

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        order = epoch_order(self.num_images, self.seed, self.epoch)
        for first in range(self.start * self.batch_size, self.num_images, self.batch_size):
            rows = order[first : first + self.batch_size]
            own = rows[ranks.share(len(rows))]
            yield [(self.epoch, int(row)) for row in (own if len(own) else rows[:1])]

    def __len__(self) -> int:
        return -(-self.num_images // self.batch_size) - self.start


class TrainLoader:
    """Training batches of an epoch, in an order that depends on (seed, epoch); the last batch may be smaller.

    `batch_size` counts the images of all ranks, of which each gets its share.
    """

    def __init__(
        self, split: Split, *, image_size: int, flip: bool, batch_size: int, num_workers: int | Literal["auto"], seed: int
    ):
        num_workers = useful_workers(num_workers, split.images)
        self._batches = _EpochBatches(len(split), batch_size, seed)
        self.batches_per_epoch = len(self._batches)
        self._observed = torch.from_numpy(split.observed)
        features = stored_features(split.images)
        self._loader: DataLoader | FeatureBatches
        if features is not None:
            self._loader = FeatureBatches(features, self._batches, flip, seed)
            return
        self._loader = DataLoader(
            _TrainSet(split.images, image_size, flip, seed), batch_sampler=self._batches, num_workers=num_workers,
            persistent_workers=num_workers > 0, **_options(num_workers),
        )  # fmt: skip

    def epoch(self, epoch: int, start: int = 0) -> Iterator[TrainBatch]:
        """Batches of `epoch` from batch number `start` on; the ones before are skipped without decoding."""
        self._batches.epoch, self._batches.start = epoch, start
        for image, index in _batches(self._loader):
            observed = self._observed[index]
            yield TrainBatch(image, observed.pin_memory() if torch.cuda.is_available() else observed, index)

    def size(self, batch: int) -> int:
        """Images of batch number `batch` of an epoch, those of all ranks."""
        return min(self._batches.batch_size, self._batches.num_images - batch * self._batches.batch_size)

    def owners(self, epoch: int, batches: int) -> np.ndarray:
        """(N,) int64: the rank that got each training row in the first `batches` of `epoch`; 0 for rows not yet visited."""
        result = np.zeros(self._batches.num_images, dtype=np.int64)
        order = epoch_order(len(result), self._batches.seed, epoch)
        for batch in range(batches):
            first, size = batch * self._batches.batch_size, self.size(batch)
            for rank in range(ranks.count()):
                result[order[first : first + size][ranks.share(size, rank)]] = rank
        return result


def eval_loader(split: Split, *, image_size: int, batch_size: int, num_workers: int | Literal["auto"]) -> Iterator[Tensor]:
    """Batches of images (B,3,S,S) uint8, or of their features (B,D), in row order: this rank's share of the rows."""
    rows = range(len(split))[ranks.share(len(split))]
    features = stored_features(split.images)
    if features is not None:
        return iter(features[rows.start : rows.stop, 0].split(batch_size))
    # To start one takes longer than to decode a batch.
    num_workers = useful_workers(num_workers, split.images) if len(rows) > batch_size else 0
    return _batches(DataLoader(
        _EvalSet(split.images, image_size), sampler=rows, batch_size=batch_size, num_workers=num_workers, **_options(num_workers)
    ))  # fmt: skip


def useful_workers(num_workers: int | Literal["auto"], images: ImageSource) -> int:
    """At most one worker a core: more would only wait for each other, and torch would warn.

    auto: none where images lie in memory; else all cores but one, which the main process has, shared out to the ranks of this
    machine, and no more than 16, each of which holds 300 MB and decodes a hundred photos a second and more.
    """
    if num_workers != "auto":
        return min(num_workers, usable_cores())
    if getattr(images, "in_memory", False):
        return 0
    ranks_here = int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if ranks.count() > 1 else 1
    return max(0, min(usable_cores() // ranks_here - 1, MOST_WORKERS))


def _options(num_workers: int) -> dict[str, Any]:
    if num_workers:
        check_sockets()
    # The generator gives each worker its seed, and leaves the global random state alone.
    return {
        "generator": torch.Generator().manual_seed(0), "pin_memory": torch.cuda.is_available(),
        "prefetch_factor": 4 if num_workers else None, "worker_init_fn": leave_signals_to_main,
    }  # fmt: skip


def _batches(loader: DataLoader | FeatureBatches) -> Iterator[Any]:
    if isinstance(loader, FeatureBatches):
        yield from loader
        return
    iterator = start(loader)
    try:
        yield from iterator
    except DataError as error:
        # Left to the garbage collector, torch waits 5 s for each worker.
        getattr(iterator, "_shutdown_workers", bool)()
        # torch wraps a worker's error in its traceback; the user needs the last line of it.
        raise DataError(str(error).rpartition("DataError: ")[2].strip()) from None
