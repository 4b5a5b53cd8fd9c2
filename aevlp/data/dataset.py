"""What a dataset hands to the rest: images by row, observed labels, and true labels that only meters may read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from torch import Tensor

from aevlp.config.errors import DataError
from aevlp.config.schema import Draw, KnownLabels
from aevlp.data.protocol import observe
from aevlp.text import are, counted

IDENTITY_THREADS = 8
"""Threads that read files for their identity."""


class ImageSource(Protocol):
    """Images by row number.

    A source may also have `identity(row) -> bytes | None`, 16 bytes that change whenever the image does and are the same
    wherever the image lies; the embeddings of images without it are not cached. Several threads ask for it at once.
    And `in_memory`, true where nothing is read or decoded to give an image.
    """

    def __len__(self) -> int:
        """Number of images."""
        ...

    def __getitem__(self, row: int) -> Tensor:
        """uint8 (3,H,W) at original resolution. Raises DataError naming the image where it cannot be read."""
        ...

    def name(self, row: int) -> str:
        """Name of the image for people: a file name, or a row."""
        ...


def identity(images: ImageSource, row: int) -> bytes | None:
    """What tells an image from all others and from its own past, 16 bytes; None where its source does not say."""
    method = getattr(images, "identity", None)
    return method(row) if method else None


def identities(images: ImageSource, progress: Callable[[], object] = lambda: None) -> list[bytes | None]:
    """The identity of every image; `progress` is called now and then, and what it raises ends the work.

    Files are read whole: .2 ms of processor time a photo of 120 kB, where decoding takes 3 ms. By threads, because a disk
    answers many of them in the time of one.
    """
    parts = [range(first, min(first + 64, len(images))) for first in range(0, len(images), 64)]
    found: list[bytes | None] = []
    with ThreadPoolExecutor(IDENTITY_THREADS) as pool:
        try:
            for part in pool.map(lambda rows: [identity(images, row) for row in rows], parts):
                found += part
                progress()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return found


@dataclass(frozen=True)
class Split:
    """One part of a dataset. Labels are (N,C)."""

    images: ImageSource
    """N images by row."""
    observed: np.ndarray
    """Labels that training may see, int8: 1 known to be there, -1 known to be absent, 0 unknown."""
    targets: np.ndarray | None
    """Full labels, uint8 in {0,1}, which only meters read; None where they are not known."""
    left_out: frozenset[str] = frozenset()
    """Names of further images, which cannot be read and are left out (`dataset.on_bad_image`)."""

    def __len__(self) -> int:
        """Number of images."""
        return len(self.images)


def blind(split: Split) -> Split:
    """The split without its full labels, for whatever takes part in training."""
    return replace(split, targets=None)


@dataclass(frozen=True)
class SPMLData:
    """Train, validation and test."""

    class_names: list[str]
    """C names, in the order of the columns of labels."""
    prompt_names: list[str]
    """The same as the text encoder should read them."""
    train: Split
    """What is learnt from."""
    val: Split
    """What chooses the epoch."""
    test: Split | None
    """What is measured at the end; None where nothing is."""
    notes: list[str] = field(default_factory=list)
    """What a user should be told about these data."""


def make_split(
    images: ImageSource, targets: np.ndarray, train_labels: str = "single", *, class_names: Sequence[str] | None = None,
    known: KnownLabels = "single", draw: Draw = "uniform",
) -> Split:  # fmt: skip
    """A split whose observed labels are drawn from the full ones, or equal them (`train_labels: full`).

    Args:
        images: N of them.
        targets: (N,C) in {0,1}.
        train_labels: of the training split, `dataset.train_labels`.
        class_names: C, which what is drawn hangs on; None takes the numbers of the columns.
        known: `dataset.known`.
        draw: `dataset.draw`.
    """
    if train_labels == "full":
        return Split(images, targets.astype(np.int8), targets)
    names = [images.name(row) for row in range(len(images))]
    columns = [str(column) for column in range(targets.shape[1])]
    return Split(images, observe(targets, names, class_names or columns, known, draw), targets)


def known_notes(train: Split) -> list[str]:
    """How much is known of the training images, for people; nothing where it is one positive an image at most, as ever."""
    there, absent = train.observed > 0, train.observed < 0
    if not absent.any() and there.sum(axis=1).max(initial=0) <= 1:
        return []
    none = int((~there & ~absent).all(axis=1).sum())
    return [
        f"known of the {counted(len(train), 'training image', ',')}: {counted(there.sum(), 'label', ',')} that "
        f"{are(there.sum())} there, {absent.sum():,} that {are(absent.sum())} absent; "
        f"nothing of {counted(none, 'image', ',')}"
    ]


def check_labels(labels: np.ndarray, num_images: int, class_names: list[str], where: str) -> np.ndarray:
    """Labels as uint8 (N,C); DataError unless they are 0 or 1 and fit the images and the class list."""
    return _checked(labels, num_images, class_names, where, (0, 1)).astype(np.uint8)


def check_observed(observed: np.ndarray, num_images: int, class_names: list[str], where: str) -> np.ndarray:
    """Observed labels as int8 (N,C); DataError unless they are -1, 0 or 1 and fit the images and the class list."""
    return _checked(observed, num_images, class_names, where, (-1, 0, 1)).astype(np.int8)


def _checked(labels: np.ndarray, num_images: int, class_names: list[str], where: str, values: tuple[int, ...]) -> np.ndarray:
    if labels.ndim != 2 or labels.dtype.kind not in "biuf":
        raise DataError(f"{where}: must be a numeric matrix (images, classes), is {labels.dtype} of shape {labels.shape}")
    if len(labels) != num_images:
        raise DataError(f"{where}: has {counted(len(labels), 'row')} for {counted(num_images, 'image')}")
    if labels.shape[1] != len(class_names):
        raise DataError(f"{where}: has {counted(labels.shape[1], 'column')}, but the class list names {len(class_names)} classes")
    wrong = np.ones(labels.shape, dtype=bool)
    for value in values:
        wrong &= labels != value
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        allowed = ", ".join(map(str, values[:-1])) + f" or {values[-1]}"
        raise DataError(f"{where}: row {row}, column {column} holds {labels[row, column]}; labels must be {allowed}")
    return labels
