"""Average precision against what is known of the labels, where the full ones are not, or are not to be used."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from aevlp.metrics.ranking import average_precision_per_class


def judged_where_known(observed: ArrayLike) -> np.ndarray:
    """Classes with at least as many known negatives as known positives, and one of these, (C,) bool."""
    there, absent = ((np.asarray(observed) == sign).sum(axis=0) for sign in (1, -1))
    return (there > 0) & (absent >= there)


def num_assumed_absent(observed: ArrayLike) -> int:
    """Classes with a known positive whose unknown labels count as absent in mAP by known labels: it is a lower bound then."""
    return int(((np.asarray(observed) > 0).any(axis=0) & ~judged_where_known(observed)).sum())


def observed_average_precision_per_class(observed: ArrayLike, scores: ArrayLike) -> np.ndarray:
    """Average precision of each class against observed labels, (C,) float64, in percent.

    A class that is `judged_where_known` counts on the images of which it is known, so that no unknown positive passes for a
    negative. Of another class all images count, and what is not known to be there is a negative, as in the literature: with few
    known negatives nearly every ranking would be right.

    Args:
        observed: (N,C) in {-1,0,1}.
        scores: (N,C), as for `average_precision_per_class`, which also says what a class without a known positive gets.
    """
    known, ranked = np.asarray(observed), np.asarray(scores)
    result = average_precision_per_class(known, ranked)
    for j in np.flatnonzero(judged_where_known(known)):
        rows = known[:, j] != 0
        result[j] = average_precision_per_class(known[rows, j : j + 1], ranked[rows, j : j + 1])[0]
    return result
