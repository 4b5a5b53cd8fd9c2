"""A table kept as Parquet, row by row: a batch of its rows is held at a time."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from aevlp.config.errors import DataError, UnavailableError
from aevlp.input import open_file

BATCH = 20_000
MAX_ROWS = 20_000_000


def parquet_rows(path: Path, known: Sequence[str], between: str) -> Iterator[tuple[int, list[str]]]:
    """The names of all columns as number 0, then the number of each row, from 1, and its fields.

    Columns are text or lists of text, which are joined with `between`; absent values are empty. Columns whose name in small
    letters is not in `known` are not read, and empty.

    Raises:
        DataError: naming the column or the row, where the file is damaged, or holds something else than text.
        UnavailableError: pyarrow is not installed.
        OSError: absent, or not to be read.
    """
    pyarrow, parquet = require_parquet()
    with open_file(path) as file:
        try:
            table = parquet.ParquetFile(file)
            names = table.schema_arrow.names
            yield 0, list(names)
            if (count := table.metadata.num_rows) > MAX_ROWS:
                raise DataError(f"{path}: has {count:,} rows; at most {MAX_ROWS:,} are read")
            read = [name for name in names if name.strip().casefold() in known]
            for name in read:
                _require_text(path, table.schema_arrow.field(name))
            first = 1
            for batch in table.iter_batches(BATCH, columns=read):
                texts = [
                    _texts(path, first, batch.column(name).to_pylist(), between) if name in read else [""] * batch.num_rows
                    for name in names
                ]
                yield from enumerate(map(list, zip(*texts, strict=True)), first)
                first += batch.num_rows
        except (pyarrow.ArrowException, UnicodeDecodeError) as error:
            raise DataError(f"{path}: cannot be read as Parquet: {str(error).partition(chr(10))[0]}") from error


def write_parquet(path: Path, cells: Iterable[list[str]]) -> None:
    """Write text: the names of the columns, then the fields of each row."""
    pyarrow, parquet = require_parquet()
    rows = iter(cells)
    names = next(rows)
    schema = pyarrow.schema([(name, pyarrow.string()) for name in names])
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        while batch := list(itertools.islice(rows, BATCH)):
            writer.write_table(pyarrow.table(dict(zip(names, zip(*batch, strict=True), strict=True)), schema=schema))


def require_parquet() -> tuple[Any, Any]:
    """pyarrow and its module `parquet`; UnavailableError where it is not installed."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        raise UnavailableError(".parquet needs pyarrow: pip install 'aevlp[parquet]', or use a .csv file") from error
    return pyarrow, parquet


def _require_text(path: Path, field: Any) -> None:
    from pyarrow import types

    kind = field.type
    if types.is_list(kind) or types.is_large_list(kind):
        kind = kind.value_type
    if types.is_dictionary(kind):
        kind = kind.value_type
    if not (types.is_string(kind) or types.is_large_string(kind) or types.is_null(kind)):
        raise DataError(f"{path}: column {field.name!r} holds {field.type}; it must hold text, or lists of text")


def _texts(path: Path, first: int, values: list[Any], between: str) -> list[str]:
    """The fields of a column, of which the first is of row `first`."""
    texts = []
    for row, value in enumerate(values, first):
        if isinstance(value, list):
            if wrong := next((word for word in value if word and between in word), None):
                raise DataError(f"{path}:{row}: {wrong!r} holds {between}, which separates labels; rename the class")
            value = between.join(word or "" for word in value)
        texts.append(value or "")
    return texts
