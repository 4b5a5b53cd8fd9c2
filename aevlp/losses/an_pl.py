"""Assume negative, with pseudo-positives as positives (the ablation `an_pl_loss` of AEVLP's public code)."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from aevlp.config.registry import register
from aevlp.config.schema import ComponentConfig
from aevlp.losses._terms import Loss
from aevlp.losses.an import assume_negative

EPSILON = 1e-7


class ANPLConfig(ComponentConfig):
    """Assume negative with pseudo-positives has no settings."""


@register("losses", "an_pl", config=ANPLConfig)
class ANPLLoss(Loss):
    """Observed and pseudo-positive labels are positives, all others negatives."""

    reads_pseudo = True

    def forward(self, logits: Tensor, observed: Tensor, pseudo: Tensor, **_: Any) -> Tensor:
        """See `aevlp.losses` for shapes."""
        return assume_negative(logits, (observed > 0) | ((pseudo > 0) & (observed == 0)), EPSILON)
