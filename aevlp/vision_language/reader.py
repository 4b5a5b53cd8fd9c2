"""Embeddings of any rows from a cache that stays open, for whoever holds no table of all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from aevlp.vision_language.embedding_cache import Notify
from aevlp.vision_language.parts import Part, PartRows, count_complete, read_rows


class Reader:
    """Reads with pread, so a file that is cut short or removed meanwhile costs its rows, which are encoded again."""

    def __init__(self, parts: list[Part], encode: Callable[[PartRows, list[Part]], Tensor], notify: Notify):
        """`encode` completes consecutive images and gives their embeddings."""
        self.parts, self.encode, self.notify = parts, encode, notify

    def count(self) -> int:
        """Images that are there with all parts; their checksums are not looked at."""
        return next(count_complete(self.parts))

    def read(self, index: Sequence[int]) -> Tensor:
        """Embeddings (B, 1 + flip, 1 + grid * grid, D) float16 of these rows, in this order."""
        return torch.cat([self._read(rows) for rows in _ranges(index)])

    def close(self) -> None:
        """Close the files."""
        for part in self.parts:
            part.close()

    def _read(self, rows: range) -> Tensor:
        known = read_rows(rows, self.parts)
        if known.incomplete:
            self.notify("embedding cache: rows that were there are no longer; they are encoded again")
        return self.encode(known, self.parts)


def _ranges(index: Sequence[int]) -> list[range]:
    """Rows as ranges of neighbours, in their order."""
    rows = np.asarray(index, dtype=np.int64)
    edges = np.flatnonzero(np.diff(rows) != 1) + 1
    return [range(int(part[0]), int(part[-1]) + 1) for part in np.split(rows, edges) if len(part)]
