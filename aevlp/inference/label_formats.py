"""Labels of photos as a file, written as they come.

    csv, jsonl, parquet    a table; several names in a cell are joined by |, and a list in JSON
    labelstudio            tasks with a prediction each, for a project with Choices named `choice` of an Image named `image`
    fiftyone               labels.json of a FiftyOneImageClassificationDataset, with confidences; photos by their full paths

Cells hold names exactly as they are. They are for programs: a spreadsheet may take a name that begins with = + - or @ for a
formula, and changing such names here would make them unfit to be looked up.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import chain, repeat
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from aevlp.config.errors import ConfigError, DataError, UnavailableError
from aevlp.text import write_exactly

STDOUT = "-"
BETWEEN = "|"  # that of aevlp.data.table, whose package imports numpy: the flags of a verb are known without
NAMES = "names"
"""Type of a column of several names; the others are pyarrow's."""
ROWS_TOGETHER = 10_000  # of a Parquet file; smaller groups cost more space than their rows
Columns = dict[str, str]
"""Title and type of each column."""


@dataclass(frozen=True)
class Photo:
    """A photo, and what is written of it."""

    image: str
    """Its name."""
    path: str
    """Where it is, in full; its name where it is no file."""
    labels: dict[str, float | None]
    """Classes that it shows, and how sure that is; None where it was known."""
    rows: list[tuple[Any, ...]]
    """Its rows of a table, a value a column; None where there is none."""


Append = Callable[[Iterable[Photo]], None]


class _Text(Protocol):
    def write(self, text: str, /) -> object: ...


@dataclass(frozen=True)
class Format:
    """A form of the file."""

    suffixes: tuple[str, ...]
    begin: Callable[[Any, Columns], AbstractContextManager[Append]]
    """Given a text file, or a path where it is no text, and the columns."""
    is_text: bool = True
    is_table: bool = True


def format_of(output: str, given: str | None = None) -> str:
    """Name of the format that is `given`, or that the name of a file tells; CSV on standard output.

    Raises:
        ConfigError: the name does not tell, or the format cannot be shown on standard output.
    """
    if output == STDOUT:
        if given is not None and not FORMATS[given].is_text:
            raise ConfigError(f"-o -: {given} is no text; name a file")
        return given or "csv"
    suffix = Path(output).suffix.lower()
    found = [given] if given else [name for name, form in FORMATS.items() if suffix in form.suffixes]
    if len(found) == 1:
        return found[0]
    if found:
        raise ConfigError(f"-o {output}: several programs read {suffix}; say which it is for: --format {'|'.join(found)}")
    known = sorted({suffix for form in FORMATS.values() for suffix in form.suffixes})
    raise ConfigError(f"-o {output}: the name must end in {', '.join(known)}; or say --format {'|'.join(FORMATS)}")


@contextmanager
def labels_file(path: Path | None, name: str, columns: Columns, class_names: list[str]) -> Iterator[Append]:
    """A function that appends photos to a file of format `name`, or to standard output where there is no path.

    Raises:
        DataError: a class has a name that cannot be written in this format.
        UnavailableError: pyarrow is not installed.
    """
    form = FORMATS[name]
    joined = next((word for word in class_names if BETWEEN in word), None) if form.is_table and name != "jsonl" else None
    if joined is not None:
        raise DataError(f"class {joined!r} holds {BETWEEN}, which separates labels in {name}; take --format jsonl")
    if path is None:
        with form.begin(_Standard(), columns) as append:
            yield append
    elif not form.is_text:
        with form.begin(path, columns) as append:
            yield append
    else:  # names of files need not be UTF-8: what Python could not decode is written back byte for byte
        with (
            path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
            form.begin(file, columns) as append,
        ):
            yield append


class _Standard:
    def write(self, text: str, /) -> None:
        write_exactly(text)


@contextmanager
def _csv(file: _Text, columns: Columns) -> Iterator[Append]:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    yield lambda photos: writer.writerows(map(_cell, row) for photo in photos for row in photo.rows)


def _cell(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else _joined(value)


def _joined(value: Any) -> Any:
    return BETWEEN.join(value) if isinstance(value, tuple) else value


@contextmanager
def _jsonl(file: _Text, columns: Columns) -> Iterator[Append]:
    def append(photos: Iterable[Photo]) -> None:
        for photo in photos:
            for row in photo.rows:
                file.write(json.dumps(dict(zip(columns, map(_plain, row), strict=True))) + "\n")

    yield append


def _plain(value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) else value


@contextmanager
def _labelstudio(file: _Text, columns: Columns) -> Iterator[Append]:
    between = chain("\n", repeat(",\n"))

    def append(photos: Iterable[Photo]) -> None:
        for photo in photos:
            file.write(next(between) + json.dumps(_task(photo)))

    file.write("[")
    yield append
    file.write("\n]\n")


def _task(photo: Photo) -> dict[str, Any]:
    # The server finds local files by their names below its LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT.
    address = "/data/local-files/?d=" + quote(photo.image.lstrip("/"), errors="surrogateescape")
    scores = {name: _plain(score) for name, score in photo.labels.items() if score is not None}
    choices = {"from_name": "choice", "to_name": "image", "type": "choices", "value": {"choices": list(photo.labels)}}
    prediction = {"model_version": "aevlp", "result": [choices] if photo.labels else []}
    if scores:
        prediction["score"] = min(scores.values())  # of the least certain: tasks are sorted by it
    return {"data": {"image": address, "scores": scores}, "predictions": [prediction]}


@contextmanager
def _fiftyone(file: _Text, columns: Columns) -> Iterator[Append]:
    between = chain("\n", repeat(",\n"))

    def append(photos: Iterable[Photo]) -> None:
        for photo in photos:
            found = [
                {"label": name} | ({} if score is None else {"confidence": _plain(score)}) for name, score in photo.labels.items()
            ]
            file.write(f"{next(between)}{json.dumps(photo.path)}: {json.dumps(found or None)}")

    file.write('{"labels": {')
    yield append
    file.write("\n}}\n")


@contextmanager
def _parquet(path: Path, columns: Columns) -> Iterator[Append]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise UnavailableError("Parquet needs pyarrow: pip install 'aevlp[parquet]', or name a .csv file") from error
    types = {title: pyarrow.string() if kind == NAMES else getattr(pyarrow, kind)() for title, kind in columns.items()}
    schema, waiting = pyarrow.schema(list(types.items())), list[tuple[Any, ...]]()

    def write() -> None:
        try:
            values = [[_joined(row[i]) for row in waiting] for i in range(len(columns))]
            writer.write_table(pyarrow.table(dict(zip(columns, values, strict=True)), schema=schema))
        except UnicodeEncodeError as error:
            raise DataError(f"Parquet holds only UTF-8, and {error.object!r} is not; name a .csv file") from error
        waiting.clear()

    def append(photos: Iterable[Photo]) -> None:
        waiting.extend(row for photo in photos for row in photo.rows)
        if len(waiting) >= ROWS_TOGETHER:
            write()

    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        yield append
        if waiting:
            write()


FORMATS = {
    "csv": Format((".csv",), _csv),
    "jsonl": Format((".jsonl",), _jsonl),
    "parquet": Format((".parquet",), _parquet, is_text=False),
    "labelstudio": Format((".json",), _labelstudio, is_table=False),
    "fiftyone": Format((".json",), _fiftyone, is_table=False),
}
