"""`import`: from any annotation export to the table, labels.csv or labels.parquet."""

from __future__ import annotations

import argparse
import itertools
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, cast

from aevlp.command import COMMAND
from aevlp.config import registry
from aevlp.config.draft import Draft
from aevlp.config.errors import ConfigError, DataError
from aevlp.config.loading import setting_value
from aevlp.config.validation import validate_model
from aevlp.text import counted, say
from aevlp.verbs._flags import add_set

if TYPE_CHECKING:
    from aevlp.data.imports._base import ImportConfig
    from aevlp.data.table import Row

HELP = "write labels.csv from class folders, COCO, VOC, YOLO, Label Studio, Open Images or another CSV"
SETTINGS = {
    "image": "column, or key, that names the photo",
    "label": "column of the known label",
    "absent": "column of known absences",
    "labels": "column of all labels",
    "split": "column of the split",
    "names": "file with the names of the classes",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags."""
    parser.add_argument("source", type=Path, metavar="SOURCE", help="the export: a file or a folder")
    parser.add_argument(
        "--from", dest="kind", metavar="KIND", help="kind of export, as `list imports` names them (default: guessed)"
    )
    parser.add_argument(
        "--root", type=Path, metavar="FOLDER", help="folder of the photos, where the table goes (default: SOURCE, or its folder)"
    )
    parser.add_argument("--table", metavar="NAME", help="labels.csv (the default), labels.parquet, or another name")
    parser.add_argument(
        "--replace", action="store_true", help="write over a table that says something else, and keep that beside it"
    )
    for name, text in SETTINGS.items():
        parser.add_argument(f"--{name}", metavar=name.upper(), help=text)
    add_set(parser, "further settings of a converter", form="key=value")


def run(arguments: argparse.Namespace) -> int:
    """Import, and say what came of it; 1 where something was left out."""
    source = arguments.source
    if not os.path.exists(source):
        raise ConfigError(f"{source}: no such file or folder")
    if arguments.root is not None and not arguments.root.is_dir():
        raise DataError(f"--root {arguments.root}: there is no such folder")
    from aevlp.data.imports._guess import guess
    from aevlp.data.imports._run import import_table
    from aevlp.data.table import SPLITS, TABLES

    kind = arguments.kind or guess(source)
    config = _config(kind, arguments)
    root = arguments.root or (source if source.is_dir() else _folder_of(source, config))
    imported = import_table(config, source, root, name=arguments.table, replace=arguments.replace)
    rows, report = imported.collected.rows, imported.report
    splits = {split: sum(row.split == split for row in rows) for split in SPLITS}
    say(
        f"{kind:12} {source}",
        f"photos       {len(rows):,} below {root}",
        f"classes      {len(imported.collected.classes):,}",
        f"labels       {_labels(imported.collected.rows)}",
        f"splits       {', '.join(f'{split} {count:,}' for split, count in splits.items() if count)}",
    )
    for line in [*report.sentences, *report.notes.lines()]:
        say(f"note  {line}", error=True)
    for line in report.left_out.lines():
        say(f"left out  {line}", error=True)
    known = imported.table.name in TABLES
    command = f"prepare folder --root {shlex.quote(str(root))}" if known else _training(root, imported.table.name)
    say(f"table        {imported.table}", f"next         {COMMAND} {command}")
    return 1 if report.left_out.counts else 0


def _training(root: Path, table: str) -> str:
    """The words that train on a table of another name, at which `prepare` does not look."""
    return f"--exp folder_gpr --set dataset.root={setting_value(root)} dataset.table={setting_value(table)}"


def _folder_of(source: Path, config: ImportConfig) -> Path:
    """The folder of a file, where one of the first photos that it names lies there; ConfigError where none does."""
    from aevlp.data.imports._base import Report

    folder = source.parent
    for one in itertools.islice(registry.build("imports", config, source=source, report=Report()), 100):
        name = one.row.image.replace("\\", "/")
        if any((folder / place).is_file() for place in (name, name.rpartition("/")[2])):
            return folder
    raise ConfigError(f"{source}: is no folder of photos, and names none beside it; say where they are: --root FOLDER")


def _config(kind: str, arguments: argparse.Namespace) -> ImportConfig:
    given = {name: f"--{name} {getattr(arguments, name)}" for name in SETTINGS if getattr(arguments, name) is not None}
    values = {"name": kind} | {name: getattr(arguments, name) for name in given}
    for word in arguments.overrides:
        key, equals, value = word.partition("=")
        if not equals:
            raise ConfigError(f"--set {word}: must be key=value")
        values[key], given[key] = value, f"--set {word}"
    return cast("ImportConfig", validate_model(registry.get("imports", kind).config, Draft(values, given)))


def _labels(rows: list[Row]) -> str:
    none = sum(not row.words for row in rows)
    counts = {"known": sum(len(row.known) for row in rows), "absent": sum(len(row.absent) for row in rows)}
    told = [f"{count:,} {what}" for what, count in counts.items() if count]
    if full := sum(bool(row.labels) for row in rows):
        told.append(f"{sum(len(row.labels) for row in rows):,} that are all of {counted(full, 'photo', ',')}")
    return ", ".join(told) + (f"; {counted(none, 'photo', ',')} without any" if none else "")
