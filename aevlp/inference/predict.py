"""Scores and labels of photos from a trained model, batch by batch, as a file of `aevlp.inference.label_formats`.

image, one column a class with its probability, labels (names of the classes at or above their threshold)
"""

from __future__ import annotations

import contextlib
import csv
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from aevlp.config.errors import ConfigError, DataError
from aevlp.data.column_names import PROBABILITY, TAKEN
from aevlp.data.images import Photos, resize
from aevlp.data.locate import SUFFIXES, is_photo, look_below, walk_order
from aevlp.data.quarantine import most_bad
from aevlp.inference.label_formats import NAMES, Photo, labels_file
from aevlp.inference.trained import DEFAULT_THRESHOLD, Scorer, Trained
from aevlp.metrics.thresholds import sigmoid
from aevlp.output import output_files
from aevlp.text import listed
from aevlp.training.progress import progress_bar

NAMED = 10  # bad images in an error


@dataclass(frozen=True)
class Found:
    """Images to score, and what could not be looked into."""

    images: Photos
    closed: dict[str, str]
    """Folders that cannot be read, and why."""
    links: list[str]
    """Links to folders, which are not followed: they may lead anywhere, and in a circle."""
    others: list[str] = field(default_factory=list)
    """Files in folders that are not named as images are."""


def find_images(paths: Iterable[str]) -> Found:
    """The files named, and all images in the folders named and below, sorted; each once.

    In folders, only names that end as images do count, and none that begin with a dot.

    Raises:
        ConfigError: a path does not exist, or there is no image at all.
        DataError: there is none, but folders that cannot be read.
    """
    names: dict[str, None] = {}
    closed: dict[str, str] = {}
    links: list[str] = []
    others: list[str] = []
    paths = list(paths)
    for path in paths:
        if os.path.isdir(path):
            names |= dict.fromkeys(_below(path, closed, links, others))
        elif os.path.exists(path):
            names[os.path.normpath(path)] = None
        else:
            raise ConfigError(f"{path}: no such file or folder")
    if not names and closed:
        raise DataError(f"{next(iter(closed.values()))}; there is no image beside it")
    if not names:
        raise ConfigError(f"{', '.join(paths)}: holds no image (names ending in {', '.join(sorted(SUFFIXES))})")
    # Relative to the working folder, or absolute, as they were named.
    return Found(
        Photos(Path(), list(names)),
        closed,
        list(dict.fromkeys(links)),
        [name for name in dict.fromkeys(others) if name not in names],
    )


def _below(folder: str, closed: dict[str, str], links: list[str], others: list[str]) -> Iterator[str]:
    listing = look_below(Path(folder))
    links += [os.path.join(folder, name) for name in listing.links]
    others += [os.path.normpath(os.path.join(folder, name)) for name in listing.files if not is_photo(name)]
    for name, why in listing.strange.items():
        if name.endswith("/") or name == ".":
            path = os.path.normpath(os.path.join(folder, name))
            closed[path] = f"{path}: a folder that {why}"
    # What is strange and called a photo is told when it is read, as other photos that cannot be.
    for name in sorted(filter(is_photo, (*listing.files, *listing.strange)), key=walk_order):
        yield os.path.normpath(os.path.join(folder, name))


def predict(
    trained: Trained, found: Found, output: Path | None, form: str, *, threshold: float | None, batch_size: int, threads: int,
    on_bad_image: Literal["error", "quarantine"],
) -> dict[str, str]:  # fmt: skip
    """Write the scores; returns what was wrong with images that were left out, by name.

    Args:
        trained: the model.
        found: what to score. A folder that cannot be read counts as one image that cannot.
        output: the file; None for standard output. Beside it, `<name>.quarantine.csv` lists images that were left out, if any.
        form: its format, one of `label_formats`.
        threshold: probability for all classes; None for those chosen on validation.
        batch_size: images per forward pass.
        threads: that decode images, one batch ahead of the model.
        on_bad_image: what to do about a file that is no whole image: score no more, look at the others, and tell all that are
            bad; or leave it out.

    Raises:
        DataError: an image cannot be read, or more than 1 % (and more than 10) of them; or a class has a name that the format
            cannot hold.
        RunStopped: after a signal; nothing is left behind.
    """
    images, names = found.images, trained.names()
    thresholds = _thresholds(trained, threshold, len(names))
    limit = most_bad(len(images)) if on_bad_image == "quarantine" else 0
    bad, count = dict(found.closed), len(images) + len(found.closed)
    with contextlib.ExitStack() as stack:
        path = left_out = None
        if output is not None:
            put = stack.enter_context(output_files(output.parent, output))
            path, left_out = put(output.name), put(f"{output.name}.quarantine.csv")
        with labels_file(path, form, _columns(names), names) as append:
            scorer = Scorer(trained, len(names))
            with progress_bar("predict", len(images)) as progress:
                done = 0
                for rows, pixels, problems in _batches(images, scorer.image_size, batch_size, threads):
                    bad |= {images.name(row): problem for row, problem in problems.items()}
                    if len(bad) > limit and on_bad_image == "quarantine":
                        break
                    if len(rows) and len(bad) <= limit:
                        probabilities = sigmoid(scorer.logits(pixels).numpy())
                        above = probabilities >= thresholds
                        append(
                            _photo(images.name(row), names, *both) for row, *both in zip(rows, probabilities, above, strict=True)
                        )
                    done += len(rows) + len(problems)
                    progress(done)
            if len(bad) > limit:
                raise DataError(_too_many(bad, on_bad_image, limit, count))
            if len(bad) == count:
                raise DataError(f"{next(iter(bad.values()))}; none of {len(images)} images could be read")
        if left_out is not None and bad:
            with left_out.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
                csv.writer(file, lineterminator="\n").writerows([("image", "problem"), *bad.items()])
        elif left_out is not None:
            left_out.unlink()  # and with it the list of an earlier call, which is no longer true
    return bad


def _columns(class_names: list[str]) -> dict[str, str]:
    titles = [f"{name}{PROBABILITY}" if name.casefold() in TAKEN else name for name in class_names]
    return {"image": "string"} | dict.fromkeys(titles, "float32") | {"labels": NAMES}


def _photo(name: str, class_names: list[str], probabilities: np.ndarray, above: np.ndarray) -> Photo:
    values = probabilities.tolist()
    labels: dict[str, float | None] = {class_names[j]: values[j] for j in np.flatnonzero(above)}
    return Photo(name, os.path.abspath(name), labels, [(name, *values, tuple(labels))])


def _thresholds(trained: Trained, threshold: float | None, num_classes: int) -> np.ndarray:
    if threshold is not None:
        return np.full(num_classes, threshold)
    if trained.thresholds is None:
        raise ConfigError(f"{trained.source}: has no validation scores to choose thresholds by; give --threshold T")
    return np.where(np.isnan(trained.thresholds), DEFAULT_THRESHOLD, trained.thresholds)


def _too_many(bad: dict[str, str], on_bad_image: str, limit: int, count: int) -> str:
    name, *others = bad
    first = bad[name]
    if on_bad_image == "error":
        more = f"; {len(others)} more cannot be read: {listed(others, NAMED)}" if others else ""
        return f"{first}; repair or remove it, or leave such files out with --on-bad-image quarantine{more}"
    return f"{first}; more than {limit} of {count} images cannot be read, so nothing was written"


def _batches(images: Photos, size: int, batch_size: int, threads: int) -> Iterator[tuple[list[int], Tensor, dict[int, str]]]:
    """Rows, pixels (B,3,S,S) uint8, and what is wrong with the other rows; decoded one batch ahead.

    Threads rather than processes: Pillow and torch let go of Python's lock while they decode and resize.
    """

    def read(row: int) -> Tensor | str:
        try:
            return resize(images[row][None], size)[0]
        except DataError as error:
            return str(error)

    pool = ThreadPoolExecutor(threads)
    try:
        ahead = None
        for first in range(0, len(images) + batch_size, batch_size):
            rows = range(first, min(first + batch_size, len(images)))
            now, ahead = ahead, (rows, [pool.submit(read, row) for row in rows])
            if now is not None:
                results = {row: future.result() for row, future in zip(*now, strict=True)}
                good = {row: found for row, found in results.items() if isinstance(found, Tensor)}
                problems = {row: found for row, found in results.items() if isinstance(found, str)}
                yield list(good), torch.stack(list(good.values())) if good else torch.empty(0), problems
    finally:
        pool.shutdown(cancel_futures=True)
