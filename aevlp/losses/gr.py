"""GR loss (Chen et al., IJCAI 2024): GPR without pseudo-labels and without the count regularizer."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from aevlp.config.registry import register
from aevlp.losses._terms import Loss, where_known
from aevlp.losses.gpr import EPSILON, GRConfig, neutral_loss


@register("losses", "gr", config=GRConfig)
class GRLoss(Loss):
    """GR loss; pseudo-labels are ignored."""

    reads_pseudo = False
    config: GRConfig

    def forward(self, logits: Tensor, observed: Tensor, pseudo: Tensor, *, epoch: int, num_epochs: int, **_: Any) -> Tensor:
        """See `aevlp.losses` for shapes."""
        logits = logits.float()
        neutral, _weight = neutral_loss(logits, self.config, epoch, num_epochs)
        return where_known(neutral, logits, observed, EPSILON).mean()
