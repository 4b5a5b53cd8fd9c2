"""A CSV file row by row, however many it has: a line of at most a million letters is held at a time."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from aevlp.config.errors import DataError
from aevlp.reading import open_regular

SEPARATORS = (",", ";", "\t")
MAX_LINE = 1_000_000  # letters


def rows_of(path: Path, *, separator: str | None = None, errors: str = "strict") -> Iterator[tuple[int, list[str]]]:
    """Number and fields of each line that is not blank.

    Args:
        path: of the file.
        separator: of fields; None is comma, semicolon or tab, whichever the first line has most of.
        errors: what to do about bytes that are no UTF-8, as `open` has it.

    Raises:
        DataError: naming the line that is no CSV, no UTF-8, or far too long.
    """
    with open_regular(path) as file, io.TextIOWrapper(file, "utf-8-sig", errors, newline="") as text:
        try:
            first = text.readline(MAX_LINE)
            rows = csv.reader(_lines(path, text, first), delimiter=separator or _separator(first), strict=True)
            for row in rows:
                if row and (len(row) > 1 or row[0].strip()):
                    yield rows.line_num, row
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: cannot be read as UTF-8 text ({error.reason}); save it as CSV UTF-8") from error
        except csv.Error as error:
            raise DataError(f"{path}:{rows.line_num}: not a CSV line: {error}") from error
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error


def separator_of(path: Path) -> str:
    """What separates the fields of a file that `rows_of` reads."""
    with open_regular(path) as file:
        return _separator(file.readline(MAX_LINE).decode(errors="replace"))


def _separator(first: str) -> str:
    return max(SEPARATORS, key=first.count)


def _lines(path: Path, text: io.TextIOWrapper, first: str) -> Iterator[str]:
    number, line = 1, first
    while line:
        if len(line) >= MAX_LINE:
            raise DataError(f"{path}:{number}: not a CSV line: it is longer than {MAX_LINE:,} letters")
        yield line
        number, line = number + 1, text.readline(MAX_LINE)


def require_csv(path: Path) -> None:
    """DataError where there is no such file."""
    if not path.is_file():
        raise DataError(f"{path}: {'is no regular file' if path.exists() else 'no such file'}")


def first_line(path: Path) -> list[str]:
    """Fields of the first line; none where that cannot be read."""
    try:
        return next(rows_of(path))[1]
    except (StopIteration, DataError, FileNotFoundError):
        return []
