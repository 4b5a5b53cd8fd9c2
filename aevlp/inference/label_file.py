"""Pseudo-labels as a file, a row each, written as they come: CSV, or Parquet with the extra `parquet`.

Cells hold names exactly as they are. It is a file for programs: a spreadsheet may take a name that begins with = + - or @
for a formula, and changing such names here would make them unfit to be looked up.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aevlp.config.errors import ConfigError, DataError, UnavailableError
from aevlp.output import output_file

# "view" is whole, tile or tiles (their mean); rows and columns of tiles count from 0 at the top left.
COLUMNS = {
    "image": "string", "class": "string", "sign": "int8", "score": "float32", "view": "string", "tile_row": "int32",
    "tile_column": "int32", "global_probability": "float32", "tile_probability": "float32", "observed": "string",
}  # fmt: skip
Columns = dict[str, list[Any]]
"""Values of every column, of equal length; None where there is none."""


@contextmanager
def label_file(path: Path) -> Iterator[Callable[[Columns], None]]:
    """A function that appends rows; the file is there, whole, once the block has ended without an error.

    Raises:
        ConfigError: the name ends neither in .csv nor in .parquet, or its folder is absent.
        UnavailableError: pyarrow is not installed.
    """
    if path.suffix not in (".csv", ".parquet"):
        raise ConfigError(f"-o {path}: the name must end in .csv or .parquet")
    with output_file(path) as aside, (_csv if path.suffix == ".csv" else _parquet)(aside) as append:
        yield append


@contextmanager
def _csv(path: Path) -> Iterator[Callable[[Columns], None]]:
    # Names of files need not be UTF-8: what Python could not decode is written back byte for byte.
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        yield lambda columns: writer.writerows(zip(*(map(_cell, columns[name]) for name in COLUMNS), strict=True))


def _cell(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else value


@contextmanager
def _parquet(path: Path) -> Iterator[Callable[[Columns], None]]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise UnavailableError(".parquet needs pyarrow: pip install 'aevlp[parquet]', or name a .csv file") from error
    schema = pyarrow.schema([(name, getattr(pyarrow, kind)()) for name, kind in COLUMNS.items()])
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:

        def append(columns: Columns) -> None:
            try:
                writer.write_table(pyarrow.table(columns, schema=schema))
            except UnicodeEncodeError as error:
                raise DataError(f"Parquet holds only UTF-8, and {error.object!r} is not; name a .csv file") from error

        yield append
