"""MIME loss (Liu et al., ICML 2023): assume negative, except for what the classifier is sure of, with a prior on its latent code.

    mean of -ln(p) on positives and -ln(1 - p) on others + beta * KL(latent Gaussian of model `mime` || standard normal)

After each epoch from `warmup` on, unobserved labels with p above the threshold become positives for good.

adapted: this is the released script, whose values the paper could not be compared with; the look at the training images after an
epoch takes them as they are, where the script flips them at random and leaves the last partial batch out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from aevlp.config.registry import register
from aevlp.config.schema import ComponentConfig
from aevlp.losses._memory import RememberingLoss
from aevlp.losses.an import assume_negative


class MIMELossConfig(ComponentConfig):
    """Settings of the MIME loss."""

    needs_outputs: ClassVar[tuple[str, ...]] = ("latent_mean", "latent_log_std")

    beta: float = Field(1e-4, ge=0)
    """Weight of the prior (1e-4 on all four published datasets)."""
    threshold: float = Field(0.95, ge=0, le=1)
    """Probability above which a label becomes positive (.95 on all four)."""
    warmup: int = Field(2, ge=1)
    """Epoch after which the first labels are taken (VOC, COCO, NUS-WIDE 2, CUB 5, of 10 epochs)."""


def divergence(mean: Tensor, log_std: Tensor) -> Tensor:
    """Mean over all entries of KL(N(mean, std^2) || N(0, 1)) = -(1 + 2 ln std - mean^2 - std^2) / 2."""
    return -0.5 * (1 + 2 * log_std - mean**2 - torch.exp(2 * log_std)).mean()


@register("losses", "mime", config=MIMELossConfig)
class MIMELoss(RememberingLoss):
    """MIME; pseudo-labels of a labeler are ignored. Called without `auxiliary`, as no run does, it leaves the prior out."""

    reads_pseudo = False
    config: MIMELossConfig
    taken: Tensor
    """(N,C) bool: labels that are positives for good."""

    def __init__(self, config: MIMELossConfig, num_classes: int | None = None, num_samples: int | None = None):
        super().__init__(config, num_classes, num_samples)
        self.remember("taken", torch.bool)

    def forward(
        self, logits: Tensor, observed: Tensor, pseudo: Tensor, *, index: Tensor | None = None,
        auxiliary: dict[str, Tensor] | None = None, **_: Any,
    ) -> Tensor:  # fmt: skip
        """See `aevlp.losses` for shapes."""
        taken = self.taken[self.rows(index)] & (observed == 0)
        loss = assume_negative(logits, (observed > 0) | taken)
        if auxiliary:
            latent = (auxiliary[name].float() for name in self.config.needs_outputs)
            loss = loss + self.config.beta * divergence(*latent)
        return loss

    def looks_back(self, epoch: int) -> bool:
        """Whether `on_epoch_end` has anything to do after this epoch."""
        return epoch >= self.config.warmup

    @torch.no_grad()
    def on_epoch_end(self, predict: Callable[[], Iterable[tuple[Tensor, Tensor]]], epoch: int) -> None:
        """Take what the classifier is sure of."""
        if self.looks_back(epoch):
            for index, probabilities in predict():
                self.taken[index] |= probabilities > self.config.threshold
