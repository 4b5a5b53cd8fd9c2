"""How right pseudo-labels are, measured where no label is known."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def pseudo_label_quality(pseudo: ArrayLike, observed: ArrayLike, targets: ArrayLike) -> dict[str, dict[str, float]]:
    """Precision, recall and F1 in percent, and the number assigned, of pseudo-positives and pseudo-negatives.

    Args:
        pseudo: (N,C) in {-1,0,1}.
        observed: (N,C) in {-1,0,1}; entries that are known, to be there or to be absent, are left out.
        targets: (N,C) full labels in {0,1}.

    Returns:
        {"positive": {...}, "negative": {...}}, micro-averaged over entries. A ratio whose denominator is 0 is 0. F1 is the
        usual harmonic mean (the public AEVLP code prints half of it).
    """
    pseudo, unknown, positive = np.asarray(pseudo), np.asarray(observed) == 0, np.asarray(targets) == 1
    return {
        "positive": _quality((pseudo > 0) & unknown, positive & unknown),
        "negative": _quality((pseudo < 0) & unknown, ~positive & unknown),
    }


def pseudo_positives_per_class(pseudo: ArrayLike, observed: ArrayLike, targets: ArrayLike) -> dict[str, np.ndarray]:
    """Pseudo-positives of each class, counted where no label is known; arguments as in `pseudo_label_quality`.

    Returns:
        int64 (C,) arrays: `assigned`, those of them that are `correct`, and the `actual` positives there were to find.
    """
    pseudo, unknown, positive = np.asarray(pseudo), np.asarray(observed) == 0, np.asarray(targets) == 1
    assigned, actual = (pseudo > 0) & unknown, positive & unknown
    return {
        name: mask.sum(axis=0, dtype=np.int64)
        for name, mask in (("assigned", assigned), ("correct", assigned & actual), ("actual", actual))
    }


def _quality(assigned: np.ndarray, actual: np.ndarray) -> dict[str, float]:
    correct, num_assigned, num_actual = (int(mask.sum()) for mask in (assigned & actual, assigned, actual))
    return {
        "precision": 100 * correct / num_assigned if num_assigned else 0.0,
        "recall": 100 * correct / num_actual if num_actual else 0.0,
        "f1": 200 * correct / (num_assigned + num_actual) if num_assigned + num_actual else 0.0,
        "count": num_assigned,
    }
