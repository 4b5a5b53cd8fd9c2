"""Terms that losses share. All take logits and work in logit space, so that value and gradient stay finite at +-200."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from aevlp.config.schema import ComponentConfig
from aevlp.whole_batch import batch_mean, batch_sum


class Loss(nn.Module):
    """Base of losses without memory: keeps the configuration, ignores the sizes of the data."""

    reads_pseudo: ClassVar[bool | None] = None
    """Whether `pseudo` changes the loss; None where it does not say."""

    def __init__(self, config: ComponentConfig, num_classes: int | None = None, num_samples: int | None = None):
        super().__init__()
        self.config = config


class ReducedConfig(ComponentConfig):
    """Of losses whose authors add up all entries, which is B*C times the mean that the single-positive literature uses."""

    reduction: Literal["mean", "sum"] = "mean"
    """mean, so that learning rates compare with the other losses; sum, as the loss was published."""

    def reduce(self, loss: Tensor) -> Tensor:
        """The loss (B,C) as a scalar."""
        return loss.mean() if self.reduction == "mean" else batch_sum(loss)


def negative_log(logits: Tensor, epsilon: float) -> Tensor:
    """-ln(p + epsilon) with p = sigmoid(logits)."""
    return -torch.log(torch.sigmoid(logits) + epsilon)


def negative_log_complement(logits: Tensor, epsilon: float) -> Tensor:
    """-ln(1 - p + epsilon); 1 - p is sigmoid(-logits), exact where 1 - sigmoid(logits) would round to 0."""
    return negative_log(-logits, epsilon)


def where_known(loss: Tensor, logits: Tensor, observed: Tensor, epsilon: float) -> Tensor:
    """Entries (B,C): -ln(p + epsilon) of known positives, -ln(1 - p + epsilon) of known negatives, `loss` of the unknown."""
    loss = where_absent(loss, negative_log_complement(logits, epsilon), observed)
    return torch.where(observed > 0, negative_log(logits, epsilon), loss)


def where_absent(loss: Tensor, if_negative: Tensor | float, observed: Tensor) -> Tensor:
    """Entries (B,C): `loss`, but `if_negative` of known negatives, whatever the method makes of unknown labels.

    Every loss passes its entries through here, unless a known negative costs what an assumed one does. Where no negative is
    known it changes no bit.
    """
    return torch.where(observed < 0, if_negative, loss)


def cross_entropy(logits: Tensor, target: Tensor | float, epsilon: float) -> Tensor:
    """-target ln(p + epsilon) - (1 - target) ln(1 - p + epsilon) of soft targets in [0,1]."""
    return target * negative_log(logits, epsilon) + (1 - target) * negative_log_complement(logits, epsilon)


def entropy(logits: Tensor, epsilon: float) -> Tensor:
    """-p ln(p + epsilon) - (1 - p) ln(1 - p + epsilon); the gradient flows through both factors."""
    if_positive, if_negative = negative_log(logits, epsilon), negative_log_complement(logits, epsilon)
    return torch.sigmoid(logits) * if_positive + torch.sigmoid(-logits) * if_negative


def count_penalty(logits: Tensor, expected_positives: float, observed: Tensor) -> Tensor:
    """(mean over images of the sum of p - expected_positives)^2 / C^2, a scalar; known negatives count as 0."""
    p = where_absent(torch.sigmoid(logits), 0.0, observed)
    return (batch_mean(p.sum(dim=1)) - expected_positives) ** 2 / logits.shape[1] ** 2


def power_loss(logits: Tensor, q: float) -> Tensor:
    """L_q(p) = (1 - p^q) / q, the generalised cross-entropy: -ln p as q goes to 0, 1 - p at q = 1.

    p^q = exp(q ln p) keeps the gradient -p^q (1 - p) finite where p underflows; p.pow(q) would give infinity times 0.
    """
    return -torch.expm1(q * nn.functional.logsigmoid(logits)) / q
