"""Which unknown labels to ask for first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from aevlp.random import REVIEW, generator

Order = Literal["value", "confident", "random"]


@dataclass(frozen=True)
class Beliefs:
    """What is known of the labels of N photos, and what is believed of the others."""

    observed: np.ndarray
    """(N,C) in {-1,0,1}; 0 can be asked for."""
    model: np.ndarray
    """(N,C) float32, probability by the trained model."""
    labeler: np.ndarray | None
    """(N,C) float32, score in [0,1] by the labeler; None where there is none."""
    pseudo: np.ndarray | None = None
    """(N,C) in {-1,0,1}: what the labeler makes training take a label for."""

    @property
    def together(self) -> np.ndarray:
        """(N,C): the mean of both."""
        return self.model if self.labeler is None else (self.model + self.labeler) / 2


def ask(beliefs: Beliefs, order: Order, count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns, int64 (K,), of the unknown labels to ask for, the first first; K is `count`, or as many as there are.

    random: each as likely as any other.
    confident: the most probable first, by the mean of model and labeler. For a label that is taken for absent this is the order
    of cleanlab's self-confidence (Northcutt et al., JAIR 2021), which ranks given labels by how little a model believes them.
    value: by how likely it is, by that mean, that training takes the label for what it is not: a pseudo-positive that is absent,
    any other that is there. Times what a class needs and a photo still tells: 1 / sqrt(1 + known positives of the class), halved
    for each question about the photo that comes before, and divided by sqrt(1 + questions about the class that come before).
    """
    unknown = beliefs.observed == 0
    if order == "random":
        worth = generator(REVIEW, seed).random(unknown.shape)
    elif order == "confident":
        worth = beliefs.together
    else:
        worth = _value(beliefs, unknown)
    rows, columns = np.nonzero(unknown)
    first = np.argsort(-worth[rows, columns], kind="stable")[:count]
    return rows[first], columns[first]


def complete(beliefs: Beliefs, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of all unknown labels of these rows, photo by photo, the most probable of each first."""
    order = np.argsort(-beliefs.together[rows], axis=1, kind="stable")
    place, rank = np.nonzero(np.take_along_axis(beliefs.observed[rows] == 0, order, axis=1))
    return rows[place], order[place, rank]


def draw_photos(rows: np.ndarray, count: int, seed: int = 0) -> np.ndarray:
    """`count` of these rows, each as likely as any other, ascending."""
    return np.sort(generator(REVIEW, seed).permutation(rows)[:count])


def _value(beliefs: Beliefs, unknown: np.ndarray) -> np.ndarray:
    there = beliefs.together.astype(np.float64)
    worth = there if beliefs.pseudo is None else np.where(beliefs.pseudo > 0, 1 - there, there)
    worth = np.where(unknown, worth / np.sqrt(1 + (beliefs.observed > 0).sum(axis=0)), 0)
    by_photo, by_class = _places(worth, axis=1), _places(worth, axis=0)
    return worth * 0.5**by_photo / np.sqrt(1 + by_class)


def _places(worth: np.ndarray, axis: int) -> np.ndarray:
    """How many along the axis are worth more than each."""
    order = np.argsort(-worth, axis=axis, kind="stable")
    return np.argsort(order, axis=axis, kind="stable")
