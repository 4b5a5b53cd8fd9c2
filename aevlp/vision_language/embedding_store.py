"""One store of the embedding cache: a row of embeddings for each image of a list of images, on disk.

    meta.json       what was encoded, and how; number of images, shape and type of a row
    identities    (N,16) uint8: which image each row is of
    rows            (N,V,D) float16, or float32 for texts; of its full size from the start, so sparse until it is filled
    marks           (N,) uint64: 0 where a row is missing, else 2**32 plus the CRC-32 of the row

A row is written at its own place, then its mark. Any number of processes may fill a store at once, without locks: what two
of them write is equal, or differs by rounding between two machines. The checksum is looked at whenever a row is read, so
everything that can go wrong leaves no more than a missing row: a kill between row and mark (no mark), a power cut that kept
the mark and lost the row, two rows written into each other, a bad disk. Nothing has to be synced, therefore.
Rows are read with pread: a file cut short under a memory map would end the process with SIGBUS.
"""

from __future__ import annotations

import errno
import json
import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aevlp import files
from aevlp.config.errors import DataError

VERSION = 1
"""Raised with any change of the layout, of the views or of how they are encoded: older stores are then encoded anew."""
_MARKED = 1 << 32


class UnusableStoreError(Exception):
    """A store of another version, cut short or unreadable; the text goes on from its name."""


class Store:
    """An open store. Reading and writing raise OSError where the disk does."""

    def __init__(self, folder: Path):
        """Open the store in `folder`.

        Raises:
            FileNotFoundError: there is none.
            UnusableStoreError: it has to be encoded anew.
            OSError: the folder cannot be read.
        """
        self.folder = folder
        text = (folder / "meta.json").read_bytes()
        try:
            self.meta: dict[str, Any] = json.loads(text)
            if self.meta["version"] != VERSION:
                raise UnusableStoreError("was written by another version of aevlp")
            self.count = int(self.meta["images"])
            self.dtype, self.shape = np.dtype(self.meta["dtype"]), (int(self.meta["views"]), int(self.meta["width"]))
        except (ValueError, KeyError, TypeError) as error:
            raise UnusableStoreError(f"has a damaged meta.json ({error})") from error
        self.row_bytes = self.shape[0] * self.shape[1] * self.dtype.itemsize
        for name, size in (("identities", 16 * self.count), ("rows", self.row_bytes * self.count), ("marks", 8 * self.count)):
            found = (folder / name).stat().st_size if (folder / name).exists() else 0
            if found != size:
                raise UnusableStoreError(f"is damaged: {name} has {found} bytes, must have {size}")
        if zlib.crc32((folder / "identities").read_bytes()) != self.meta.get("identities"):
            raise UnusableStoreError("is damaged: identities are not those it was made with")
        self._rows = _open(folder / "rows")
        self._marks = _open(folder / "marks")

    @classmethod
    def create(cls, folder: Path, meta: dict[str, Any], identities: np.ndarray, width: int) -> Store:
        """Make an empty store, complete or not at all, and open it; where another process was faster, open that one's."""
        meta = meta | {"version": VERSION, "images": len(identities), "width": width}
        meta["identities"] = zlib.crc32(identities.tobytes())
        row_bytes = meta["views"] * width * np.dtype(meta["dtype"]).itemsize
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            with files.replacing(folder) as aside:
                aside.mkdir()
                (aside / "identities").write_bytes(identities.tobytes())
                for name, size in (("rows", row_bytes * len(identities)), ("marks", 8 * len(identities))):
                    with (aside / name).open("wb") as file:
                        file.truncate(size)
                (aside / "meta.json").write_text(json.dumps(meta, indent=1))
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
        return cls(folder)

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the files."""
        self._rows.close()
        self._marks.close()

    def identities(self) -> np.ndarray:
        """(N,) of 16 bytes each."""
        return np.frombuffer((self.folder / "identities").read_bytes(), dtype="V16")

    def marked(self) -> np.ndarray:
        """(N,) bool: rows that are there, their checksums not looked at."""
        return self._read_marks(range(self.count)) != 0

    def read(self, rows: range) -> tuple[np.ndarray, np.ndarray, int]:
        """Values (n,V,D) of consecutive rows, (n,) bool which of them are there and whole, and the number of damaged ones.

        Rows that are no embeddings, though their checksum is right, count as damaged: older versions kept them.
        """
        marks = self._read_marks(rows)
        buffer = bytearray(self.row_bytes * len(rows))
        os.preadv(self._rows.fileno(), [buffer], self.row_bytes * rows.start)
        found, damaged = marks != 0, 0
        for i in np.flatnonzero(found):
            row = memoryview(buffer)[i * self.row_bytes : (i + 1) * self.row_bytes]
            if int(marks[i]) != _MARKED + zlib.crc32(row):
                found[i] = False
                damaged += 1
        values = np.frombuffer(buffer, dtype=self.dtype).reshape(len(rows), *self.shape)
        unusable = found & ~usable(values).all(axis=1)
        return values, found & ~unusable, damaged + int(unusable.sum())

    def write(self, row: int, values: np.ndarray) -> None:
        """Write one row (V,D), then mark it."""
        content = np.ascontiguousarray(values, dtype=self.dtype).tobytes()
        if len(content) != self.row_bytes:
            raise ValueError(f"a row is {self.dtype} of shape {self.shape}, not {values.dtype} of shape {values.shape}")
        _write(self._rows.fileno(), content, self.row_bytes * row)
        _write(self._marks.fileno(), np.array([_MARKED + zlib.crc32(content)], dtype="<u8").tobytes(), 8 * row)

    def _read_marks(self, rows: range) -> np.ndarray:
        marks = bytearray(8 * len(rows))
        os.preadv(self._marks.fileno(), [marks], 8 * rows.start)
        return np.frombuffer(marks, dtype="<u8")


def usable(embeddings: np.ndarray) -> np.ndarray:
    """(...) bool: which vectors of (...,D) are finite and not all 0, as those of a working encoder are."""
    # The bits of floats without their sign are ordered as the floats are; np.isfinite takes 40 times as long for float16.
    bits = embeddings.view(f"u{embeddings.itemsize}")
    largest = (bits & (np.iinfo(bits.dtype).max >> 1)).max(axis=-1)
    return (largest > 0) & (largest < np.array(np.inf, dtype=embeddings.dtype).view(bits.dtype))


def require_usable(title: str, embeddings: np.ndarray, names: Sequence[str]) -> None:
    """DataError unless all embeddings (N,D) of what has these names are `usable`; `title` is the encoder's."""
    wrong = np.flatnonzero(~usable(embeddings))
    if len(wrong):
        raise DataError(
            f"encoder {title}: {len(wrong)} of {len(names)} embeddings are NaN, infinite or all 0, the first of "
            f"{names[wrong[0]]}; its weights are damaged, or labeler.encoder.precision is too coarse: set it to fp32"
        )


def _open(path: Path) -> Any:
    try:
        return path.open("r+b", buffering=0)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        return path.open("rb", buffering=0)  # somebody else's cache can still be read


def _write(descriptor: int, content: bytes, offset: int) -> None:
    written = os.pwrite(descriptor, content, offset)
    if written != len(content):  # a disk that is full to the last byte takes a part
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
