"""Entropy maximisation (Zhou et al., ECCV 2022): unobserved labels are kept uncertain instead of assumed negative."""

from __future__ import annotations

from typing import Any

from pydantic import Field
from torch import Tensor

from aevlp.config.registry import register
from aevlp.config.schema import ComponentConfig
from aevlp.losses._terms import Loss, entropy, where_known

EPSILON = 1e-5


class EMConfig(ComponentConfig):
    """Settings of entropy maximisation."""

    alpha: float = Field(0.1, ge=0)
    """Weight of the entropy (VOC .2, COCO .1, NUS-WIDE .1, CUB .01)."""


@register("losses", "em", config=EMConfig)
class EMLoss(Loss):
    """-ln(p) and -ln(1 - p) on known labels, minus alpha times the entropy of the others; can be negative."""

    reads_pseudo = False
    config: EMConfig

    def forward(self, logits: Tensor, observed: Tensor, pseudo: Tensor, **_: Any) -> Tensor:
        """See `aevlp.losses` for shapes."""
        logits = logits.float()
        return where_known(-self.config.alpha * entropy(logits, EPSILON), logits, observed, EPSILON).mean()
