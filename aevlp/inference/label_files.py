"""Which files `predict` and `label` wrote: these they write again, and no others."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aevlp.data.column_names import are_of_predict, is_of_label
from aevlp.data.csv_lines import MAX_LINE, rows_of
from aevlp.data.parquet_lines import require_parquet
from aevlp.input import open_file

LOOKED_AT = 1000  # rows of a Parquet file


def is_own(path: Path) -> bool:
    """Whether a file is one of `label_formats`, of whichever it is, by its columns and its first rows.

    Raises:
        DataError: it is no table.
        OSError: it cannot be read.
        UnavailableError: it is Parquet, and pyarrow is not installed.
    """
    with open_file(path) as file:
        first, second = file.readline(MAX_LINE), file.readline(MAX_LINE)
    if first == b"[\n":  # tasks of Label Studio
        return second == b"]\n" or (second.startswith(b'{"data": {"image": ') and b'"model_version": "aevlp"' in second)
    if first == b'{"labels": {\n':  # of FiftyOne
        return True
    if first.startswith(b"PAR1"):
        rows = _parquet_rows(path)
    elif first.startswith(b"{"):
        rows = _json_rows(path)
    else:
        rows = (words for _, words in rows_of(path, separator=",", errors="surrogateescape"))
    try:
        header = next(rows, [])
        return is_of_label(header) or are_of_predict(header, rows)
    except (ValueError, RecursionError):  # a line that is no JSON
        return False


def _json_rows(path: Path) -> Iterator[list[Any]]:
    with open_file(path) as file:
        columns: list[str] = []
        while line := file.readline(MAX_LINE):
            row = json.loads(line)
            if not isinstance(row, dict):
                raise ValueError("no row of a table")
            if not columns:
                columns = list(row)
                yield columns
            yield [row.get(name) for name in columns]


def _parquet_rows(path: Path) -> Iterator[list[Any]]:
    pyarrow, parquet = require_parquet()
    with open_file(path) as file:
        try:
            source = parquet.ParquetFile(file)
            yield source.schema_arrow.names
            for row in next(source.iter_batches(batch_size=LOOKED_AT)).to_pylist():
                yield list(row.values())
        except (pyarrow.ArrowException, StopIteration):
            return
