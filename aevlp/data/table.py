"""The table of a folder of photos, `labels.csv` or `labels.parquet`: what is known of each.

    image,label,absent,labels,split
    cats/one.jpg,cat,dog,,train
    two.jpg,dog|person,,,
    three.jpg,,,cat|sofa,val
    four.jpg,,,,

    image    name relative to the folder
    label    what is known to be in it: one name, or several separated by |
    absent   what is known not to be in it, likewise (optional)
    labels   everything that is in it (optional); what it does not name is then known to be absent
    split    train, val or test (optional)

Columns stand in any order, in any case. Of a photo nothing need be known. Rows of one photo are one row. Parquet has the same
columns, of text or lists of text; its rows are counted from 1.
"""

from __future__ import annotations

import csv
import itertools
import os
import posixpath
import re
import shlex
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from aevlp.command import COMMAND
from aevlp.config.errors import DataError, suggest
from aevlp.data.column_names import GUESSES, are_common, is_of_predict, line_above
from aevlp.data.csv_lines import rows_of
from aevlp.data.parquet_lines import parquet_rows
from aevlp.data.several import several_in_one
from aevlp.folders import leads_outside
from aevlp.input import require_file
from aevlp.text import listed

SPLITS = ("train", "val", "test")
COLUMNS = ("image", "label", "absent", "labels", "split")
BETWEEN = "|"
TABLES = ("labels.csv", "labels.parquet")
MAX_BYTES = 500_000_000


@dataclass(frozen=True, slots=True)
class Row:
    """What is known of a photo, and the line that says so first."""

    line: int
    image: str
    known: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    split: str = "train"

    @property
    def words(self) -> tuple[str, ...]:
        """All class names of the row."""
        return (*self.known, *self.absent, *self.labels)

    @property
    def present(self) -> tuple[str, ...]:
        """What is known to be there; where that is not said apart, all labels."""
        return self.known or self.labels

    def tells_all(self, num_classes: int) -> bool:
        """Whether of each class it is known if it is there."""
        return bool(self.labels) or len({*self.known, *self.absent}) == num_classes


@dataclass(frozen=True)
class Table:
    """Rows in the order of the file, each photo once, and what a user should know of how they were read."""

    rows: list[Row]
    notes: list[str]


def read_table(path: Path, photos: Path | None = None) -> Table:
    """Read the file: Parquet by its suffix, else text with comma, semicolon or tab, with or without a byte order mark.

    `photos` is the folder that names are relative to, that of the table unless it is given.

    Raises:
        DataError: naming the line, where a column, a word or a file name is wrong.
        UnavailableError: Parquet, and pyarrow is not installed.
    """
    lines = _lines(path)
    columns, notes = _columns(path, photos or path.parent, next(lines, (1, []))[1])
    rows = [_row(path, photos or path.parent, number, columns, words) for number, words in lines]
    if not rows:
        raise DataError(f"{path}: lists no image")
    _refuse_commas(path, rows)
    for row in rows:
        require_agreement(f"{path}:{row.line}", row)
    rows, merged = one_a_photo(path, rows)
    return Table(rows, notes + merged + similar_names({word for row in rows for word in row.words}))


def table_lines(rows: Sequence[Row], further: Sequence[list[str]] = ()) -> Iterator[str]:
    """The text of a table of these rows, line by line; columns that none of them needs are left out."""
    writer = csv.writer(_Lines(), lineterminator="\n")
    return map(writer.writerow, table_cells(rows, further))


def table_cells(rows: Sequence[Row], further: Sequence[list[str]] = ()) -> Iterator[list[str]]:
    """The names of the columns that some row needs, then the cells of each row; `further` follows them, line by line."""
    needed = {
        "image": True, "label": True, "absent": any(row.absent for row in rows), "labels": any(row.labels for row in rows),
        "split": any(row.split != "train" for row in rows),
    }  # fmt: skip
    shown = [name for name in COLUMNS if needed[name]]
    beside = itertools.chain(further, itertools.repeat([]))
    yield shown + next(beside)
    for row, more in zip(rows, beside, strict=False):
        cells = {
            "image": row.image, "label": BETWEEN.join(row.known), "absent": BETWEEN.join(row.absent),
            "labels": BETWEEN.join(row.labels), "split": row.split,
        }  # fmt: skip
        yield [cells[name] for name in shown] + more


class _Lines:
    """What a CSV writer writes is what its `writerow` returns."""

    def write(self, line: str) -> str:
        return line


def similar_names(names: set[str]) -> list[str]:
    """A note for class names that differ only in case, spaces, marks between words, or a plural s."""
    groups = defaultdict(list)
    for name in sorted(names):
        key = unicodedata.normalize("NFC", re.sub(r"[\s_-]+", " ", name).strip().casefold()).removesuffix("s")
        groups[key].append(name)
    same = [" and ".join(map(repr, group)) for group in groups.values() if len(group) > 1]
    if not same:
        return []
    return [f"different classes here, and the same word to most: {listed(same, 5)}; write them alike if they are one"]


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The names of the columns, then the fields of each row that is not blank, with its number."""
    try:
        size = require_file(path).st_size
        if size > MAX_BYTES:
            raise DataError(
                f"{path}: has {size:,} bytes; at most {MAX_BYTES:,} are read, of which a million photos need a quarter"
            )
        for number, words in parquet_rows(path, COLUMNS, BETWEEN) if path.suffix == ".parquet" else rows_of(path):
            words = [word.strip() for word in words]
            if any(words):
                yield number, words
    except FileNotFoundError as error:
        raise DataError(
            f"{path}: no such file; it names the photos of dataset.root, one a line below the line image,label "
            f"(`{COMMAND} import` makes it of other annotations)"
        ) from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error}") from error


def _columns(path: Path, photos: Path, header: list[str]) -> tuple[list[str], list[str]]:
    columns = [name.casefold() for name in header]
    if "image" not in columns or not {"label", "labels"} & set(columns):
        if path.suffix == ".parquet":
            raise DataError(f"{path}: two columns must be called image and label (or labels); they are {','.join(header)[:80]!r}")
        remedy = line_above(path, header)
        if remedy is None:
            remedy = ", or ".join(filter(None, ("Write such a line", _remedy(path, photos, header))))
        raise DataError(
            f"{path}:1: the first line must name the columns, such as image,label; it is {','.join(header)[:80]!r}. {remedy}"
        )
    if path.suffix != ".parquet" and is_of_predict(path, header):
        remedy = _remedy(path, photos, header) or "have it made into a table in the folder of the photos"
        raise DataError(f"{path}: is what `predict` wrote, {GUESSES}; {remedy}")
    twice = next((name for name in columns if name in COLUMNS and columns.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{path}:1: column {twice!r} is named twice")
    aside = [name or "(unnamed)" for name, column in zip(header, columns, strict=True) if column not in COLUMNS]
    notes = [f"columns that are not read: {', '.join(map(repr, aside))} (known are {', '.join(COLUMNS)})"] if aside else []
    return columns, notes


def reimport_command(path: Path, photos: Path, kind: str = "", columns: str = "") -> str | None:
    """The command that writes a table anew in its own place; None where `import`, which writes among the photos, cannot."""
    if path.suffix != ".csv" or os.path.realpath(path.parent) != os.path.realpath(photos):
        return None
    table, root, name = (shlex.quote(str(place)) for place in (path, path.parent, path.name))
    named = "" if path.name in TABLES else f" --table {name}"
    return f"{COMMAND} import {table}{kind} --root {root}{columns}{named} --replace"


def _remedy(path: Path, photos: Path, header: list[str]) -> str | None:
    is_common = are_common(header)
    command = reimport_command(path, photos, " --from csv", "" if is_common else " --image NAME --label NAME")
    said = "have it made into one" if is_common else "tell what the columns are called"
    return command and f"{said}: {command}"


def _row(path: Path, photos: Path, line: int, columns: list[str], words: list[str]) -> Row:
    if len(words) != len(columns):
        raise DataError(
            f"{path}:{line}: has {len(words)} fields instead of {len(columns)}; a field that holds a separator needs quotes"
        )
    cells = dict.fromkeys(COLUMNS, "") | dict(zip(columns, words, strict=True))
    known, absent, labels = (names_in(cells[name]) for name in ("label", "absent", "labels"))
    row = Row(line, cells["image"], known, absent, labels, cells["split"].casefold() or "train")
    if not row.image:
        raise DataError(f"{path}:{line}: names no image")
    if leads_outside(row.image):
        command = reimport_command(path, photos)
        remedy = f"; to look for all photos below it: {command}" if command else ""
        raise DataError(f"{path}:{line}: {row.image!r} leads out of the folder; names must be relative to it{remedy}")
    row = replace(row, image=posixpath.normpath(row.image))  # ./one.jpg is one.jpg
    if row.split not in SPLITS:
        raise DataError(f"{path}:{line}: split {row.split!r} is unknown{suggest(row.split, SPLITS)}")
    return row


@lru_cache(100_000)  # the same few labels in millions of rows are held once
def names_in(cell: str) -> tuple[str, ...]:
    """The class names of a cell, each once."""
    return tuple(dict.fromkeys(word.strip() for word in cell.split(BETWEEN) if word.strip()))


def merged(before: Row, row: Row, where: str, where_before: str) -> Row:
    """What two rows of one photo say together.

    Raises:
        DataError: naming both places, where they contradict each other.
    """
    if row.split != before.split:
        raise DataError(f"{where}: {row.image} is in split {row.split}, and in split {before.split} by {where_before}")
    if row.labels and before.labels and set(row.labels) != set(before.labels):
        raise DataError(f"{where}: {row.image} has other labels than in {where_before}; both say they are all")
    known, absent, labels = (
        tuple(dict.fromkeys((*first, *second)))
        for first, second in ((before.known, row.known), (before.absent, row.absent), (before.labels, row.labels))
    )
    together = replace(before, known=known, absent=absent, labels=labels)
    require_agreement(where, together)
    return together


def require_agreement(where: str, row: Row) -> None:
    """DataError where a row says of a class that it is there, and that it is not."""
    for name in row.known:
        if row.labels and name not in row.labels:
            raise DataError(f"{where}: label {name!r} is not among the labels {BETWEEN.join(row.labels)}")
    for name in row.absent:
        if name in row.known or name in row.labels:
            raise DataError(f"{where}: {name!r} is said to be there, and to be absent, in {row.image}")


def _refuse_commas(path: Path, rows: list[Row]) -> None:
    several = several_in_one({word for row in rows for word in row.words})
    for row in rows if several else ():
        for word in row.words:
            if word in several:
                parts = several[word]
                what = "are several labels; separate them by |" if len(parts) > 1 else "is a list; write what is in it"
                raise DataError(f"{path}:{row.line}: {word!r} {what}: {BETWEEN.join(parts) or '(nothing)'}")


def one_a_photo(path: Path, rows: list[Row]) -> tuple[list[Row], list[str]]:
    """The rows with those of one photo taken together, and a note where there were such; errors as of `merged`."""
    found: dict[str, Row] = {}
    repeated = 0
    for row in rows:
        before = found.get(row.image)
        if before is None:
            found[row.image] = row
            continue
        repeated += 1
        found[row.image] = merged(before, row, f"{path}:{row.line}", f"line {before.line}")
    notes = (
        [f"{repeated} further lines of photos that stand in the table already: their labels are taken together"]
        if repeated
        else []
    )
    return list(found.values()), notes
