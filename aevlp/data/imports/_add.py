"""What is added to a table that is there: all of it, or, where anything does not fit, nothing."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from aevlp.config.errors import DataError, suggest
from aevlp.data.imports._base import Found, Report
from aevlp.data.imports._collect import Collected, collect
from aevlp.data.locate import PhotoIndex
from aevlp.data.table import Table, read_table


def added(table: Path, found: Iterable[Found], source: Path, photos: PhotoIndex, report: Report) -> Collected:
    """The rows of a table with what was found; the report is told how much is new.

    Raises:
        DataError: what was found names a photo or a class that is not there, or contradicts the table.
    """
    from aevlp.data.as_called import as_called  # both import torch
    from aevlp.data.formats.arrays import read_class_names

    found = list(found)
    before = as_called(read_table(table), table, photos.root)
    before = _with_validation_split(before, found, table, report)
    listed = table.with_name("classes.txt")
    names = read_class_names(listed) if os.path.lexists(listed) else sorted({word for row in before.rows for word in row.words})
    rows = itertools.chain(_as_found(table, before), _of_known_classes(found, names, table))
    misfits = Report()  # what it notes of photos and their mentions is known of the table
    collected = collect(rows, source, photos, misfits, kept={row.image for row in before.rows})
    for why in set(photos.problems.values()):  # of the folder, such as a dead link that neither table nor answers name
        misfits.left_out.counts.pop(why, None)
    for line in misfits.left_out.lines():
        raise DataError(f"{source}: {line}; nothing was changed. Are these the answers of another folder?")
    gains = [
        f"{sum(len(getattr(row, of)) for row in collected.rows) - sum(len(getattr(row, of)) for row in before.rows):,} {of}"
        for of in ("known", "absent")
    ]
    report.sentences.append(f"new labels: {', '.join(gains)}")
    return collected


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
