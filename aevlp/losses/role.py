"""ROLE, regularised online label estimation (Cole et al., CVPR 2021): labels and classifier teach each other.

A table holds a logit for every label of every training image; q = sigmoid(table). With p the classifier's probabilities, ^ for
no gradient, CE(target; p) the cross-entropy, and R the penalty of `epr`:

    mean of [ -ln p - ln q ] / 2 on known positives + mean of [ CE(q^; p) + CE(p^; q) ] / 2 on all + [ R(p) + R(q) ] / 2

A known negative is the mirror image: [ -ln(1 - p) - ln(1 - q) ] / 2, and it counts as 0 in R. The authors' code has its start in
the table, but no loss for it.

The table trains with trainer.loss_lr_mult (10 as published). It starts in [-logit(.6), logit(.6)] at random, and at logit(.995)
where a positive is known, at logit(.005) where a negative is: a shift to there is noted when an image is first seen. Until then
Adam leaves the row alone, as its gradient is 0. The shift stays beside the table, so that on several ranks, each of which sees
images of its own, the table alone follows from the gradients and is the same on all.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from aevlp.config.registry import register
from aevlp.losses._memory import RememberingLoss
from aevlp.losses._terms import count_penalty, cross_entropy, where_known
from aevlp.losses.epr import EPRConfig
from aevlp.random import LABEL_ESTIMATES, generator

EPSILON = 1e-5
START = math.log(0.6 / 0.4)
OBSERVED = math.log(0.995 / 0.005)


class ROLEConfig(EPRConfig):
    """Settings of ROLE."""


@register("losses", "role", config=ROLEConfig)
class ROLELoss(RememberingLoss):
    """ROLE; pseudo-labels are ignored."""

    reads_pseudo = False
    config: ROLEConfig
    table: nn.Parameter
    """(N,C) float32: logits of the estimated labels. Row i starts from (seed of torch, i) alone."""
    shift: Tensor
    """(N,C) float32: what brings known labels to their start, once seen; 0 elsewhere. The estimates are table + shift."""

    def __init__(self, config: ROLEConfig, num_classes: int | None = None, num_samples: int | None = None):
        super().__init__(config, num_classes, num_samples)
        numbers = generator(LABEL_ESTIMATES, torch.initial_seed())
        start = numbers.uniform(-START, START, (self.num_samples, self.num_classes))
        self.table = nn.Parameter(torch.from_numpy(start).float())
        self.remember("shift", torch.float32)

    def forward(self, logits: Tensor, observed: Tensor, pseudo: Tensor, *, index: Tensor | None = None, **_: Any) -> Tensor:
        """See `aevlp.losses` for shapes."""
        logits, index = logits.float(), self.rows(index)
        table, shift = self.table[index], self.shift[index]
        start = torch.where(observed > 0, OBSERVED, -OBSERVED)
        shift = torch.where((shift == 0) & (observed != 0), start - table.detach(), shift)
        self.shift[index] = shift
        estimates = table + shift
        loss = self._half(logits, estimates, observed) + self._half(estimates, logits, observed)
        return loss / 2

    def _half(self, logits: Tensor, teacher: Tensor, observed: Tensor) -> Tensor:
        """Twice the terms in which `logits` learn; `teacher` gets no gradient."""
        known = where_known(torch.zeros_like(logits), logits, observed, EPSILON)
        taught = cross_entropy(logits, torch.sigmoid(teacher.detach()), EPSILON)
        return (known + taught).mean() + count_penalty(logits, self.config.expected_positives, observed)
