"""What is added to a table that is there: all of it, or, where anything does not fit, nothing."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from aevlp.config.errors import DataError, suggest
from aevlp.data.csv_lines import rows_of
from aevlp.data.imports._base import Found, Report
from aevlp.data.imports._collect import Collected, collect
from aevlp.data.locate import PhotoIndex
from aevlp.data.parquet_lines import parquet_rows
from aevlp.data.table import BETWEEN, COLUMNS, Row, Table, read_table
from aevlp.text import counted

KEPT = re.compile(r"(?P<table>.+)\.(?P<what>before|added)-(?P<number>\d{1,9})\.(csv|parquet)")
"""Names that `kept_names` gives."""


def added(table: Path, found: Iterable[Found], source: Path, photos: PhotoIndex, report: Report) -> Collected:
    """The rows of a table, in its order, with what was found, and rows of further photos; the report is told how much is new.

    Raises:
        DataError: what was found names a photo or a class that is not there, or contradicts the table.
    """
    from aevlp.data.as_called import as_called  # both import torch
    from aevlp.data.formats.arrays import read_class_names

    found = list(found)
    as_it_was = as_called(read_table(table), table, photos.root)
    before = _with_validation_split(as_it_was, found, table, report)
    listed = table.with_name("classes.txt")
    names = read_class_names(listed) if os.path.lexists(listed) else sorted({word for row in before.rows for word in row.words})
    together = itertools.chain(_as_found(table, before), _of_known_classes(found, names, table))
    misfits = Report()  # what it notes of photos and their mentions is known of the table
    collected = collect(together, source, photos, misfits, kept={row.image for row in before.rows}, in_order=True)
    for why in set(photos.problems.values()):  # of the folder, such as a dead link that neither table nor answers name
        misfits.left_out.counts.pop(why, None)
    for line in misfits.left_out.lines():
        raise DataError(f"{source}: {line}; nothing was changed. Are these the answers of another folder?")
    gains = [
        f"{sum(len(getattr(row, of)) for row in collected.rows) - sum(len(getattr(row, of)) for row in before.rows):,} {of}"
        for of in ("known", "absent")
    ]
    report.sentences.append(f"new labels: {', '.join(gains)}")
    rows = _with_drawn_labels(as_it_was, collected.rows, table, any(one.row.split for one in found), report)
    return Collected(rows, collected.classes, _further_cells(table, before.rows, len(rows), report))


def _with_validation_split(before: Table, found: list[Found], table: Path, report: Report) -> Table:
    """The table, with the fifth that validates written down where no row says so: new labels would draw another one.

    Nothing is written down where what is found has photos that validate, and never of a photo that it gives a split.
    """
    from aevlp.data.formats.folder import divide

    told = {one.row.image: one.row.split for one in found if one.row.split}
    if "val" in told.values() or any(row.split == "val" for row in before.rows):
        return before
    try:
        chosen = {row.image for row in divide(before.rows, table)["val"]} - told.keys()
    except DataError:  # too few labels to be divided
        return before
    report.sentences.append(f"split val is written down for the {len(chosen)} photos that validate so far, so that they stay")
    return replace(before, rows=[replace(row, split="val") if row.image in chosen else row for row in before.rows])


def _with_drawn_labels(before: Table, rows: list[Row], table: Path, moves: bool, report: Report) -> list[Row]:
    """The rows of `before`, and others behind them, with the label that runs have drawn of a photo's `labels` written down.

    A known label would take its place. Where photos change their split (`moves`), it is written down of all: the draw goes
    through a split row by row, and would be another one.
    """
    from aevlp.data.formats.folder import FolderConfig, class_list, divide, label_arrays

    asked = {
        old.image for old, new in zip(before.rows, rows, strict=False) if old.labels and not old.known and (moves or new.known)
    }
    if not asked:
        return rows
    try:
        names = class_list(FolderConfig(name="folder", root=str(table.parent)), table.parent, table, before.rows)
        parts = divide(before.rows, table)
    except DataError:  # no run can have drawn from it
        return rows
    drawn = {
        row.image: names[column]
        for part in parts.values()
        for row, column in zip(part, label_arrays(part, names)[0].argmax(axis=1), strict=True) if row.image in asked
    }  # fmt: skip
    report.sentences.append(f"of {counted(len(asked), 'photo', ',')} the label drawn so far is written down, so that it stays")
    return [replace(row, known=tuple(sorted({*row.known, drawn[row.image]}))) if row.image in drawn else row for row in rows]


def _further_cells(table: Path, before: list[Row], count: int, report: Report) -> list[list[str]]:
    """Names and cells of the columns of a CSV table that mean nothing here, in `count` rows, the first of which are `before`."""
    if table.suffix == ".parquet":
        return []
    lines = (line for line in rows_of(table) if any(map(str.strip, line[1])))
    names = next(lines)[1]
    places = [i for i, name in enumerate(names) if _means_nothing(name)]
    if not places:
        return []
    cells = {number: [words[i] for i in places] for number, words in lines}
    if len(cells) > len(before):
        shown = ", ".join(repr(names[i]) for i in places)
        report.sentences.append(f"of photos in several lines, the columns {shown} keep what the first line says")
    kept = [cells[row.line] for row in before]
    return [[names[i] for i in places], *kept, *[[""] * len(places)] * (count - len(before))]


def lost_columns(table: Path) -> list[str]:
    """Names of the columns of a Parquet table that one written anew has no more: they may hold anything."""
    if table.suffix != ".parquet":
        return []
    return [name for name in next(parquet_rows(table, COLUMNS, BETWEEN))[1] if _means_nothing(name)]


def _means_nothing(column: str) -> bool:
    return column.strip().casefold() not in COLUMNS


def kept_names(table: Path) -> tuple[str, str]:
    """Names, not yet taken beside a table, for it as it was and for what is added to it."""
    for number in itertools.count(1):
        names = f"{table.stem}.before-{number}{table.suffix}", f"{table.stem}.added-{number}.csv"
        if not any(os.path.lexists(table.with_name(name)) for name in names):
            break
    return names


def _as_found(table: Path, before: Table) -> Iterator[Found]:
    # Those of no split of their own train; what is found may move them to another.
    return (Found(table, replace(row, split="" if row.split == "train" else row.split)) for row in before.rows)


def _of_known_classes(found: Iterable[Found], names: list[str], table: Path) -> Iterator[Found]:
    known = set(names)
    for one in found:
        for word in one.row.words:
            if word not in known:
                raise DataError(f"{one.where}: class {word!r} is not in {table}{suggest(word, names)}; nothing was changed")
        yield one
