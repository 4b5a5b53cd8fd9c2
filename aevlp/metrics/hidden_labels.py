"""What pseudo-labels are worth, from known labels alone: of some photos a known label is hidden, and looked for.

A known positive is one of the photo's positives, drawn at random, so the share of hidden ones that a labeler finds tells how
many of the others it finds. But each photo has one hidden label whether it shows one class or five, and where it shows one,
that is easier to find: on digit scenes recall came out 5 to 16 points too high. So a photo weighs by the positives that are
probably unknown in it. An entry with score s is one of them with probability (density of s among unknown positives) /
(density of s among all unknown entries) * (their share); the first density is that of the weighed hidden labels.

No full label is read.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aevlp.random import HIDDEN, generator

BINS = 20  # of scores, equally full
ROUNDS = 10  # of weights that follow from densities, which follow from weights
SURE = 0.3  # share of the positives, those of the largest scores, within which some threshold is taken to let no wrong one in


@dataclass(frozen=True)
class Hidden:
    """Photos of which one known positive each is hidden."""

    observed: np.ndarray
    """(N,C) in {-1,0,1}, nothing hidden."""
    column: np.ndarray
    """(N,) the class that is hidden, known to be there."""

    @property
    def left(self) -> np.ndarray:
        """What a labeler is told, (N,C): all but what is hidden."""
        left = self.observed.copy()
        left[np.arange(len(left)), self.column] = 0
        return left

    def of_hidden(self, table: np.ndarray) -> np.ndarray:
        """The values of (N,C) at the hidden labels, (N,)."""
        values: np.ndarray = table[np.arange(len(table)), self.column]
        return values


def hide(observed: np.ndarray, seed: int, most: int) -> tuple[np.ndarray, Hidden]:
    """Of each of some photos a known positive, drawn by the seed, that a labeler is not told.

    Returns:
        Rows (n,) in ascending order of at most `most` photos with a known positive, and what is hidden of them. They depend on
        the arguments alone; n is 0 where no photo has a known positive.
    """
    numbers = generator(HIDDEN, seed)
    labelled = np.flatnonzero((observed > 0).any(axis=1))
    rows = np.sort(numbers.permutation(labelled)[:most])
    chances = numbers.random((len(rows), observed.shape[1]))
    return rows, Hidden(observed[rows], np.where(observed[rows] > 0, chances, -1.0).argmax(axis=1))


@dataclass(frozen=True)
class Weighed:
    """How many positives a photo has that are not known."""

    weights: np.ndarray
    """(N,) expected number in each photo."""
    total: float
    """Of all photos: what was given, or an estimate."""


@dataclass(frozen=True)
class Worth:
    """What pseudo-labels are probably worth, over entries that are not known. Shares in [0,1]."""

    recall: float
    """Share of the positives that are found."""
    chance: float
    """Recall of as many labels of each class given to photos at random."""
    labels: int
    """Pseudo-positives of all photos."""
    precision: float
    """Share of them that is right; 0 where there are none."""
    f1: float

    @property
    def is_chance(self) -> bool:
        """Whether the odds to be found are less than twice those of chance."""
        return self.recall * (1 - self.chance) <= 2 * self.chance * (1 - self.recall)


def weigh(scores: np.ndarray, hidden: Hidden, unknown_positives: float | None = None) -> Weighed:
    """Expected number of unknown positives of each photo, from scores (N,C) that were found without being told of any label.

    Args:
        scores: larger where a class is more likely to be there.
        hidden: the photos.
        unknown_positives: how many there are in all photos together. None estimates them: the smallest number at which no
            threshold that finds a share of SURE or more finds fewer labels than there must be. It is too large where the
            labels of the largest scores are wrong as well; of a blind scorer it is all that is unknown.
    """
    unknown = hidden.observed == 0
    hidden_scores = hidden.of_hidden(scores)
    edges = np.unique(np.quantile(np.concatenate([scores[unknown], hidden_scores]), np.arange(BINS) / BINS))
    bins = np.maximum(np.searchsorted(edges, scores, side="right") - 1, 0)  # those of known negatives may lie below all edges
    count = len(edges)
    of_unknown = np.bincount(bins[unknown], minlength=count)
    hidden_bins = hidden.of_hidden(bins)
    weights, total = np.ones(len(hidden_scores)), unknown_positives or 0.0
    for _ in range(ROUNDS):
        density = np.bincount(hidden_bins, weights=weights, minlength=count) / weights.sum()
        if unknown_positives is None:
            above, unknown_above = np.cumsum(density[::-1]), np.cumsum(of_unknown[::-1])
            total = float((unknown_above / np.maximum(above, 1e-12))[above >= SURE].min())
        probability = np.minimum(1.0, total * density / np.maximum(of_unknown, 1))
        probability = np.maximum.accumulate(probability)  # a larger score is never less likely to be right
        weights = np.where(unknown, probability[bins], 0.0).sum(axis=1)
        if not weights.sum():
            weights = np.ones(len(hidden_scores))
    return Weighed(weights, total)


def worth(hidden: Hidden, weighed: Weighed, told: np.ndarray, untold: np.ndarray) -> Worth:
    """What pseudo-labels are worth.

    Args:
        hidden: the photos.
        weighed: of the same photos.
        told: (N,C) pseudo-labels given all that is known, above 0 where a class is said to be there.
        untold: the same where the labeler does not know of the hidden labels.
    """
    unknown = hidden.observed == 0
    shares = weighed.weights / weighed.weights.sum()
    recall = float((shares * (hidden.of_hidden(untold) > 0)).sum())
    assigned = (told > 0) & unknown
    of_class = np.bincount(hidden.column, weights=shares, minlength=told.shape[1])
    chance = float((of_class * assigned.sum(axis=0) / np.maximum(unknown.sum(axis=0), 1)).sum())
    labels = int(assigned.sum())
    right = min(recall * weighed.total, labels)
    f1 = 2 * right / (labels + weighed.total) if labels else 0.0
    return Worth(recall, chance, labels, right / labels if labels else 0.0, f1)
