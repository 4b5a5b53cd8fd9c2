"""Files of named vectors that somebody computed: .npy with names beside it, .npz, Parquet or safetensors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aevlp.config.errors import ConfigError, DataError, in_one_line
from aevlp.data.npz import read_npy, read_npz
from aevlp.data.parquet_lines import require_parquet
from aevlp.input import open_file
from aevlp.text import counted, listed
from aevlp.vision_language.embedding_store import usable

_MOST_BYTES = 1 << 36  # of an .npz: 64 GB are 2 million photos at grid 4, float32 and 512 numbers


@dataclass(frozen=True)
class NamedVectors:
    """Vectors (N,V,D) float32 of unit length, V of each name."""

    path: Path
    rows: dict[str, int]
    """Row of each name."""
    vectors: np.ndarray

    def require(self, names: Sequence[str], what: str) -> None:
        """DataError with counts and first names unless each of `names`, those of `what`, has vectors."""
        missing = [name for name in names if name not in self.rows]
        if len(missing) == len(names):
            raise DataError(
                f"{self.path}: none of its {len(self.rows):,} names is that of any of the {len(names):,} {what}; it has "
                f"{_first(list(self.rows))}, and they are called {_first(names)}"
            )
        if missing:
            raise DataError(f"{self.path}: has no vectors of {len(missing):,} of {len(names):,} {what}: {_first(missing)}")

    def of(self, names: Sequence[str]) -> np.ndarray:
        """(n,V,D) of names that are there."""
        return self.vectors[[self.rows[name] for name in names]]


def read_vectors(path: Path, setting: str) -> NamedVectors:
    """Read a file of vectors.

    Args:
        path: .npz with `names` (N,) and `embeddings` (N,D) or (N,V,D); .npy of such, with a name a line in a .txt file beside
            it; Parquet with columns name and embedding, a list of numbers or of lists; or safetensors, a tensor a name.
        setting: dotted path that names the file.

    Raises:
        ConfigError: there is no such file, or it is of none of these kinds.
        DataError: it cannot be read, or does not hold usable vectors of one width, each with a name of its own.
    """
    read = {".npz": _npz, ".npy": _npy, ".parquet": _parquet, ".safetensors": _safetensors}.get(path.suffix)
    if read is None:
        raise ConfigError(f"{setting}: {path} is none of .npz, .npy, .parquet and .safetensors")
    if not path.is_file():
        raise ConfigError(f"{setting}: {path}: no such file")
    names, vectors = read(path)
    if vectors.dtype.kind not in "fiu" or vectors.ndim not in (2, 3) or 0 in vectors.shape:
        raise DataError(
            f"{path}: embeddings must be numbers (names, width) or (names, views, width), are {vectors.dtype} of shape "
            f"{vectors.shape}"
        )
    if len(names) != len(vectors):
        raise DataError(f"{path}: {counted(len(names), 'name', ',')} for {counted(len(vectors), 'vector', ',')}")
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DataError(f"{path}: {len(twice):,} names stand there twice: {_first(twice)}")
    vectors = _in_range(vectors).reshape(len(names), -1, vectors.shape[-1])
    wrong = np.flatnonzero(~usable(vectors).all(axis=1))
    if len(wrong):
        first = _first([names[i] for i in wrong])
        raise DataError(f"{path}: the vectors of {len(wrong):,} of {len(names):,} names are NaN, infinite or all 0: {first}")
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    return NamedVectors(path, {name: row for row, name in enumerate(names)}, vectors)


def _in_range(vectors: np.ndarray) -> np.ndarray:
    """Vectors (...,D) in float32, divided by their largest number where squares of theirs would not fit into it."""
    with np.errstate(over="ignore", invalid="ignore"):  # what is infinite or NaN stays so, and is told
        found = vectors.astype(np.float32)
        largest = np.maximum(found.max(axis=-1), -found.min(axis=-1))
        far = ~((largest > 1e-15) & (largest < 1e15))
        if far.any():
            rows = vectors[far].astype(np.float64)
            largest = np.abs(rows).max(axis=-1, keepdims=True)
            found[far] = rows / np.where(largest > 0, largest, 1.0)
    return found


def _first(names: Sequence[str]) -> str:
    return listed(list(map(repr, names[:3])), 3, len(names))


def _npz(path: Path) -> tuple[list[str], np.ndarray]:
    arrays = read_npz(path, _MOST_BYTES)
    for name in ("names", "embeddings"):
        if name not in arrays:
            raise DataError(f"{path}: holds {', '.join(sorted(arrays))}, but no array {name}")
    try:
        return arrays["names"].ravel().astype(np.str_).tolist(), arrays["embeddings"]
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: holds a name that is not ASCII, stored as bytes: {error}") from error


def _npy(path: Path) -> tuple[list[str], np.ndarray]:
    beside = path.with_suffix(".txt")
    try:
        with open_file(beside) as file:
            names = file.read().decode("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: needs its names in {beside}, one a line, which cannot be read: {error}") from error
    return names, read_npy(path)


def _parquet(path: Path) -> tuple[list[str], np.ndarray]:
    pyarrow, parquet = require_parquet()
    try:
        with open_file(path) as file:
            had = parquet.read_schema(file).names
            if not {"name", "embedding"} <= set(had):
                raise DataError(f"{path}: needs the columns name and embedding; it has {_first(had)}")
            table = parquet.read_table(file, columns=["name", "embedding"])
    except (OSError, pyarrow.ArrowException) as error:
        raise DataError(f"{path}: cannot be read: {in_one_line(error)}") from error
    names = [str(name) for name in table["name"].to_pylist()]
    rows = table["embedding"].to_numpy()  # an object each: an array of numbers, or of arrays of numbers
    return names, _stacked(
        path, names, [list(row) if isinstance(row, np.ndarray) and row.dtype.hasobject else row for row in rows]
    )


def _safetensors(path: Path) -> tuple[list[str], np.ndarray]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        found = load_file(path)
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: cannot be read: {in_one_line(error)}") from error
    return list(found), _stacked(path, list(found), list(found.values()))


def _stacked(path: Path, names: Sequence[Any], vectors: Sequence[Any]) -> np.ndarray:
    """One array of the vectors of all names; DataError with names where their shapes differ."""
    first: dict[tuple[int, ...], Any] = {}
    for name, vector in zip(names, vectors, strict=True):
        try:
            first.setdefault(np.shape(vector), name)
        except ValueError as error:
            raise DataError(f"{path}: the vectors of {name!r} differ in width") from error
    if len(first) > 1:
        one, other = list(first.items())[:2]
        raise DataError(f"{path}: vectors of two widths: {one[1]!r} has shape {one[0]}, {other[1]!r} has {other[0]}")
    return np.array(vectors) if vectors else np.empty((0, 0))
