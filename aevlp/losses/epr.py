"""Expected positive regularisation, EPR (Cole et al., CVPR 2021): unknown labels are held by their expected number alone.

Mean over entries of -ln(p) on known positives and -ln(1 - p) on known negatives, plus (mean over the batch of the sum of p -
expected_positives)^2 / C^2, in which known negatives count as 0.
"""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from aevlp.config.registry import register
from aevlp.config.schema import ComponentConfig
from aevlp.losses._terms import Loss, count_penalty, where_known

EPSILON = 1e-5


class EPRConfig(ComponentConfig):
    """Settings of EPR."""

    expected_positives: float = Field(2.9, gt=0)
    """Mean positives per image, a property of the dataset (VOC 1.5, COCO 2.9, NUS-WIDE 1.9, CUB 31.4, digits 2.4)."""


@register("losses", "epr", config=EPRConfig)
class EPRLoss(Loss):
    """Observed positives and a count; pseudo-labels are ignored."""

    reads_pseudo = False
    config: EPRConfig

    def forward(self, logits: Tensor, observed: Tensor, pseudo: Tensor, **_: Any) -> Tensor:
        """See `aevlp.losses` for shapes."""
        logits = logits.float()
        known = where_known(torch.zeros_like(logits), logits, observed, EPSILON).mean()
        return known + count_penalty(logits, self.config.expected_positives, observed)
