"""Assume negative (Cole et al., CVPR 2021): every unobserved label is taken for a negative."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from aevlp.config.registry import register
from aevlp.config.schema import ComponentConfig
from aevlp.losses._terms import Loss, negative_log, negative_log_complement

EPSILON = 1e-5


class ANConfig(ComponentConfig):
    """Assume negative has no settings."""


def assume_negative(logits: Tensor, positive: Tensor, epsilon: float = EPSILON) -> Tensor:
    """Mean binary cross-entropy with targets `positive` (B,C), -ln(p + epsilon) or -ln(1 - p + epsilon)."""
    logits = logits.float()
    return torch.where(positive > 0, negative_log(logits, epsilon), negative_log_complement(logits, epsilon)).mean()


@register("losses", "an", config=ANConfig)
class ANLoss(Loss):
    """Assume-negative loss; pseudo-labels are ignored."""

    reads_pseudo = False

    def forward(self, logits: Tensor, observed: Tensor, pseudo: Tensor, **_: Any) -> Tensor:
        """See `aevlp.losses` for shapes."""
        return assume_negative(logits, observed)
