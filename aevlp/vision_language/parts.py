"""The views of images by the parts in which they are cached, and what is there of each."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from aevlp.vision_language.claims import Claims
from aevlp.vision_language.embedding_cache import CachedRows

LOOK_SECONDS = 5.0  # between two looks at how much is there: of a million images 8 MB a part


@dataclass
class Part:
    """One part of the views of all images: a range of the views of `cut_views`, mirrored or not."""

    views: slice
    mirrored: bool
    cached: CachedRows | None

    def close(self) -> None:
        """Close the files."""
        if self.cached is not None:
            self.cached.close()


@dataclass
class PartRows:
    """Consecutive images, and what is cached of each part of their views."""

    rows: range
    values: list[np.ndarray | None]
    found: list[np.ndarray]

    def missing(self, row: int) -> list[int]:
        """Parts of an image's views that are to be encoded."""
        return [i for i, found in enumerate(self.found) if not found[row - self.rows.start]]

    @property
    def incomplete(self) -> list[int]:
        """Images of which anything is to be encoded."""
        return [self.rows[i] for i in np.flatnonzero(~np.logical_and.reduce(self.found))]


def read_rows(rows: range, parts: list[Part]) -> PartRows:
    """What is cached of consecutive images."""
    known = [part.cached.read(rows) if part.cached else (None, np.zeros(len(rows), dtype=bool)) for part in parts]
    return PartRows(rows, [values for values, _ in known], [found for _, found in known])


def count_complete(parts: list[Part]) -> Iterator[int]:
    """How many images are there with all parts, whoever encoded them; looked at now and then as it is asked for."""
    count, looked = 0, -LOOK_SECONDS
    while True:
        if time.monotonic() - looked >= LOOK_SECONDS:
            there = [part.cached.there() for part in parts if part.cached]
            count = int(np.logical_and.reduce(there).sum()) if there else 0
            looked = time.monotonic()
        yield count


def take(chunks: Iterable[range], parts: list[Part], claims: Claims, others: list[range]) -> Iterator[PartRows]:
    """Chunks that are complete, or that nobody else encodes; those that another process does go to `others`."""
    for rows in chunks:
        known = read_rows(rows, parts)
        if known.incomplete:
            if not claims.take(rows.start):
                others.append(rows)
                continue
            known = read_rows(rows, parts)  # whoever had it before may have finished it since
            if not known.incomplete:
                claims.release(rows.start)
        yield known
