"""The protocols: the single positive of the literature (Cole et al., CVPR 2021), others on request, and who validates."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from aevlp.config.schema import Draw, Known, KnownLabels

ROWS = 65_536
"""Images drawn at a time, so that the numbers of 1.7 million of them in 300 classes need not be held at once."""


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


def draw_known(
    labels: np.ndarray, names: Sequence[str], class_names: Sequence[str], known: Known, draw: Draw = "uniform", seed: int = 1200
) -> np.ndarray:
    """What `dataset.known` and `dataset.draw` make known of full labels, -1 for what is known to be absent.

    Every entry has a number u in (0,1) that hangs on the seed and the names of its image and its class alone: other images, other
    classes and their order change nothing but n below, and what a smaller share or number knows, a larger one knows as well.

        share: S        entries with u < S
        positives: P    of each image, the P positives with the smallest -ln(u) / w, which draws them one after the other without
                        putting back, each with a probability in proportion to w: 1 (uniform), n (frequent) or 1 / n (rare), where
                        n is the number of images in `labels` that have the class
        negatives: N    of each image, the N negatives with the smallest -ln(u)

    Args:
        labels: (N,C) in {0,1}. Not modified.
        names: of the images, N.
        class_names: C.
        known: the share or the numbers.
        draw: uniform, frequent or rare.
        seed: of the numbers; not the run's.

    Returns:
        observed (N,C) int8 in {-1,0,1}.
    """
    counts = np.maximum(np.asarray(labels == 1).sum(axis=0), 1)
    weights = {"uniform": np.ones(len(counts)), "frequent": counts, "rare": 1 / counts}[draw]
    classes = _hashes(class_names, seed)
    observed = np.zeros(labels.shape, dtype=np.int8)
    for first in range(0, len(labels), ROWS):
        rows = slice(first, first + ROWS)
        numbers, positive = _numbers(_hashes(names[rows], seed), classes), labels[rows] == 1
        if known.share is not None:
            observed[rows] = np.where(numbers < known.share, np.where(positive, 1, -1), 0)
        else:
            waits = -np.log(numbers)
            there = _smallest(np.where(positive, waits / weights, np.inf), known.positives)
            absent = _smallest(np.where(positive, np.inf, waits), known.negatives)
            observed[rows] = there.astype(np.int8) - absent
    return observed


def observe(
    labels: np.ndarray, names: Sequence[str], class_names: Sequence[str], known: KnownLabels = "single", draw: Draw = "uniform"
) -> np.ndarray:
    """What is known of full labels (N,C) in {0,1} by `dataset.known` and `dataset.draw`, (N,C) int8 in {-1,0,1}.

    With `given` that is all of them; with `single` and `uniform` it is the published draw, else that of `draw_known`.
    """
    if known == "given":
        return np.where(labels == 1, 1, -1).astype(np.int8)
    if known == "single" and draw == "uniform":
        return draw_single_positives(labels).astype(np.int8)
    numbers = Known(positives=1) if isinstance(known, str) else known
    return draw_known(labels, names, class_names, numbers, draw)


def _smallest(keys: np.ndarray, count: int | str | None) -> np.ndarray:
    """The `count` smallest finite keys of each row, or all, (N,C) bool."""
    finite = np.isfinite(keys)
    if count == "all":
        return finite
    rank = keys.argsort(axis=1, kind="stable").argsort(axis=1, kind="stable")
    return finite & (rank < int(count or 0))


def _hashes(names: Sequence[str], seed: int) -> np.ndarray:
    """A number for each name, uint64; names of files may hold halves of surrogates."""
    salt = str(seed).encode()
    digests = [hashlib.blake2b(str(name).encode(errors="surrogatepass"), digest_size=8, salt=salt).digest() for name in names]
    return np.frombuffer(b"".join(digests), dtype="<u8")


def _numbers(images: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """(N,C) float64 in (0,1), evenly spread: the sums of two hashes, mixed as splitmix64 does, to 52 bits."""
    mixed = images[:, None] + classes[None]  # wraps around, as it should
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    mixed ^= mixed >> np.uint64(31)
    return ((mixed >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52


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
