"""What LL-R, LL-Ct and LL-Cp share (Kim et al., CVPR 2022): large losses of assumed negatives betray hidden positives.

A network learns true labels before false ones, so after the first epoch the unobserved entries of a batch with the largest
loss are suspects: `ll_r` rejects them, `ll_ct` takes them for positives in this step, `ll_cp` from now on.
"""

from __future__ import annotations

import math
from fractions import Fraction

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from aevlp.whole_batch import kth_largest, num_entries


def num_suspects(entries: int, delta: float, times: int) -> int:
    """ceil(B * C * times * delta / 100), in integers: 1 - (1 - share) in floating point can exceed a whole number by 1e-16."""
    return min(math.ceil(entries * times * Fraction(repr(delta)) / 100), entries)


def binary_loss(logits: Tensor, positive: Tensor) -> Tensor:
    """Cross-entropy (B,C) without an epsilon, with targets `positive` (B,C) bool.

    Not torch's binary_cross_entropy_with_logits, which is 0 for negatives below -17: all of them would be suspects at once.
    """
    return -logsigmoid(torch.where(positive, logits, -logits))


def suspects(logits: Tensor, suspicious: Tensor, delta: float, times: int) -> tuple[Tensor, Tensor]:
    """Entries whose loss as a negative is at least, and those whose loss is above, the k-th largest; (B,C) bool.

    k is `num_suspects` of the whole batch, whoever holds it; where it is 0, there are none. `suspicious` (B,C) bool are the
    assumed negatives. As published, all others take part in the count with loss 0, known negatives too (BoostLU on partial
    labels); here they are never suspects, whatever k.
    """
    count = num_suspects(num_entries(logits), delta, times)
    if count == 0:
        nobody = torch.zeros_like(suspicious)
        return nobody, nobody
    loss = binary_loss(logits.detach(), ~suspicious) * suspicious
    threshold = kth_largest(loss, count)
    return suspicious & (loss >= threshold), suspicious & (loss > threshold)
