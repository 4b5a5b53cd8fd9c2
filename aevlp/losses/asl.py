"""ASL, asymmetric loss (Ben-Baruch et al., ICCV 2021), on observed labels with all others assumed negative.

With p' = min(1 - p + clip, 1), per entry:

    known positive   -(1 - p)^gamma_positive * ln(max(p, 1e-8))
    known negative   -(1 - p')^gamma_known * ln(max(p', 1e-8))
    others           -(1 - p')^gamma_negative * ln(max(p', 1e-8))

Known negatives are those of P-ASL (Ben-Baruch et al., CVPR 2022), by the same authors for partial labels.
"""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field, model_validator
from torch import Tensor

from aevlp.config.registry import register
from aevlp.losses._terms import Loss, ReducedConfig, where_absent

SMALLEST = 1e-8


class ASLConfig(ReducedConfig):
    """Settings of ASL. Defaults: those of the published training script; mean reduction instead of its sum."""

    gamma_positive: float = Field(0.0, ge=0)
    """Focusing of positives."""
    gamma_negative: float = Field(4.0, ge=0)
    """Focusing of assumed negatives."""
    gamma_known: float = Field(1.0, ge=0)
    """Focusing of known negatives; that of P-ASL's published training script."""
    clip: float = Field(0.05, ge=0, le=1)
    """Probability below which a negative counts nothing."""
    detach_focus: bool = True
    """Keep the focusing factors out of the gradient."""

    @model_validator(mode="after")
    def _finite_gradient(self) -> ASLConfig:
        if not self.detach_focus and any(0 < gamma < 1 for gamma in (self.gamma_positive, self.gamma_negative, self.gamma_known)):
            raise ValueError("a gamma between 0 and 1 has an infinite slope at 0; set detach_focus: true")
        return self


@register("losses", "asl", config=ASLConfig)
class ASLLoss(Loss):
    """Asymmetric loss; pseudo-labels are ignored."""

    reads_pseudo = False
    config: ASLConfig

    def forward(self, logits: Tensor, observed: Tensor, pseudo: Tensor, **_: Any) -> Tensor:
        """See `aevlp.losses` for shapes."""
        config, logits, positive = self.config, logits.float(), observed > 0
        p, not_p = torch.sigmoid(logits), torch.sigmoid(-logits)
        log = torch.log(torch.where(positive, p, (not_p + config.clip).clamp(max=1)).clamp(min=SMALLEST))
        with torch.set_grad_enabled(torch.is_grad_enabled() and not config.detach_focus):
            # 1 - p' = max(p - clip, 0)
            wrong = (p - config.clip).clamp(min=0)
            focus = where_absent(wrong**config.gamma_negative, wrong**config.gamma_known, observed)
            focus = torch.where(positive, not_p**config.gamma_positive, focus)
        return config.reduce(-focus * log)
