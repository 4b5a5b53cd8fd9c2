"""Weak assume negative, WAN (Cole et al., CVPR 2021): all assumed negatives of an image weigh as much as its positive."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from aevlp.config.registry import register
from aevlp.config.schema import ComponentConfig
from aevlp.losses._terms import Loss, negative_log_complement, where_known

EPSILON = 1e-5


class WANConfig(ComponentConfig):
    """Weak assume negative has no settings."""


@register("losses", "wan", config=WANConfig)
class WANLoss(Loss):
    """Assume negative with weight 1 / (C - 1) on the assumed negatives; pseudo-labels are ignored."""

    reads_pseudo = False

    def forward(self, logits: Tensor, observed: Tensor, pseudo: Tensor, **_: Any) -> Tensor:
        """See `aevlp.losses` for shapes."""
        logits = logits.float()
        if_negative = negative_log_complement(logits, EPSILON) / max(logits.shape[1] - 1, 1)
        return where_known(if_negative, logits, observed, EPSILON).mean()
