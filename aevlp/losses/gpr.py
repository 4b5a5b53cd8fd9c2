"""GPR loss: generalized pseudo-label robust loss (Tran et al., AEVLP, ICCV 2025), as in the public code.

Per entry, with p = sigmoid(logits), and K, V computed from p without gradient:

    known positive      -ln(p)
    known negative      -ln(1 - p)
    neutral             V * [ K * L_q2(p) + (1 - K) * L_q3(1 - p) ]
    pseudo-positive     (1 - V') * [ -rho * ln(p) - (1 - rho) * ln(1 - p) ],   V' = V clamped to [1 - lambda1, 1 - lambda2]
    pseudo-negative     -V * ln(1 - p)

averaged over all entries, plus regularizer * (mean positives per image - expected_positives)^2 / C^2.
"""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field, model_validator
from torch import Tensor

from aevlp.config.registry import register
from aevlp.config.schema import ComponentConfig
from aevlp.losses._terms import Loss, count_penalty, negative_log, negative_log_complement, power_loss, where_absent

EPSILON = 1e-7

Four = tuple[float, float, float, float]


class GRConfig(ComponentConfig):
    """Settings of the neutral term, which the GR loss consists of. Defaults: the values published for VOC."""

    beta: Four = (0.0, 2.0, -2.0, -2.0)
    """[w0, wT, b0, bT]: slope and offset of K, the share of a neutral entry treated as positive, at start and end."""
    alpha: Four = (0.5, 2.0, 0.8, 0.5)
    """[mu0, sigma0, muT, sigmaT]: centre and width of V, the weight of a neutral entry, at start and end."""
    q2: float = Field(0.01, gt=0, le=10)
    """Exponent of the positive part; near 0 it is -ln(p), at 1 it is 1 - p."""
    q3: float = Field(1.0, gt=0, le=10)
    """Exponent of the negative part."""

    @model_validator(mode="after")
    def _widths_positive(self) -> GRConfig:
        if min(self.alpha[1], self.alpha[3]) <= 0:
            raise ValueError("alpha: sigma0 and sigmaT (2nd and 4th value) must be above 0")
        return self


class GPRConfig(GRConfig):
    """Settings of the GPR loss."""

    lambda1: float = Field(0.7, ge=0, le=1)
    """Largest weight of a pseudo-positive."""
    lambda2: float = Field(0.4, ge=0, le=1)
    """Smallest weight of a pseudo-positive."""
    rho: float = Field(0.9, ge=0, le=1)
    """Soft target of a pseudo-positive."""
    regularizer: float = Field(0.0, ge=0)
    """Weight of the penalty on the expected number of positives."""
    expected_positives: float | None = Field(None, gt=0)
    """Mean positives per image that the regularizer pulls to (VOC 1.5, COCO 2.9, NUS-WIDE 1.9, CUB 31.4)."""

    @model_validator(mode="after")
    def _consistent(self) -> GPRConfig:
        if self.lambda1 < self.lambda2:
            raise ValueError(f"lambda1 ({self.lambda1:g}) must not be below lambda2 ({self.lambda2:g})")
        if self.regularizer > 0 and self.expected_positives is None:
            raise ValueError("a regularizer above 0 needs expected_positives, the mean number of positives per image")
        return self


def schedules(beta: Four, alpha: Four, epoch: int, num_epochs: int) -> tuple[float, float, float, float]:
    """w, b, mu, sigma of one epoch, counted from 1.

    As published: w and b start at their first value and end one step short of their last; mu and sigma move from the
    first epoch on and end at their last value.
    """
    late, early = max(epoch - 1, 0) / num_epochs, epoch / num_epochs
    slope_start, slope_end, offset_start, offset_end = beta
    centre_start, width_start, centre_end, width_end = alpha
    return (
        slope_start + (slope_end - slope_start) * late,
        offset_start + (offset_end - offset_start) * late,
        centre_start + (centre_end - centre_start) * early,
        width_start + (width_end - width_start) * early,
    )


def neutral_loss(logits: Tensor, config: GRConfig, epoch: int, num_epochs: int) -> tuple[Tensor, Tensor]:
    """Loss of each entry as if it were neutral, already weighted, and the weight V, both (B,C) float32."""
    slope, offset, centre, width = schedules(config.beta, config.alpha, epoch, num_epochs)
    p = torch.sigmoid(logits.detach())
    share = torch.sigmoid(slope * p + offset)
    weight = torch.exp(-0.5 * ((p - centre) / width) ** 2)
    return weight * (share * power_loss(logits, config.q2) + (1 - share) * power_loss(-logits, config.q3)), weight


def gpr_loss(logits: Tensor, observed: Tensor, pseudo: Tensor, config: GPRConfig, *, epoch: int, num_epochs: int) -> Tensor:
    """The loss above as a float32 scalar; logits, observed and pseudo are (B,C)."""
    logits = logits.float()
    neutral, weight = neutral_loss(logits, config, epoch, num_epochs)
    if_positive, if_negative = negative_log(logits, EPSILON), negative_log_complement(logits, EPSILON)
    trust = 1 - weight.clamp(1 - config.lambda1, 1 - config.lambda2)
    loss = torch.where(pseudo > 0, trust * (config.rho * if_positive + (1 - config.rho) * if_negative), neutral)
    loss = torch.where(pseudo < 0, weight * if_negative, loss)
    loss = where_absent(loss, if_negative, observed)
    loss = torch.where(observed > 0, if_positive, loss).mean()
    if config.regularizer > 0 and config.expected_positives is not None:
        loss = loss + config.regularizer * count_penalty(logits, config.expected_positives, observed)
    return loss


@register("losses", "gpr", config=GPRConfig)
class GPRLoss(Loss):
    """GPR loss of the AEVLP paper."""

    reads_pseudo = True
    config: GPRConfig

    def forward(self, logits: Tensor, observed: Tensor, pseudo: Tensor, *, epoch: int, num_epochs: int, **_: Any) -> Tensor:
        """See `aevlp.losses` for shapes."""
        return gpr_loss(logits, observed, pseudo, self.config, epoch=epoch, num_epochs=num_epochs)
