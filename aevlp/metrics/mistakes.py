"""Where a model's labels are wrong: classes it claims that are not there, and classes that it misses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aevlp.metrics.thresholds import best_thresholds


@dataclass(frozen=True)
class Verdict:
    """What becomes of each class of each image, (N,C) bool. Where full labels are not known, only what is known is judged."""

    right: np.ndarray
    """Predicted, and there."""
    false: np.ndarray
    """Predicted, and not there."""
    missed: np.ndarray
    """There, and not predicted."""
    unknown: np.ndarray
    """Predicted, and nobody knows."""


def judge(probabilities: np.ndarray, observed: np.ndarray, targets: np.ndarray | None) -> Verdict:
    """Judge predictions (N,C) at the threshold of highest F1 of each class.

    At 0.5 for a class without a positive, and for all where only known labels are there: of their F1 the best threshold is far
    too high or far too low, as most that is true is not known.
    """
    labels = observed if targets is None else targets
    there, absent = labels > 0, (labels < 0 if targets is None else labels == 0)
    thresholds = np.full(labels.shape[1], np.nan) if targets is None else best_thresholds(labels, probabilities)
    predicted = probabilities >= np.where(np.isnan(thresholds), 0.5, thresholds)
    return Verdict(predicted & there, predicted & absent, there & ~predicted, predicted & ~there & ~absent)


def most_mistaken(probabilities: np.ndarray, observed: np.ndarray, targets: np.ndarray | None, count: int) -> list[int]:
    """At most `count` rows, ascending: those of the surest mistakes, half of them false ones and half missed, then the first."""
    verdict = judge(probabilities, observed, targets)
    false = np.where(verdict.false, probabilities, -1.0).max(axis=1, initial=-1.0)
    missed = np.where(verdict.missed, 1.0 - probabilities, -1.0).max(axis=1, initial=-1.0)
    ranked = [[int(row) for row in np.argsort(-sure, kind="stable") if sure[row] >= 0] for sure in (false, missed)]
    first = [*ranked[0][: count // 2], *ranked[1][: count // 2]]
    rest = [*ranked[0], *ranked[1], *range(len(probabilities))]
    return sorted(list(dict.fromkeys([*first, *rest]))[:count])
