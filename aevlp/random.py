"""Randomness that depends on (seed, epoch, index) alone, so that workers and resuming change nothing."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

# One number a purpose, so that the flip of an image and the flips of its views are drawn independently.
ORDER, IMAGE_FLIP, VIEW_FLIP, LABEL_ESTIMATES, REVIEW, HIDDEN = range(6)


def generator(purpose: int, *key: int) -> np.random.Generator:
    """A generator that depends on nothing but its arguments."""
    return np.random.default_rng([purpose, *key])


def epoch_order(num_images: int, seed: int, epoch: int) -> np.ndarray:
    """Order in which an epoch visits the training images."""
    return generator(ORDER, seed, epoch).permutation(num_images)


def flips(purpose: int, seed: int, epoch: int, index: Iterable[int], count: int) -> np.ndarray:
    """(len(index), count) bool: `count` independent coins of probability 1/2 for each image."""
    return np.stack([generator(purpose, seed, epoch, int(i)).random(count) < 0.5 for i in index])
