r"""A table whose names of photos are those that the files have.

A table that was written on another system may say `a\1.JPG` of `a/1.jpg`. Where one photo is meant, and its name differs in
nothing but case, Unicode form, the direction of slashes or a missing suffix, it is taken, and told, unless another row has that
very name: then the photo of the first is absent. Of other names it is only told which photo they may mean.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from aevlp.config.errors import DataError
from aevlp.data.images import Photos
from aevlp.data.locate import CASE, NO_SUFFIX, SLASHES, SUFFIX, UNICODE, Meant, PhotoIndex
from aevlp.data.shared import SharedArray
from aevlp.data.table import Row, Table, one_a_photo, reimport_command
from aevlp.text import are, counted, listed

SAME = (CASE, UNICODE, SLASHES, NO_SUFFIX)
SHOWN = 3


class TablePhotos(Photos):
    """Photos that a table names in some of its lines: of one that is absent it is told which other may be meant."""

    _index: PhotoIndex | None = None

    def __init__(self, root: Path, names: Sequence[str], table: Path, lines: np.ndarray, known: SharedArray | None = None):
        """`known` are `all_names` of the table, of any split."""
        super().__init__(root, names, lines)
        self.table, self.known = table, known

    def _place(self, row: int) -> str:
        return f"{self.table}:{self.rows[row]}"

    def _problem(self, row: int, error: Exception) -> str:
        problem = super()._problem(row, error)
        if not isinstance(error, FileNotFoundError | NotADirectoryError):
            return problem
        if self._index is None:
            self._index = PhotoIndex(self.root)
        meant = self._index.find(self.name(row))
        if not meant.photos:  # as of HEIC that was saved as JPEG
            meant = Meant(self._index.find(os.path.splitext(self.name(row))[0]).photos, SUFFIX)
        if all(map(self._is_named, meant.photos)):  # none, or the photo of another row
            return problem
        if len(meant.photos) == 1:
            return f"{problem}; {meant.photos[0]} is meant (the name has {meant.differs})"
        return f"{problem}; it may mean {listed(meant.photos, SHOWN, between=' or ')}"

    def _is_named(self, name: str) -> bool:
        if self.known is None:
            return False
        known, own = self.known.array, np.uint64(_number(name))
        place = int(np.searchsorted(known, own))
        return place < len(known) and bool(known[place] == own)


def all_names(rows: Sequence[Row]) -> SharedArray:
    """The names of the photos of a table as sorted hashes, 8 bytes each, in memory that worker processes share."""
    return SharedArray(np.sort(np.fromiter((_number(row.image) for row in rows), np.uint64, len(rows))))


def _number(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest())


def as_called(table: Table, path: Path, photos: Path) -> Table:
    """The table at `path` with the names of the files below `photos`, and notes of those that it has otherwise.

    Raises:
        DataError: two rows mean the same photo, and contradict each other; no photo is called as the table says, and others
            may be meant.
    """
    below = os.fspath(photos)
    absent = [row for row in table.rows if not os.path.lexists(os.path.join(below, row.image))]
    if not absent:
        return table
    index = PhotoIndex(photos)
    meant, named = {row.image: index.find(row.image) for row in absent}, {row.image for row in table.rows}
    meant = {name: one for name, one in meant.items() if named.isdisjoint(one.photos)}
    names = {name: one.photos[0] for name, one in meant.items() if _is_same(name, one)}
    likely = _likely(absent, meant, names)
    if likely and len(absent) == len(table.rows) and not names:  # a run could read none, and one cause is behind all
        said = f"of the {counted(len(absent), 'photo')} that it names none is there"
        raise DataError(f"{path}: {said}: {_remedied(likely, path, photos)}")
    notes = [*table.notes, *_notes(absent, meant, names, path, photos, likely)]
    if not names:
        return Table(table.rows, notes)
    rows, merged = one_a_photo(path, [replace(row, image=names.get(row.image, row.image)) for row in table.rows])
    return Table(rows, notes + merged)


def _is_same(name: str, meant: Meant) -> bool:
    folders = posixpath.normpath(name.replace("\\", "/")).count("/")
    return len(meant.photos) == 1 and meant.differs in SAME and meant.photos[0].count("/") == folders


def _notes(
    absent: list[Row], meant: dict[str, Meant], names: dict[str, str], path: Path, photos: Path, likely: list[str]
) -> Iterator[str]:
    taken = [
        f"line {row.line}, {row.image} is {names[row.image]} ({meant[row.image].differs})" for row in absent if row.image in names
    ]
    if taken:
        named = listed(taken, SHOWN, between="; ")
        yield f"{counted(len(taken), 'photo')} {are(len(taken))} called otherwise than the table says: {named}"
    if likely:
        yield f"{counted(len(likely), 'name')} {are(len(likely))} of no photo there: {_remedied(likely, path, photos)}"


def _likely(absent: list[Row], meant: dict[str, Meant], names: dict[str, str]) -> list[str]:
    """Which photo each name may mean that is not taken for one."""
    return [
        f"line {row.line}, {row.image} may be {meant[row.image].photos[0]} ({meant[row.image].differs})"
        for row in absent if row.image in meant and row.image not in names and len(meant[row.image].photos) == 1
    ]  # fmt: skip


def _remedied(likely: list[str], path: Path, photos: Path) -> str:
    """The first of them, and what writes a table that names these photos."""
    command = reimport_command(path, photos)
    return listed(likely, SHOWN, between="; ") + (f"; to take these: {command}" if command else "")
