"""Photos that stand in a table twice, under two names: the same file, or nearly the same picture."""

from __future__ import annotations

import contextlib
import hashlib
from collections import defaultdict
from collections.abc import Hashable, Iterable
from pathlib import Path

from aevlp.input import open_file, require_file

BITS, BANDS = 64, 4
DISTANCE = BANDS - 1  # bits; two hashes so near agree in at least one of the bands, so that only those are compared


def same_files(root: Path, names: list[str]) -> list[list[int]]:
    """Groups of positions in `names` whose files are equal byte for byte."""
    sizes: dict[int, int] = {}
    for i, name in enumerate(names):
        with contextlib.suppress(OSError, ValueError):  # named by the check of all images
            sizes[i] = require_file(root / name).st_size
    contents: dict[int, bytes] = {}
    for group in _groups(sizes.items()):
        for i in group:
            with contextlib.suppress(OSError), open_file(root / names[i]) as file:
                contents[i] = hashlib.file_digest(file, "blake2b").digest()
    return _groups(contents.items())


def alike(hashes: dict[int, int]) -> list[list[int]]:
    """Groups of positions whose perceptual hashes of 64 bits differ in at most `DISTANCE` of them from another's of the group.

    Equal hashes, of which a camera that does not move makes thousands, are compared once.
    """
    width = BITS // BANDS
    above = {number: number for number in hashes.values()}

    def top(number: int) -> int:
        while above[number] != number:
            above[number] = number = above[above[number]]
        return number

    for band in range(BANDS):
        for group in _groups((number, (number >> band * width) % 2**width) for number in list(above)):
            for k, first in enumerate(group):
                for second in group[k + 1 :]:
                    if (first ^ second).bit_count() <= DISTANCE:
                        above[top(first)] = top(second)
    return sorted(_groups((i, top(number)) for i, number in sorted(hashes.items())))


def _groups(items: Iterable[tuple[int, Hashable]]) -> list[list[int]]:
    found: dict[Hashable, list[int]] = defaultdict(list)
    for i, key in items:
        found[key].append(i)
    return [group for group in found.values() if len(group) > 1]
