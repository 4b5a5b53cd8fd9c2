"""Batches for training and evaluation. A training batch holds image, observed and index, and no true label."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from aevlp.config.errors import DataError
from aevlp.data.dataset import Split
from aevlp.data.images import resize
from aevlp.data.random import IMAGE_FLIP, epoch_order, flips


@dataclass(frozen=True)
class TrainBatch:
    """`image` (B,3,S,S) uint8, `observed` (B,C) uint8, `index` (B,) int64 rows of the training split."""

    image: Tensor
    observed: Tensor
    index: Tensor


class _TrainSet(Dataset):
    def __init__(self, split: Split, image_size: int, flip: bool, seed: int):
        self.split, self.image_size, self.flip, self.seed = split, image_size, flip, seed

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, Tensor, int]:
        epoch, row = key  # the epoch travels with the row, so that workers can live as long as the run
        image = resize(self.split.images[row][None], self.image_size)[0]
        if self.flip and flips(IMAGE_FLIP, self.seed, epoch, [row], 1)[0, 0]:
            image = image.flip(-1)
        return image, torch.from_numpy(self.split.observed[row]), row


class _EvalSet(Dataset):
    def __init__(self, split: Split, image_size: int):
        self.split, self.image_size = split, image_size

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, row: int) -> Tensor:
        return resize(self.split.images[row][None], self.image_size)[0]


class _EpochBatches:
    """Batches of (epoch, row) keys in the order of the epoch, from batch `start` on."""

    def __init__(self, num_images: int, batch_size: int, seed: int):
        self.num_images, self.batch_size, self.seed = num_images, batch_size, seed
        self.epoch, self.start = 1, 0

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        order = epoch_order(self.num_images, self.seed, self.epoch)
        for first in range(self.start * self.batch_size, self.num_images, self.batch_size):
            yield [(self.epoch, int(row)) for row in order[first : first + self.batch_size]]

    def __len__(self) -> int:
        return -(-self.num_images // self.batch_size) - self.start


class TrainLoader:
    """Training batches of an epoch, in an order that depends on (seed, epoch); the last batch may be smaller."""

    def __init__(self, split: Split, *, image_size: int, flip: bool, batch_size: int, num_workers: int, seed: int):
        self._batches = _EpochBatches(len(split), batch_size, seed)
        self.batches_per_epoch = len(self._batches)
        self._loader = DataLoader(
            _TrainSet(split, image_size, flip, seed), batch_sampler=self._batches, num_workers=num_workers,
            persistent_workers=num_workers > 0, generator=torch.Generator().manual_seed(0), pin_memory=torch.cuda.is_available(),
            worker_init_fn=_leave_signals_to_main,
        )  # fmt: skip

    def epoch(self, epoch: int, start: int = 0) -> Iterator[TrainBatch]:
        """Batches of `epoch` from batch number `start` on; the ones before are skipped without decoding."""
        self._batches.epoch, self._batches.start = epoch, start
        for image, observed, index in _batches(self._loader):
            yield TrainBatch(image, observed, index)


def eval_loader(split: Split, *, image_size: int, batch_size: int, num_workers: int) -> Iterator[Tensor]:
    """Batches of images (B,3,S,S) uint8 in row order."""
    return _batches(DataLoader(
        _EvalSet(split, image_size), batch_size=batch_size, num_workers=num_workers,
        generator=torch.Generator().manual_seed(0), pin_memory=torch.cuda.is_available(), worker_init_fn=_leave_signals_to_main,
    ))  # fmt: skip


def _leave_signals_to_main(_: int) -> None:
    # Ctrl-C reaches the whole process group; the main process saves first, then ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _batches(loader: DataLoader) -> Iterator[Any]:
    iterator = iter(loader)
    try:
        yield from iterator
    except DataError as error:
        # Left to the garbage collector, torch waits 5 s for each worker.
        getattr(iterator, "_shutdown_workers", bool)()
        # torch wraps a worker's error in its traceback; the user needs the last line of it.
        raise DataError(str(error).rpartition("DataError: ")[2].strip()) from None
