"""LL-Cp, permanent large loss correction (Kim et al., CVPR 2022): assumed negatives with the largest loss become positives.

From the second epoch on, the ceil(B * C * delta / 100) unobserved entries of a batch with the largest loss are positives in this
step and, once stored, in every later one. The share does not grow: new entries join the stored ones.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from aevlp.config.registry import register
from aevlp.config.schema import ComponentConfig
from aevlp.losses._large_loss import binary_loss, suspects
from aevlp.losses._memory import RememberingLoss


class LLCpConfig(ComponentConfig):
    """Settings of LL-Cp."""

    delta: float = Field(0.2, ge=0, le=100)
    """Percent of all entries that are corrected in each batch (VOC .1, COCO, NUS-WIDE, CUB .2; with BoostLU .1)."""
    stored: Literal["at_threshold", "above_threshold"] = "at_threshold"
    """Which of the corrected entries stay so: all, as BoostLU's code has it; or all but the smallest, as the code of the paper
    has it, where a batch that corrects one entry stores none."""


@register("losses", "ll_cp", config=LLCpConfig)
class LLCpLoss(RememberingLoss):
    """Assume negative with present and past suspects as positives; pseudo-labels are ignored."""

    reads_pseudo = False
    config: LLCpConfig
    flipped: Tensor
    """(N,C) bool: unobserved labels that are positives for good."""

    def __init__(self, config: LLCpConfig, num_classes: int | None = None, num_samples: int | None = None):
        super().__init__(config, num_classes, num_samples)
        self.remember("flipped", torch.bool)

    def forward(
        self, logits: Tensor, observed: Tensor, pseudo: Tensor, *, epoch: int, index: Tensor | None = None, **_: Any
    ) -> Tensor:
        """See `aevlp.losses` for shapes."""
        logits, index = logits.float(), self.rows(index)
        positive, unknown = (observed > 0) | self.flipped[index], (observed == 0) & ~self.flipped[index]
        corrected, above = suspects(logits, unknown, self.config.delta, times=min(epoch - 1, 1))
        self.flipped[index] |= corrected if self.config.stored == "at_threshold" else above
        return binary_loss(logits, positive | corrected).mean()
