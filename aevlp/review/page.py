"""The page that asks: one HTML file with the photos in it, which needs no network and keeps the answers in the browser."""

from __future__ import annotations

import datetime
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from aevlp import __version__
from aevlp.data.image_cache import uncached
from aevlp.data.images import jpeg, picture_of
from aevlp.output import output_file
from aevlp.reporting.html import html_page, jpeg_uri
from aevlp.review.questions import Questions
from aevlp.training.progress import progress_bar

MAX_BYTES = 24_000_000  # of the page; a phone opens 25 MB in a second or two
SIDES = (1024, 800, 640, 512, 400, 320, 256, 200, 160, 128)  # pixels a photo may be wide or high
MOST, LEAST = 150_000, 1_500  # bytes of a photo that there is room for, and below which nothing can be seen
QUALITY = 80


@dataclass(frozen=True)
class Written:
    """What a page holds."""

    size: int
    """Bytes."""
    photos: int
    """Number of different photos."""
    side: int
    """Pixels of the longer side of the largest."""


def write_review(asked: Questions, source: str, take_in: str, target: Path) -> Written:
    """Write the page to `target`, complete or not at all.

    Photos stand in it once each, scaled down until all of them have room: with 200 questions at most 1024 pixels, with 5,000
    about 200.

    Args:
        asked: what to ask.
        source: the run's name; it is written beside each answer.
        take_in: the command that makes use of answers.csv.
        target: the file.
    """
    with output_file(target) as aside:
        photos, place = np.unique(asked.rows, return_inverse=True)
        room = min(MOST, max(LEAST, (MAX_BYTES - 80 * len(asked.rows)) * 3 // 4 // max(1, len(photos))))
        shown = []
        with progress_bar("photos", len(photos)) as progress:
            for number, row in enumerate(photos.tolist(), start=1):
                shown.append(_photo(asked, row, room))
                progress(number)
        content = html_page(
            _data(asked, shown, place, source, take_in), "review", ("dom", "theme", "review"), ("report", "review")
        )
        aside.write_text(content, encoding="utf-8")
    return Written(len(content), len(photos), max((max(one["width"], one["height"]) for one in shown), default=0))


def _data(asked: Questions, photos: list[dict[str, Any]], place: np.ndarray, source: str, take_in: str) -> dict[str, Any]:
    model, labeler = asked.beliefs.model, asked.beliefs.labeler
    listed = [
        [photo, j, _rounded(model[row, j]), None if labeler is None else _rounded(labeler[row, j]), tile if tile >= 0 else None]
        for photo, row, j, tile in zip(
            place.tolist(), asked.rows.tolist(), asked.columns.tolist(), asked.tiles.tolist(), strict=True
        )
    ]
    names = [asked.class_names, [one["name"] for one in photos], [one[:2] for one in listed]]
    return {
        "version": __version__,
        "created": datetime.datetime.now().astimezone().isoformat(timespec="minutes"),
        "key": f"aevlp-review-{hashlib.blake2b(repr([source, *names]).encode(), digest_size=12).hexdigest()}",
        "source": source,
        "split": asked.becomes,
        "command": take_in,
        "classes": asked.class_names,
        "grid": asked.grid,
        "photos": photos,
        "questions": listed,
    }


def _rounded(probability: float) -> float:
    return round(float(probability), 3)


def _photo(asked: Questions, row: int, room: int) -> dict[str, Any]:
    content, (width, height) = _jpeg(uncached(asked.split.images)[row], room)
    observed = asked.split.observed[row]
    return {
        "name": asked.split.images.name(row), "width": width, "height": height, "known": np.flatnonzero(observed > 0).tolist(),
        "uri": jpeg_uri(content),
    }  # fmt: skip


def _jpeg(image: Tensor, room: int) -> tuple[bytes, tuple[int, int]]:
    """The largest of SIDES whose file fits; the smallest where none does."""
    picture = picture_of(image)
    for side in SIDES:
        if side * side > 40 * room and side != SIDES[-1]:  # no photo has files as small as that
            continue
        picture.thumbnail((side, side))  # shrinks only, and from what is left of the last
        content = jpeg(picture, QUALITY)
        if len(content) <= room:
            break
    return content, picture.size
