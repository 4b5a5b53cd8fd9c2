"""Binary cross-entropy on full labels (Cole et al., CVPR 2021), the upper bound: needs `dataset.train_labels: full`."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from aevlp.config.registry import register
from aevlp.config.schema import ComponentConfig
from aevlp.losses._terms import Loss
from aevlp.losses.an import assume_negative


class BCEConfig(ComponentConfig):
    """Binary cross-entropy has no settings."""

    needs_full_labels: ClassVar[bool] = True


@register("losses", "bce", config=BCEConfig)
class BCELoss(Loss):
    """Binary cross-entropy with `observed` as the full targets."""

    reads_pseudo = False

    def forward(self, logits: Tensor, observed: Tensor, pseudo: Tensor, **_: Any) -> Tensor:
        """See `aevlp.losses` for shapes."""
        return assume_negative(logits, observed)
