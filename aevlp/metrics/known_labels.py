"""What can be said of a classifier where only some labels of a photo are known."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

RECALL_AT = (1, 3, 5)
CHUNK = 4_000_000  # entries compared at once


def known_label_quality(logits: ArrayLike, observed: ArrayLike, pseudo: ArrayLike | None = None) -> dict[str, float]:
    """Figures by known labels, without a word on what is not known. What cannot be computed is left out.

    A known positive is ranked among the classes that are not known to be in its photo: of several in one photo, none is in
    the way of another. Equal scores count against it, so that a classifier that cannot decide gains nothing. A classifier that
    puts all classes of a photo before all others has every known positive among the first k, where k is the number of
    classes in the photo: another class that is there, but not known, may come first.

    Args:
        logits: (N,C), above 0 where the classifier predicts a label.
        observed: (N,C), above 0 where a label is known to be there.
        pseudo: (N,C), above 0 where a labeler says that a label is there, if there is a labeler.

    Returns:
        `known_recall_1`, `known_recall_3`, `known_recall_5`: share of all known positives that are among the first k, percent.
        `known_rank`: their mean rank; 1 is best.
        `labels_per_image`: mean number of labels predicted.
        `agreement`: F1 of the classifier's labels against the labeler's where no label is known, percent: 100 where they are
        the same, and low as well where one of them says much more than the other.
    """
    scores, known = np.asarray(logits), np.asarray(observed) > 0
    predicted = scores > 0
    result: dict[str, float] = {}
    ranks = _ranks(scores, known)
    if len(ranks):
        result |= {f"known_recall_{k}": 100 * float((ranks <= k).mean()) for k in RECALL_AT}
        result["known_rank"] = float(ranks.mean())
    if len(scores):
        result["labels_per_image"] = float(predicted.sum(axis=1).mean())
    if pseudo is not None:
        unknown = np.asarray(observed) == 0
        ours, theirs = predicted & unknown, (np.asarray(pseudo) > 0) & unknown
        either = int(ours.sum()) + int(theirs.sum())
        if either:
            result["agreement"] = 200 * int((ours & theirs).sum()) / either
    return result


def _ranks(scores: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Rank of each known positive, from 1."""
    rows, columns = np.nonzero(known)
    parts = np.array_split(np.arange(len(rows)), max(1, len(rows) * scores.shape[1] // CHUNK))
    counts = [
        ((scores[rows[part]] >= scores[rows[part], columns[part], None]) & ~known[rows[part]]).sum(axis=1) for part in parts
    ]
    return 1 + np.concatenate(counts)
