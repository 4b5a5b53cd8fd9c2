"""EM+APL: entropy maximisation with asymmetric pseudo-labels (Zhou et al., ECCV 2022).

After each epoch from `warmup` on, in each class, the floor(negative_share * U / (num_epochs - warmup)) undecided images with the
smallest probability become soft negatives for good, with that probability r as their target; U counts the unknown labels of
the class. There are no positive pseudo-labels. Per entry, H being the entropy of `em`:

    known positive      -ln(p)
    known negative      -ln(1 - p)
    soft negative       beta * [ -r ln(p) - (1 - r) ln(1 - p) ]
    undecided           -alpha * H(p)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from aevlp.config.registry import register
from aevlp.losses._memory import RememberingLoss
from aevlp.losses._terms import cross_entropy, entropy, where_known
from aevlp.losses.em import EPSILON, EMConfig


class EMAPLConfig(EMConfig):
    """Settings of EM+APL."""

    beta: float = Field(0.9, ge=0)
    """Weight of the soft negatives (VOC .02, COCO .9, NUS-WIDE .2, CUB .4)."""
    warmup: int = Field(5, ge=1)
    """Epoch after which the first soft negatives are chosen (VOC 5, COCO 5, NUS-WIDE 4, CUB 3, of 10 epochs). In a run of no
    more epochs than this there are none."""
    negative_share: float = Field(0.9, ge=0, le=1)
    """Share of the unknown labels of a class that are soft negatives in the last epoch (.9 on all four datasets)."""


def quota(num_unobserved: Tensor, share: float, num_passes: int) -> Tensor:
    """floor(share * U / num_passes) for each class, in integers: .9 * U in floating point can fall short of a whole number."""
    exact = Fraction(repr(share)).limit_denominator(10**9) / num_passes  # 16 digits times U have no place in 64 bits
    return num_unobserved * exact.numerator // exact.denominator


def least_probable(probabilities: Tensor, candidates: Tensor, count: Tensor) -> Tensor:
    """The `count` (C,) candidates (N,C) of each class with the smallest probability, (N,C) bool; the earlier row of a tie."""
    order = torch.where(candidates, probabilities, torch.inf).argsort(dim=0, stable=True)
    rank = torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=order.device)[:, None].expand_as(order))
    return candidates & (rank < count)


@register("losses", "em_apl", config=EMAPLConfig)
class EMAPLLoss(RememberingLoss):
    """EM with soft negatives that the classifier chooses itself; pseudo-labels of a labeler are ignored."""

    reads_pseudo = False
    config: EMAPLConfig
    unobserved: Tensor
    """(N,C) bool: labels of images seen so far that are unknown."""
    soft_negative: Tensor
    """(N,C) float32: target r of the soft negatives, 0 elsewhere. A probability of exactly 0 stays undecided, as published."""
    num_epochs: Tensor

    def __init__(self, config: EMAPLConfig, num_classes: int | None = None, num_samples: int | None = None):
        super().__init__(config, num_classes, num_samples)
        self.remember("unobserved", torch.bool)
        self.remember("soft_negative", torch.float32)
        self.register_buffer("num_epochs", torch.zeros((), dtype=torch.int64))

    def forward(
        self, logits: Tensor, observed: Tensor, pseudo: Tensor, *, num_epochs: int, index: Tensor | None = None, **_: Any
    ) -> Tensor:
        """See `aevlp.losses` for shapes."""
        logits, index = logits.float(), self.rows(index)
        self.unobserved[index] = observed == 0
        self.num_epochs.fill_(num_epochs)
        target = self.soft_negative[index]
        loss = -self.config.alpha * entropy(logits, EPSILON)
        loss = torch.where(target > 0, self.config.beta * cross_entropy(logits, target, EPSILON), loss)
        return where_known(loss, logits, observed, EPSILON).mean()

    def looks_back(self, epoch: int) -> bool:
        """Whether `on_epoch_end` has anything to do after this epoch."""
        return self.config.warmup <= epoch and self.config.warmup < int(self.num_epochs)

    @torch.no_grad()
    def on_epoch_end(self, predict: Callable[[], Iterable[tuple[Tensor, Tensor]]], epoch: int) -> None:
        """Choose this epoch's soft negatives from the probabilities of all training images."""
        if not self.looks_back(epoch):
            return
        probabilities = torch.zeros_like(self.soft_negative)
        for index, batch in predict():
            probabilities[index] = batch
        num_passes = int(self.num_epochs) - self.config.warmup
        count = quota(self.unobserved.sum(dim=0), self.config.negative_share, num_passes)
        chosen = least_probable(probabilities, self.unobserved & (self.soft_negative == 0), count)
        self.soft_negative.copy_(torch.where(chosen, probabilities, self.soft_negative))
