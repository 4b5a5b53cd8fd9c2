"""Mean average precision as the single-positive literature computes it."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def average_precision_per_class(targets: ArrayLike, scores: ArrayLike) -> np.ndarray:
    """Average precision of each class, (C,) float64, in percent.

    Args:
        targets: (N,C), 1 for a positive, anything else for a negative.
        scores: (N,C), higher means more likely; logits rank more finely than probabilities, which saturate.

    Returns:
        scikit-learn's `average_precision_score` times 100; 0 for a class without a positive, as in the public code.

    Raises:
        ValueError: shapes differ, or a score is not finite.
    """
    from sklearn.metrics import average_precision_score  # 1.3 s to import

    positive, ranked = np.asarray(targets) == 1, np.asarray(scores)
    if positive.shape != ranked.shape or positive.ndim != 2:
        raise ValueError(f"targets {positive.shape} and scores {ranked.shape} must be of one shape (images, classes)")
    if not np.isfinite(ranked).all():
        raise ValueError("scores must be finite")
    result = np.zeros(positive.shape[1])
    for j in np.flatnonzero(positive.any(axis=0)):
        result[j] = 100 * average_precision_score(positive[:, j], ranked[:, j])
    return result


def mean_average_precision(targets: ArrayLike, scores: ArrayLike) -> float:
    """Unweighted mean over all classes of `average_precision_per_class`, in percent."""
    return float(average_precision_per_class(targets, scores).mean())
