"""VLPL loss (Xing et al., CVPR Workshops 2024): entropy maximisation with soft pseudo-positives.

Per entry, H being the entropy of `em`:

    known positive      -ln(p)
    known negative      -ln(1 - p)
    pseudo-positive     beta * [ -target ln(p) - (1 - target) ln(1 - p) ]
    neutral             -alpha * H(p)
    pseudo-negative     0, as in the published code, whose labeler makes none

In the first `warmup` epochs pseudo-labels are ignored, and the loss is that of `em`.
"""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from aevlp.config.registry import register
from aevlp.losses._terms import Loss, cross_entropy, entropy, where_known
from aevlp.losses.em import EPSILON, EMConfig


class VLPLConfig(EMConfig):
    """Settings of the VLPL loss; alpha as for EM."""

    beta: float = Field(0.7, ge=0)
    """Weight of pseudo-positives (.7 on all four published datasets)."""
    target: float = Field(0.9, ge=0, le=1)
    """Soft target of a pseudo-positive."""
    warmup: int = Field(0, ge=0)
    """Epochs without pseudo-labels."""


@register("losses", "vlpl", config=VLPLConfig)
class VLPLLoss(Loss):
    """EM that listens to the labeler."""

    reads_pseudo = True
    config: VLPLConfig

    def forward(self, logits: Tensor, observed: Tensor, pseudo: Tensor, *, epoch: int, **_: Any) -> Tensor:
        """See `aevlp.losses` for shapes."""
        config, logits = self.config, logits.float()
        loss = -config.alpha * entropy(logits, EPSILON)
        if epoch > config.warmup:
            loss = torch.where(pseudo > 0, config.beta * cross_entropy(logits, config.target, EPSILON), loss)
            loss = torch.where(pseudo < 0, 0.0, loss)
        return where_known(loss, logits, observed, EPSILON).mean()
