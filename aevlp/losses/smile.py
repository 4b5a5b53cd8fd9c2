"""SMILE loss (Xu et al., NeurIPS 2022), for images: soft labels that are learnt along teach the classifier.

With p of the classifier, d the soft labels of model `smile`, AN the loss of `an` and CE the cross-entropy:

    align * mean CE(d; p) + classifier * AN(p) + label * AN(d)
      + prior * [ mean KL(latent || N(0, 1)) + mean KL(label || Beta(1, 1)) ]

adapted: an unused image loss of the same group gives the terms and the prior's 1e-5; it names no values for the other weights,
so they are 1.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from aevlp.config.registry import register
from aevlp.config.schema import ComponentConfig
from aevlp.losses._terms import Loss, cross_entropy, where_absent
from aevlp.losses.an import EPSILON, assume_negative
from aevlp.losses.mime import divergence


class SMILELossConfig(ComponentConfig):
    """Settings of the SMILE loss."""

    needs_outputs: ClassVar[tuple[str, ...]] = ("latent_mean", "latent_log_std", "label_for", "label_against", "label")

    align: float = Field(1.0, ge=0)
    """Weight of the soft labels as the classifier's targets."""
    classifier: float = Field(1.0, ge=0)
    """Weight of assume negative on the classifier."""
    label: float = Field(1.0, ge=0)
    """Weight of assume negative on the soft labels."""
    prior: float = Field(1e-5, ge=0)
    """Weight of both priors."""


def beta_divergence(a: Tensor, b: Tensor) -> Tensor:
    """Mean over all entries of KL(Beta(a, b) || Beta(1, 1)), the uniform distribution."""
    log_norm = torch.lgamma(a) + torch.lgamma(b) - torch.lgamma(a + b)
    total = (a - 1) * torch.digamma(a) + (b - 1) * torch.digamma(b) + (2 - a - b) * torch.digamma(a + b)
    return (total - log_norm).mean()


@register("losses", "smile", config=SMILELossConfig)
class SMILELoss(Loss):
    """SMILE; pseudo-labels are ignored. Called without `auxiliary`, as no run does, only the classifier's own term stays."""

    reads_pseudo = False
    config: SMILELossConfig

    def forward(
        self, logits: Tensor, observed: Tensor, pseudo: Tensor, *, auxiliary: dict[str, Tensor] | None = None, **_: Any
    ) -> Tensor:
        """See `aevlp.losses` for shapes."""
        config, logits = self.config, logits.float()
        loss = config.classifier * assume_negative(logits, observed)
        if not auxiliary:
            return loss
        mean, log_std, label_for, label_against, label = (auxiliary[name].float() for name in config.needs_outputs)
        loss = loss + config.align * where_absent(cross_entropy(logits, label, EPSILON), 0.0, observed).mean()
        loss = loss - config.label * torch.log(torch.where(observed > 0, label, 1 - label) + EPSILON).mean()
        return loss + config.prior * (divergence(mean, log_std) + beta_divergence(label_for, label_against))
