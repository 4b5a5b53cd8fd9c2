"""Hill loss (Zhang et al., arXiv 2112.07368): confident predictions on unobserved labels are let go.

With p_m = sigmoid(logit - margin), per entry:

    known positive   -(1 - p_m)^gamma * ln(p_m)
    known negative   -ln(1 - p)
    others           (hill - p) * p^2, whose slope falls back to 0 as p goes to 1
"""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import logsigmoid

from aevlp.config.registry import register
from aevlp.losses._terms import Loss, ReducedConfig, where_absent


class HillConfig(ReducedConfig):
    """Settings of the Hill loss. Defaults: as published, with mean reduction instead of the sum."""

    hill: float = Field(1.5, ge=1)
    """Height of the hill; at 1.5 the slope is 0 at p = 1."""
    margin: float = Field(1.0, ge=0)
    """What is taken from the logits of positives."""
    gamma: float = Field(2.0, ge=1)
    """Focusing of positives."""


@register("losses", "hill", config=HillConfig)
class HillLoss(Loss):
    """Hill loss; pseudo-labels are ignored."""

    reads_pseudo = False
    config: HillConfig

    def forward(self, logits: Tensor, observed: Tensor, pseudo: Tensor, **_: Any) -> Tensor:
        """See `aevlp.losses` for shapes."""
        config, logits = self.config, logits.float()
        shifted, p = logits - config.margin, torch.sigmoid(logits)
        if_positive = -(torch.sigmoid(-shifted) ** config.gamma) * logsigmoid(shifted)
        if_unknown = where_absent((config.hill - p) * p**2, -logsigmoid(-logits), observed)
        return config.reduce(torch.where(observed > 0, if_positive, if_unknown))
