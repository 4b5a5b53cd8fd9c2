"""The mean over a whole batch of which each rank holds a share, and through which gradients go."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from aevlp import ranks

_weight = 1.0


@contextlib.contextmanager
def weight_of_share(weight: float) -> Iterator[None]:
    """While this lasts, `mean_over_images` counts this rank's images as `weight` of the whole batch."""
    global _weight
    before, _weight = _weight, weight
    try:
        yield
    finally:
        _weight = before


def mean_over_images(values: Tensor) -> Tensor:
    """Collective, differentiable. Mean over the images of the whole batch, (B,...) to (...): all ranks' images."""
    mean = values.mean(dim=0)
    return mean if ranks.count() == 1 else _SumOverRanks.apply(mean * _weight)


class _SumOverRanks(torch.autograd.Function):
    """Forward and backward add up what the ranks have."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        return ranks.add_up(tensor.clone())

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return ranks.add_up(gradient.clone())
