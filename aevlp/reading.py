"""Reading files that anybody may have written, or a crash may have left: whatever is wrong with one is one kind of error."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aevlp.config.errors import DataError
from aevlp.input import open_file

MAX_BYTES = 100_000_000  # of a text file; the rows of a run of ten million steps are a quarter of it
MAX_NUMBER = 1e100  # of a metric: its square is still a number
_MISSING = (errno.ENOENT, errno.ENOTDIR)


def open_regular(path: Path) -> io.BufferedReader:
    """Open a regular file for reading; pipes and devices are not waited for.

    Raises:
        FileNotFoundError: there is none.
        DataError: it cannot be read; `<path>: cannot be read: <why>`.
    """
    try:
        return open_file(path)
    except OSError as error:
        if error.errno in _MISSING:
            raise FileNotFoundError(*error.args) from error
        raise _unreadable(path, error.strerror or str(error)) from error


def read_bytes(path: Path, limit: int = MAX_BYTES) -> bytes:
    """Content of a regular file of at most `limit` bytes; errors as of `open_regular`."""
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit:
            raise _unreadable(path, f"it has {size:,} bytes; at most {limit:,} are read")
        try:
            return file.read(limit)
        except OSError as error:
            raise _unreadable(path, error.strerror or str(error)) from error


def read_text(path: Path, limit: int = MAX_BYTES) -> str:
    """UTF-8 text of a file, without the mark that Windows puts before it; errors as of `open_regular`."""
    content = read_bytes(path, limit)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _unreadable(path, f"not UTF-8 at byte {error.start}") from error


def read_json(path: Path, limit: int = MAX_BYTES, keep: Callable[[dict[str, Any]], Any] | None = None) -> Any:
    """Plain data of a JSON file, or what `keep` leaves of each of its mappings; errors as of `open_regular`."""
    content = read_bytes(path, limit)
    try:
        return parse_json(content, keep)
    except ValueError as error:
        raise _unreadable(path, str(error)) from error


def parse_json(text: str | bytes, keep: Callable[[dict[str, Any]], Any] | None = None) -> Any:
    """Plain data; ValueError for whatever is no JSON, nested too deeply, or holds words that are no Unicode."""
    try:
        data = json.loads(text, object_hook=keep)
        # Half a character, which cannot be written again.
        if b"\\ud" in (text if isinstance(text, bytes) else text.encode()).lower():
            json.dumps(data, ensure_ascii=False).encode()
    except UnicodeError as error:
        raise ValueError(f"not UTF-8: {error}") from error
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    return data


def read_rows(path: Path) -> list[list[str]]:
    """Rows of a CSV file, of whatever length; errors as of `open_regular`."""
    try:
        return list(csv.reader(io.StringIO(read_text(path), newline=""), strict=True))
    except csv.Error as error:
        raise _unreadable(path, str(error)) from error


def read_table(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV file by column, each with every column of the first line; errors as of `open_regular`."""
    rows = read_rows(path)
    if not rows:
        raise _unreadable(path, "it is empty")
    header = rows[0]
    for number, row in enumerate(rows[1:], start=2):
        if row and len(row) != len(header):
            raise _unreadable(path, f"row {number} has {len(row)} columns, the first {len(header)}")
    return [dict(zip(header, row, strict=True)) for row in rows[1:] if row]


def number(value: Any) -> float | None:
    """A number as Python's float; None for whatever is none, infinite, or larger than MAX_NUMBER."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and abs(value) <= MAX_NUMBER else None


def _unreadable(path: Path, why: str) -> DataError:
    return DataError(f"{path}: cannot be read: {' '.join(why.split())}")
