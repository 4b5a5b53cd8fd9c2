"""LL-R, large loss rejection (Kim et al., CVPR 2022): assumed negatives with the largest loss are left out.

From the second epoch on, the ceil(B * C * (epoch - 1) * delta / 100) unobserved entries of a batch with the largest loss count 0;
the mean is still over all B * C entries.
"""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from aevlp.config.registry import register
from aevlp.config.schema import ComponentConfig
from aevlp.losses._large_loss import binary_loss, suspects
from aevlp.losses._terms import Loss


class LLRConfig(ComponentConfig):
    """Settings of LL-R."""

    delta: float = Field(0.4, ge=0, le=100)
    """Percent of all entries by which the rejected share grows each epoch (VOC .2, COCO, NUS-WIDE, CUB .4; with BoostLU .5)."""


@register("losses", "ll_r", config=LLRConfig)
class LLRLoss(Loss):
    """Assume negative without the suspects; pseudo-labels are ignored."""

    reads_pseudo = False
    config: LLRConfig

    def forward(self, logits: Tensor, observed: Tensor, pseudo: Tensor, *, epoch: int, **_: Any) -> Tensor:
        """See `aevlp.losses` for shapes."""
        logits, positive = logits.float(), observed > 0
        rejected, _above = suspects(logits, observed == 0, self.config.delta, epoch - 1)
        return torch.where(rejected, 0.0, binary_loss(logits, positive)).mean()
