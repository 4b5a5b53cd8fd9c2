"""Images that cannot be read: found by `prepare`, listed in quarantine.json, and left out only where the user says so."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import numpy as np
from torch import Tensor

from aevlp.config.errors import DataError
from aevlp.data.images import ImageFiles
from aevlp.input import read_text

FILE_NAME = "quarantine.json"
TINY = 16  # pixels: an icon or what a server sent instead; it trains like any other, and shows nothing
MOST_BAD = 10  # images that may be left out however few there are; beyond, and beyond the share, something else is wrong
PART = 10_000  # images that wait for a thread at a time: each takes 2 kB
REMEDY = "replace them and prepare again, or leave them out with dataset.on_bad_image=quarantine"


def check_images(
    images: ImageFiles, threads: int, progress: Callable[[int], None], look: Callable[[int, Tensor], None] | None = None
) -> tuple[dict[str, str], list[str]]:
    """Decode every image; what is wrong, by name, and names of images with a side of less than `TINY` pixels.

    `progress` is called with the number of images done, and may raise; `look` with the row and the pixels of each image.
    """

    def look_at(row: int) -> tuple[str | None, bool]:
        try:
            pixels = images[row]
        except DataError as error:
            return str(error), False
        if look is not None:
            look(row, pixels)
        return None, min(pixels.shape[1:]) < TINY

    bad, tiny = {}, []
    # Threads, because Pillow lets go of Python's lock while it decodes.
    with ThreadPoolExecutor(threads) as pool:
        try:
            for first in range(0, len(images), PART):
                rows = range(first, min(first + PART, len(images)))
                for row, (problem, is_tiny) in zip(rows, pool.map(look_at, rows), strict=True):
                    if problem is not None:
                        bad[images.name(row)] = problem
                    if is_tiny:
                        tiny.append(images.name(row))
                    progress(row + 1)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return bad, tiny


def most_bad(count: int, share: float = 0.01) -> int:
    """How many of `count` images may be left out: a share of them or `MOST_BAD`, whichever is more; none where it is 0."""
    return max(MOST_BAD, int(share * count)) if share else 0


def read_quarantine(folder: Path) -> dict[str, str]:
    """The list that `prepare` left in the folder of the arrays: what is wrong, by image name."""
    path = folder / FILE_NAME
    if not os.path.lexists(path):
        return {}
    try:
        bad = json.loads(read_text(path))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read: {error}; prepare the dataset again") from error
    if not isinstance(bad, dict) or not all(isinstance(reason, str) for reason in bad.values()):
        raise DataError(f"{path}: must map image names to what is wrong with them; prepare the dataset again")
    return bad


def without_bad_images(
    images: ImageFiles, rows: np.ndarray, bad: dict[str, str], split: str, policy: Literal["error", "quarantine"], limit: float
) -> tuple[np.ndarray, list[str]]:
    """The rows whose images can be used, and a note where some cannot.

    Draws and the division into training and validation are made before, on all rows, so that the others keep theirs. What is
    listed as bad is tried again: it may have been repaired.

    Raises:
        DataError: an image is absent or cannot be read and the policy is "error", or all are so, or more than `most_bad` allows.
    """
    problems = {
        row: images.problem(row) if images.name(row) in bad else images.absence(row) for row in rows.tolist()
    }  # fmt: skip
    found = {row: problem for row, problem in problems.items() if problem}
    if not found:
        return rows, []
    first, count = next(iter(found.values())), f"{len(found)} of {len(rows)} {split} images"
    if policy == "error":
        raise DataError(f"{first}; {count} are absent or cannot be read: {REMEDY} (dataset.root, dataset.images)")
    most = most_bad(len(rows), limit)
    if len(found) > most:
        raise DataError(
            f"{first}; {count} are absent or cannot be read, more than the {most} that dataset.max_quarantined={limit:g} allows"
        )
    if len(found) == len(rows):
        raise DataError(f"{first}; {count} are absent or cannot be read, and nothing is left")
    kept = np.array([row for row in rows.tolist() if row not in found], dtype=rows.dtype)
    warning = ", so its figures are not those of the whole split" if split == "test" else ""
    return kept, [f"{count} are left out because they cannot be read{warning}, the first: {first}"]
