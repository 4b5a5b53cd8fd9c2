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


def alike(hashes: dict[int, int]) -> list[tuple[int, int]]:
    """Pairs of positions whose perceptual hashes of 64 bits differ in at most `DISTANCE` of them."""
    width = BITS // BANDS
    pairs = set()
    for band in range(BANDS):
        for group in _groups((i, (number >> band * width) % 2**width) for i, number in hashes.items()):
            for k, first in enumerate(group):
                for second in group[k + 1 :]:
                    if (hashes[first] ^ hashes[second]).bit_count() <= DISTANCE:
                        pairs.add((min(first, second), max(first, second)))
    return sorted(pairs)


def _groups(items: Iterable[tuple[int, Hashable]]) -> list[list[int]]:
    found: dict[Hashable, list[int]] = defaultdict(list)
    for i, key in items:
        found[key].append(i)
    return [group for group in found.values() if len(group) > 1]
