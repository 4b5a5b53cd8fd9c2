"""Which known labels are hidden, to see whether a labeler finds them: of each of some photos one, drawn by the seed."""

from __future__ import annotations

import numpy as np

from aevlp.data.random import HIDDEN, generator
from aevlp.metrics.hidden_labels import Hidden


def hide(observed: np.ndarray, seed: int, most: int) -> tuple[np.ndarray, Hidden]:
    """Rows (n,) in ascending order of at most `most` photos with a known positive, and what is hidden of them.

    They depend on the arguments alone; n is 0 where no photo has a known positive.
    """
    numbers = generator(HIDDEN, seed)
    labelled = np.flatnonzero((observed > 0).any(axis=1))
    rows = np.sort(numbers.permutation(labelled)[:most])
    chances = numbers.random((len(rows), observed.shape[1]))
    return rows, Hidden(observed[rows], np.where(observed[rows] > 0, chances, -1.0).argmax(axis=1))
