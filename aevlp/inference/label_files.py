"""Which files `predict` and `label` wrote: these they write again, and no others."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from aevlp.data.column_names import classes_of_predict, is_of_label
from aevlp.data.csv_lines import MAX_LINE
from aevlp.data.parquet_lines import require_parquet
from aevlp.input import open_file


def is_own(path: Path) -> bool:
    """Whether a file is one of `label_formats`, of whichever it is, by its first lines and its columns.

    Raises:
        OSError: it cannot be read.
        UnavailableError: it is Parquet, and pyarrow is not installed.
    """
    with open_file(path) as file:
        first, second = file.readline(MAX_LINE), file.readline(MAX_LINE)
    if first.startswith(b"PAR1"):
        return _is_parquet(path)
    if first == b"[\n":  # tasks of Label Studio
        return second == b"]\n" or (second.startswith(b'{"data": {"image": ') and b'"model_version": "aevlp"' in second)
    if first.startswith(b"{"):  # the first are of FiftyOne
        return first == b'{"labels": {\n' or _is_json_line(first)
    return _is_csv(path)


def _is_csv(path: Path) -> bool:
    with open_file(path) as file, io.TextIOWrapper(file, "utf-8", "surrogateescape", newline="") as text:
        try:
            columns, *rows = islice(csv.reader(text), 2)
        except (csv.Error, ValueError):
            return False
    return _is_table(columns, [word for words in rows for word in words[1:-1]])


def _is_json_line(line: bytes) -> bool:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return _is_table(list(row), list(row.values())[1:-1])


def _is_parquet(path: Path) -> bool:
    pyarrow, parquet = require_parquet()
    with open_file(path) as file:
        try:
            schema = parquet.read_schema(file)
        except pyarrow.ArrowException:
            return False
    return _is_table(schema.names, [0.0 if pyarrow.types.is_floating(kind) else "" for kind in schema.types[1:-1]])


def _is_table(columns: list[str], cells: Iterable[object]) -> bool:
    """Whether columns are those of `label`; or those of `predict`, and cells between the first and the last are probabilities."""
    return is_of_label(columns) or (classes_of_predict(columns) is not None and all(map(_is_probability, cells)))


def _is_probability(value: object) -> bool:
    try:
        return isinstance(value, str | float) and 0 <= float(value) <= 1
    except ValueError:
        return False
