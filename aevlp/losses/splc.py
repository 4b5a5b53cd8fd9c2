"""SPLC, self-paced loss correction (Zhang et al., arXiv 2112.07368): sure predictions on unobserved labels become positives.

With z the logit, less `margin` where a positive is observed, and target 1 there and, from epoch `correct_from` on, also where
sigmoid(z) > threshold; per entry:

    target 1   -(1 - sigmoid(z))^gamma * ln(sigmoid(z))
    target 0   -sigmoid(z)^gamma * ln(1 - sigmoid(z))

and -ln(1 - sigmoid(z)) where a negative is known.

A correction holds for one step and is not remembered.
"""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import logsigmoid

from aevlp.config.registry import register
from aevlp.losses._terms import Loss, ReducedConfig, where_absent


class SPLCConfig(ReducedConfig):
    """Settings of SPLC. Defaults: as published, with mean reduction instead of the sum."""

    threshold: float = Field(0.6, ge=0, le=1)
    """Probability above which an unobserved label is taken for positive."""
    correct_from: int = Field(2, ge=1)
    """First epoch with corrections, counted from 1."""
    margin: float = Field(1.0, ge=0)
    """What is taken from the logits of observed positives."""
    gamma: float = Field(2.0, ge=1)
    """Focusing."""


@register("losses", "splc", config=SPLCConfig)
class SPLCLoss(Loss):
    """Focal loss with self-correction; pseudo-labels are ignored."""

    reads_pseudo = False
    config: SPLCConfig

    def forward(self, logits: Tensor, observed: Tensor, pseudo: Tensor, *, epoch: int, **_: Any) -> Tensor:
        """See `aevlp.losses` for shapes."""
        config, positive = self.config, observed > 0
        logits = torch.where(positive, logits.float() - config.margin, logits.float())
        if epoch >= config.correct_from:
            positive = positive | (torch.sigmoid(logits) > config.threshold)
        toward_target = torch.where(positive, logits, -logits)
        loss = -(torch.sigmoid(-toward_target) ** config.gamma) * logsigmoid(toward_target)
        return config.reduce(where_absent(loss, -logsigmoid(-logits), observed))
