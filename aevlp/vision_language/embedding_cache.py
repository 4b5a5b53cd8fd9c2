"""The embedding cache: what a frozen encoder gave for an image is kept on disk and never computed again.

Embeddings are kept, not cosines: prompts, class names, temperature and label graph may change without encoding anything.
The cache lies in $AEVLP_CACHE, else in ~/.cache/aevlp. Each store (`embedding_store`) is a folder named by two hashes:

    family      the encoder's files by content, normalisation, precision, part (whole image, or tiles of a grid), mirrored or not
    manifest    the identities of the images of one split, in their order

So the whole image is shared by all grids, encoders share a folder without harm, and a renamed experiment or a moved encoder
finds its rows. Not in the family, because they change rows by no more than rounding: device, threads, batch size, and the
versions of torch, transformers and Pillow. A row that is missing is looked up by its image's identity in the other stores
of its family: after a photo has changed, or with a smaller training set, only what is new is encoded.
No torch in this file: `cache list` need not wait for it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from aevlp import files
from aevlp.folders import cache_root
from aevlp.vision_language.embedding_store import Store, UnusableStoreError

Notify = Callable[[str], None]
EMBEDDINGS, PICTURES = "embeddings", "images"  # the folders of the cache; the second is `aevlp.data.image_cache`'s, with torch
_REMEMBERED_BYTES = 16 << 20  # files from this size on are hashed once, then known by path, size and time


@dataclass(frozen=True)
class Family:
    """What the rows of a store hold, whichever images they are of."""

    encoder: str
    """Hub id or folder, for people; not part of the key."""
    files: str
    """Hash of the encoder's files."""
    part: str
    """`whole`, `grid 4` for the 16 tiles of a grid, or `texts`."""
    views: int
    """Embeddings a row."""
    mirrored: bool = False
    """Whether each view was flipped left to right."""
    precision: str = "fp32"
    """Arithmetic of the encoder."""
    normalization: str = "encoder"
    """Mean and standard deviation of the views."""
    dtype: str = "float16"
    """Type of the embeddings."""

    @property
    def key(self) -> str:
        """16 hexadecimal digits."""
        return _hash(json.dumps(asdict(self) | {"encoder": None}, sort_keys=True).encode())


class CachedRows:
    """Rows of one family for the images of one split.

    Where the disk fails, it says so once: who cannot read finds and keeps nothing, who cannot write finds what is there.
    """

    def __init__(self, family: Family, identities: Iterable[bytes], notify: Notify, *, borrow: bool = True):
        """Open the store of `family` for images of these 16-byte identities; a new one is made with the first row written.

        borrow: whether rows that are missing may be read from other stores of the family.
        """
        self.family, self.notify = family, notify
        self._identities = np.frombuffer(b"".join(identities), dtype="V16")
        self.folder = cache_root() / EMBEDDINGS / f"{family.key}-{_hash(self._identities.tobytes())}"
        self._store: Store | None = None
        self._borrowed: dict[int, tuple[Store, int]] = {}
        self._damage_told: set[Path] = set()
        self.works = True
        """False once reading has failed."""
        self.keeps = True
        """False once writing has failed, as on a full disk."""
        try:
            for path in leftovers():
                files.remove(path)
            self._store = self._open(self.folder)
            if borrow:
                self._borrow()
        except OSError as error:
            self._give_up(error)

    def read(self, rows: range) -> tuple[np.ndarray | None, np.ndarray]:
        """Values (n,V,D) of consecutive rows, None where none is known; and (n,) bool which of them are there."""
        values, found = None, np.zeros(len(rows), dtype=bool)
        if not self.works:
            return values, found
        try:
            self._store = self._store or self._open(self.folder)  # another process may have made it since
            if self._store is not None:
                values, found = self._read(self._store, rows)
            for i in np.flatnonzero(~found).tolist():
                if rows[i] in self._borrowed:
                    store, row = self._borrowed[rows[i]]
                    value, there = self._read(store, range(row, row + 1))
                    if there[0]:
                        values = np.zeros((len(rows), *store.shape), dtype=store.dtype) if values is None else values
                        values[i], found[i] = value[0], True
        except OSError as error:
            self._give_up(error)
            found[:] = False
        return values, found

    def there(self) -> np.ndarray:
        """(N,) bool: rows that are there, whoever wrote them; their checksums are not looked at."""
        there = np.zeros(len(self._identities), dtype=bool)
        try:
            if self.works:
                self._store = self._store or self._open(self.folder)
                there[list(self._borrowed)] = True
                there |= False if self._store is None else self._store.marked()
        except OSError as error:
            self._give_up(error)
            there[:] = False
        return there

    def write(self, row: int, values: np.ndarray) -> None:
        """Keep the row (V,D) of one image."""
        if not (self.works and self.keeps):
            return
        try:
            if self._store is None:
                self._store = Store.create(self.folder, asdict(self.family), self._identities, values.shape[1])
            self._store.write(row, values)
        except (OSError, UnusableStoreError) as error:
            self.keeps = False
            self.notify(f"embedding cache {cache_root()} cannot be written: {_told(error)}; going on with what is there")

    def close(self) -> None:
        """Close the files."""
        for store in {store for store, _ in self._borrowed.values()}:
            store.close()
        if self._store is not None:
            self._store.close()

    def _open(self, folder: Path) -> Store | None:
        try:
            store = Store(folder)
        except FileNotFoundError:
            return None
        except UnusableStoreError as error:
            self.notify(f"embedding cache {folder.name} {error}; encoded anew")
            files.discard(folder)
            return None
        with contextlib.suppress(OSError):  # somebody else's cache can still be read
            os.utime(folder / "meta.json")  # when it was last used
        return store

    def _borrow(self) -> None:
        """Find the missing rows that other stores of the family hold."""
        others = sorted(path for path in self.folder.parent.glob(f"{self.family.key}-*") if path != self.folder)
        if not others:
            return
        missing = np.ones(len(self._identities), bool) if self._store is None else ~self._store.marked()
        wanted: dict[bytes, list[int]] = {}  # a photo may be there twice
        for row in np.flatnonzero(missing).tolist():
            wanted.setdefault(self._identities[row].tobytes(), []).append(row)
        num_wanted = len(wanted)
        for folder in others if wanted else ():
            store = self._open(folder)
            if store is None:
                continue
            identities, num_borrowed = store.identities(), len(self._borrowed)
            for source in np.flatnonzero(store.marked()).tolist():
                for row in wanted.pop(identities[source].tobytes(), []):
                    self._borrowed[row] = store, source
            if len(self._borrowed) == num_borrowed:
                store.close()
        if 0 < len(wanted) < num_wanted:
            count = sum(map(len, wanted.values()))
            self.notify(f"embedding cache: {count} of {len(missing)} images are not cached yet, and are encoded")

    def _read(self, store: Store, rows: range) -> tuple[np.ndarray, np.ndarray]:
        values, found, damaged = store.read(rows)
        if damaged and store.folder not in self._damage_told:
            self._damage_told.add(store.folder)
            self.notify(f"embedding cache {store.folder.name} holds damaged rows; they are encoded again")
        return values, found

    def _give_up(self, error: OSError) -> None:
        self.works = False
        self.notify(f"embedding cache {cache_root()} cannot be used: {_told(error)}; going on without it")


def _told(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def stores() -> list[Path]:
    """Folders of all stores."""
    return sorted(path for path in (cache_root() / EMBEDDINGS).glob("*-*") if not path.name.startswith("."))


def pictures() -> list[Path]:
    """Files of decoded pictures."""
    return sorted((cache_root() / PICTURES).glob("*.u8"))


def leftovers() -> list[Path]:
    """What killed processes left half made or half removed, anywhere in the cache."""
    return [path for folder in ("", EMBEDDINGS, PICTURES) for path in files.leftovers(cache_root() / folder, own=True)]


def damage(folder: Path) -> str | None:
    """What is wrong with a store, every checksum looked at; None where nothing is."""
    try:
        with Store(folder) as store:
            damaged = sum(store.read(range(i, min(i + 64, store.count)))[2] for i in range(0, store.count, 64))
            return f"has {damaged} damaged rows" if damaged else None
    except UnusableStoreError as error:
        return str(error)
    except OSError as error:
        return f"cannot be read: {error.strerror}"


def hash_files(paths: Iterable[Path]) -> str:
    """One hash of the names and contents of files. Large ones are read once, then known by path, size and time of change."""
    memory = cache_root() / "file_hashes.json"
    known: dict[str, list] = {}
    with contextlib.suppress(OSError, ValueError, TypeError):  # absent or damaged
        known = dict(json.loads(memory.read_text()))
    before = dict(known)
    parts: list[tuple[str, str]] = []
    for path in sorted(paths):
        stat = path.stat()
        state, name = [stat.st_size, stat.st_mtime_ns], str(path.resolve())
        if name not in known or known[name][:2] != state:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            # A file of this very moment may still change without changing its time.
            if stat.st_size < _REMEMBERED_BYTES or time.time_ns() - stat.st_mtime_ns < 2e9:
                parts.append((path.name, digest))
                continue
            known[name] = [*state, digest]
        parts.append((path.name, known[name][2]))
    if known != before:
        _remember(memory, known)
    return _hash(json.dumps(parts).encode())


def _remember(path: Path, known: dict[str, list]) -> None:
    with contextlib.suppress(OSError):  # hashed again next time; whether the disk works is told by the stores
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write(path, json.dumps(known).encode())


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
