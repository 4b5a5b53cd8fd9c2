"""A sum over ranks that gradients go through; apart from `aevlp.ranks`, which has to do without torch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from aevlp.ranks import add_up


class SumOverRanks(torch.autograd.Function):
    """Collective. Forward and backward add up what the ranks have."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        """The sum of all ranks' tensors."""
        return add_up(tensor.clone())

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """The sum of all ranks' gradients."""
        return add_up(gradient.clone())
