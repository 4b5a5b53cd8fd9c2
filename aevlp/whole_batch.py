"""What a loss asks of a whole batch of which each rank holds a share. In a single process all of it is what torch has."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from aevlp import ranks

_share: tuple[int, int] | None = None


@contextlib.contextmanager
def share_of_batch(own: int, size: int) -> Iterator[None]:
    """While this lasts, a batch has `size` images, `own` of them this rank's; 0 where it only got a stand-in."""
    global _share
    before, _share = _share, (own, size)
    try:
        yield
    finally:
        _share = before


def num_entries(values: Tensor) -> int:
    """Entries of the whole batch, of which `values` (B,...) are this rank's."""
    return values.numel() if _share is None else _share[1] * values[0].numel()


def batch_mean(values: Tensor) -> Tensor:
    """Collective, differentiable. Mean over all images of the batch, (B,...) to (...).

    A plain mean of the loss's entries needs no care: it is averaged over ranks, weighted by their numbers of images. What is
    not such a mean (the square of a batch's mean, a ratio of two sums) has to be built from means of the whole batch, which
    this gives; a plain `.mean(0)` would see one rank's images only.
    """
    mean = values.mean(dim=0)
    return mean if ranks.count() == 1 else _SumOverRanks.apply(mean * _weight())


def batch_sum(values: Tensor) -> Tensor:
    """The sum of all entries, as a loss has to give it: weighted by this rank's images it is its part of the batch's sum."""
    return values.sum() / (_weight() or 1)


def kth_largest(values: Tensor, k: int) -> Tensor:
    """Collective. The k-th largest entry, from 1, of the whole batch, of which `values` (B,...) are this rank's."""
    own = values.flatten()
    if ranks.count() > 1:
        largest = own.new_full((k,), -torch.inf)
        if _weight():
            found = own.topk(min(k, len(own))).values
            largest[: len(found)] = found
        rank = ranks.rank()
        own = ranks.assemble(largest[None], slice(rank, rank + 1), ranks.count()).flatten()
    return own.topk(k).values[-1]


def _weight() -> float:
    return 1.0 if _share is None else _share[0] / _share[1]


class _SumOverRanks(torch.autograd.Function):
    """Forward and backward add up what the ranks have."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        return ranks.add_up(tensor.clone())

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return ranks.add_up(gradient.clone())
