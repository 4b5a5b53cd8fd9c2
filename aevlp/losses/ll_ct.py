"""LL-Ct, temporary large loss correction (Kim et al., CVPR 2022): assumed negatives with the largest loss count as positives.

From the second epoch on, the ceil(B * C * (epoch - 1) * delta / 100) unobserved entries of a batch with the largest loss are
positives in this step.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field
from torch import Tensor

from aevlp.config.registry import register
from aevlp.config.schema import ComponentConfig
from aevlp.losses._large_loss import binary_loss, suspects
from aevlp.losses._terms import Loss


class LLCtConfig(ComponentConfig):
    """Settings of LL-Ct."""

    delta: float = Field(0.2, ge=0, le=100)
    """Percent of all entries by which the corrected share grows each epoch (VOC, COCO, NUS-WIDE .2, CUB .4; with BoostLU .2)."""


@register("losses", "ll_ct", config=LLCtConfig)
class LLCtLoss(Loss):
    """Assume negative with the suspects as positives; pseudo-labels are ignored."""

    reads_pseudo = False
    config: LLCtConfig

    def forward(self, logits: Tensor, observed: Tensor, pseudo: Tensor, *, epoch: int, **_: Any) -> Tensor:
        """See `aevlp.losses` for shapes."""
        logits, positive = logits.float(), observed > 0
        corrected, _above = suspects(logits, observed == 0, self.config.delta, epoch - 1)
        return binary_loss(logits, positive | corrected).mean()
