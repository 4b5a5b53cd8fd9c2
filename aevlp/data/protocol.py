"""The single-positive protocol of the literature (Cole et al., CVPR 2021): which positive is kept, and who validates."""

from __future__ import annotations

import numpy as np


def draw_single_positives(labels: np.ndarray, seed: int = 1200) -> np.ndarray:
    """Keep one positive of each image.

    Byte-equal to the community's generator: a legacy RandomState walks the rows in order and, in each, shuffles the
    positives and then the negatives. Shuffling the negatives selects nothing but moves the random state; leaving it out
    changes about half of the draws.

    Args:
        labels: (N,C) in {0,1}, rows in the order of the formatted arrays. Not modified.
        seed: of the generator; the community uses 1200, for train and for validation separately.

    Returns:
        observed (N,C), same dtype: 1 at the kept positive, 0 elsewhere; an image without a positive keeps none.
    """
    generator = np.random.RandomState(seed)
    observed = np.zeros_like(labels)
    for row, row_labels in enumerate(labels):
        positives = np.flatnonzero(row_labels == 1)
        generator.shuffle(positives)
        if len(positives):
            observed[row, positives[0]] = 1
        generator.shuffle(np.flatnonzero(row_labels != 1))
    return observed


def split_train_val(num_images: int, fraction: float = 0.2, seed: int = 1200) -> tuple[np.ndarray, np.ndarray]:
    """Sorted row numbers of the training and the validation part of the official training set.

    Args:
        num_images: N of the official training set.
        fraction: share that validates, rounded half to even.
        seed: of the permutation.
    """
    order = np.random.RandomState(seed).permutation(num_images)
    num_val = int(np.round(fraction * num_images))
    return np.sort(order[: num_images - num_val]), np.sort(order[num_images - num_val :])
