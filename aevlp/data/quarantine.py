"""Images that cannot be read: found by `prepare`, listed in quarantine.json, and left out only where the user says so."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import numpy as np

from aevlp.config.errors import DataError
from aevlp.data.images import ImageFiles

FILE_NAME = "quarantine.json"
REMEDY = "replace them and prepare again, or leave them out with dataset.on_bad_image=quarantine"


def check_images(images: ImageFiles, threads: int, progress: Callable[[int], None]) -> dict[str, str]:
    """Decode every image; what is wrong, by name. `progress` is called with the number of images done, and may raise."""

    def problem(row: int) -> str | None:
        try:
            images[row]
        except DataError as error:
            return str(error)
        return None

    bad = {}
    # Threads, because Pillow lets go of Python's lock while it decodes.
    with ThreadPoolExecutor(threads) as pool:
        try:
            for row, found in enumerate(pool.map(problem, range(len(images)))):
                if found is not None:
                    bad[images.name(row)] = found
                progress(row + 1)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return bad


def read_quarantine(folder: Path) -> dict[str, str]:
    """The list that `prepare` left in the folder of the arrays: what is wrong, by image name."""
    path = folder / FILE_NAME
    if not path.is_file():
        return {}
    try:
        bad = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read: {error}; prepare the dataset again") from error
    if not isinstance(bad, dict) or not all(isinstance(reason, str) for reason in bad.values()):
        raise DataError(f"{path}: must map image names to what is wrong with them; prepare the dataset again")
    return bad


def without_bad_images(
    images: ImageFiles, rows: np.ndarray, bad: dict[str, str], split: str, policy: Literal["error", "quarantine"], limit: float
) -> tuple[np.ndarray, list[str]]:
    """The rows whose images can be used, and a note where some cannot.

    Draws and the division into training and validation are made before, on all rows, so that the others keep theirs.

    Raises:
        DataError: an image is absent or quarantined and the policy is "error", or more than the share `limit` of them are.
    """
    problems = {row: bad.get(images.name(row)) or images.absence(row) for row in rows.tolist()}
    found = {row: problem for row, problem in problems.items() if problem}
    if not found:
        return rows, []
    first, count = next(iter(found.values())), f"{len(found)} of {len(rows)} {split} images"
    if policy == "error":
        raise DataError(f"{first}; {count} are absent or cannot be read: {REMEDY} (dataset.root, dataset.images)")
    if len(found) > limit * len(rows):
        raise DataError(f"{first}; {count} are absent or cannot be read, more than dataset.max_quarantined={limit:g} allows")
    kept = np.array([row for row in rows.tolist() if row not in found], dtype=rows.dtype)
    warning = ", so its figures are not those of the whole split" if split == "test" else ""
    return kept, [f"{count} are left out because they cannot be read{warning}, the first: {first}"]
