"""An import from beginning to end: read, check, write the table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from aevlp.config import registry
from aevlp.config.errors import ConfigError
from aevlp.data.imports._add import added, write_with_backup
from aevlp.data.imports._base import ImportConfig, Report
from aevlp.data.imports._collect import Collected, collect
from aevlp.data.locate import PhotoIndex
from aevlp.data.table import table_lines
from aevlp.input import open_file
from aevlp.output import output_file, require_place

TABLE = "labels.csv"


@dataclass(frozen=True)
class Imported:
    """The table that was written, or was there and says the same; its rows, and what is to be told of them."""

    table: Path
    collected: Collected
    report: Report


def import_table(config: ImportConfig, source: Path, root: Path, *, replace: bool = False) -> Imported:
    """Read `source` with the converter that `config` names, and write labels.csv into `root`.

    Raises:
        ConfigError: there is another table already, and `replace` is not set.
        DataError: the source is damaged, contradicts itself, or names no photo below `root`.
    """
    table, report = root / TABLE, Report()
    require_place(table, "--root")
    found = registry.build("imports", config, source=source, report=report)
    adds = config.adds and table.exists()
    if adds:
        collected = added(table, found, source, report)
    else:
        collected = collect(found, source, PhotoIndex(root), report, partial=config.partial)
    if not (table.exists() and _says(table, table_lines(collected.rows))):
        if adds:
            backup, addition = write_with_backup(table, collected, source)
            report.sentences.append(f"kept beside it: {backup.name}, as it was, and {addition.name}, what was added")
            return Imported(table, collected, report)
        if table.exists() and not replace:
            raise ConfigError(f"{table}: is there already and says something else; --replace writes over it")
        with output_file(table, "--root") as path, path.open("w", encoding="utf-8", newline="") as file:
            file.writelines(table_lines(collected.rows))
    return Imported(table, collected, report)


def _says(path: Path, lines: Iterable[str]) -> bool:
    with open_file(path) as file:
        return all(file.read(len(line)) == line for line in map(str.encode, lines)) and not file.read(1)
