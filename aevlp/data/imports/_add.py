"""What is added to a table that is there: all of it, or, where anything does not fit, nothing."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from aevlp.config.errors import DataError, suggest
from aevlp.data.imports._base import Found, Report
from aevlp.data.imports._collect import Collected, collect
from aevlp.data.locate import PhotoIndex
from aevlp.data.table import Table, read_table, table_lines
from aevlp.output import output_files


def added(table: Path, found: Iterable[Found], source: Path, report: Report) -> Collected:
    """The rows of a table with what was found.

    Raises:
        DataError: there is no table; or what was found names a photo or a class that is not there, or contradicts the table.
    """
    before = read_table(table)
    listed = table.with_name("classes.txt")
    from aevlp.data.formats.arrays import read_class_names

    names = read_class_names(listed) if os.path.lexists(listed) else sorted({word for row in before.rows for word in row.words})
    rows = itertools.chain(_as_found(table, before), _of_known_classes(found, names, table))
    misfits = Report()  # what it notes of photos and their mentions is known of the table
    collected = collect(rows, source, PhotoIndex(table.parent), misfits)
    for line in misfits.left_out.lines():
        raise DataError(f"{source}: {line}; nothing was changed. Are these the answers of another folder?")
    gains = [
        f"{sum(len(getattr(row, of)) for row in collected.rows) - sum(len(getattr(row, of)) for row in before.rows):,} {of}"
        for of in ("known", "absent")
    ]
    report.sentences.append(f"new labels: {', '.join(gains)}")
    return collected


def write_with_backup(table: Path, collected: Collected, source: Path) -> tuple[Path, Path]:
    """Write the table, and beside it what it said before, and what was added with its sources; returns the paths of both."""
    number = next(i for i in itertools.count(1) if not any(os.path.lexists(path) for path in _kept(table, i)))
    backup, addition = _kept(table, number)
    with output_files(table.parent, table, "--root") as put:
        shutil.copyfile(table, put(backup.name))
        shutil.copyfile(source, put(addition.name))
        with put(table.name).open("w", encoding="utf-8", newline="") as file:
            file.writelines(table_lines(collected.rows))
    return backup, addition


def _kept(table: Path, number: int) -> tuple[Path, Path]:
    return table.with_name(f"{table.stem}.before-{number}.csv"), table.with_name(f"{table.stem}.added-{number}.csv")


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
