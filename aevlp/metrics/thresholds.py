"""From scores to labels: precision, recall and F1 at a threshold, and the threshold that is best for a class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from aevlp.metrics.ranking import mean_over_classes

GRID = tuple(round(0.1 * step, 1) for step in range(1, 10))
"""Thresholds that `eval` tries for all classes at once."""


@dataclass(frozen=True)
class Quality:
    """Precision, recall and F1 in percent.

    A class without a positive is NaN and no part of the macro means. Any other ratio whose denominator is 0 is 0, as in
    scikit-learn with `zero_division=0`.
    """

    precision: np.ndarray
    """(C,), of each class."""
    recall: np.ndarray
    """(C,), of each class."""
    f1: np.ndarray
    """(C,), of each class."""
    macro: tuple[float, float, float]
    """Unweighted means of the three over the classes that occur; NaN where none does."""
    micro: tuple[float, float, float]
    """The three over all entries at once."""


def quality_at(targets: ArrayLike, probabilities: ArrayLike, thresholds: ArrayLike) -> Quality:
    """Quality of `probabilities >= thresholds`.

    Args:
        targets: (N,C), 1 for a positive, anything else for a negative.
        probabilities: (N,C).
        thresholds: one for all classes, or (C,).
    """
    positive = np.asarray(targets) == 1
    assigned = np.asarray(probabilities) >= np.asarray(thresholds)
    if positive.shape != assigned.shape or positive.ndim != 2:
        raise ValueError(f"targets {positive.shape} and probabilities {assigned.shape} must be of one shape (images, classes)")
    counts = [mask.sum(axis=0) for mask in (positive & assigned, assigned, positive)]
    occurs = positive.any(axis=0)
    precision, recall, f1 = (np.where(occurs, values, np.nan) for values in _ratios(*counts))
    micro = _ratios(*(count.sum() for count in counts))
    return Quality(
        precision, recall, f1, (mean_over_classes(precision), mean_over_classes(recall), mean_over_classes(f1)),
        (float(micro[0]), float(micro[1]), float(micro[2])),
    )  # fmt: skip


def _ratios(correct: np.ndarray, assigned: np.ndarray, actual: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    pairs = ((correct, assigned), (correct, actual), (2 * correct, assigned + actual))
    precision, recall, f1 = (100 * over / np.maximum(under, 1) for over, under in pairs)
    return precision, recall, f1


def best_thresholds(targets: ArrayLike, probabilities: ArrayLike) -> np.ndarray:
    """The threshold of each class with the highest F1, (C,) float64; NaN for a class without a positive.

    It lies midway between two neighbouring scores, so that rounding in another batch does not cross it. Among thresholds
    of equal F1 the highest is taken.
    """
    positive, probabilities = np.asarray(targets) == 1, np.asarray(probabilities, dtype=np.float64)
    result = np.full(positive.shape[1], np.nan)
    for j in np.flatnonzero(positive.any(axis=0)):
        order = np.argsort(-probabilities[:, j], kind="stable")
        ranked, hits = probabilities[order, j], positive[order, j].cumsum()
        last = np.append(np.flatnonzero(ranked[:-1] != ranked[1:]), len(ranked) - 1)  # equal scores are taken together
        f1 = 2 * hits[last] / (last + 1 + hits[-1])
        at = last[np.argmax(f1)]
        below = ranked[at + 1] if at + 1 < len(ranked) else min(ranked[at], 0.0)
        middle = (ranked[at] + below) / 2
        result[j] = middle if middle > below else ranked[at]
    return result


def sigmoid(logits: ArrayLike) -> np.ndarray:
    """Probabilities, float64: finer than float32, in which all logits above 17 become 1."""
    return 1 / (1 + np.exp(-np.clip(np.asarray(logits, dtype=np.float64), -500, 500)))
