"""Assume negative with label smoothing, AN-LS (Cole et al., CVPR 2021): targets 1 - smoothing and smoothing, not 1 and 0."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from aevlp.config.registry import register
from aevlp.config.schema import ComponentConfig
from aevlp.losses._terms import Loss, cross_entropy

EPSILON = 1e-5


class ANLSConfig(ComponentConfig):
    """Settings of AN-LS."""

    smoothing: float = Field(0.1, ge=0, le=1)
    """Weight of the opposite label, in full and not halved (.1 on all four published datasets)."""


@register("losses", "an_ls", config=ANLSConfig)
class ANLSLoss(Loss):
    """Assume negative on softened labels; pseudo-labels are ignored."""

    reads_pseudo = False
    config: ANLSConfig

    def forward(self, logits: Tensor, observed: Tensor, pseudo: Tensor, **_: Any) -> Tensor:
        """See `aevlp.losses` for shapes."""
        smoothing = self.config.smoothing
        return cross_entropy(logits.float(), torch.where(observed > 0, 1 - smoothing, smoothing), EPSILON).mean()
