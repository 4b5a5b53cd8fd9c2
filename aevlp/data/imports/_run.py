"""An import from beginning to end: read, check, write the table."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from aevlp.config import registry
from aevlp.config.errors import ConfigError, DataError
from aevlp.data.imports._add import KEPT, added, kept_names, lost_columns
from aevlp.data.imports._base import ImportConfig, Report
from aevlp.data.imports._collect import Collected, collect
from aevlp.data.locate import PhotoIndex
from aevlp.data.parquet_lines import require_parquet, write_parquet
from aevlp.data.table import TABLES, read_table, table_cells, table_lines
from aevlp.input import open_file
from aevlp.output import output_files, require_place
from aevlp.system import take_lock


@dataclass(frozen=True)
class Imported:
    """The table that was written, or was there and says the same; its rows, and what is to be told of them."""

    table: Path
    collected: Collected
    report: Report


def import_table(
    config: ImportConfig, source: Path, root: Path, *, name: str | None = None, replace: bool = False
) -> Imported:  # fmt: skip
    """Read `source` with the converter that `config` names, and write the table `name` into `root`.

    Without a name it is labels.csv, or that of TABLES which is there and is added to.

    Raises:
        ConfigError: `name` ends neither in .csv nor in .parquet; there is another table already, and `replace` is not set; what
            is added to has been there and is not.
        DataError: the source is damaged, contradicts itself, or names no photo below `root`; another import writes a table there.
    """
    if name is None:
        name = next((there for there in TABLES if config.adds and (root / there).exists()), TABLES[0])
    table, report = root / name, Report()
    if Path(name).name != name or table.suffix not in (".csv", ".parquet"):
        raise ConfigError(f"--table {name}: must be the name of a file that ends in .csv or .parquet; --root says where it lies")
    if table.suffix == ".parquet":
        require_parquet()
    require_place(table, "--root")
    with _alone(root):
        for other in TABLES:
            if name in TABLES and other != name and (root / other).exists():
                raise ConfigError(f"--table {name}: {root / other} is there already, and only one is read; move it away first")
        adds = config.adds and table.exists()
        if config.adds and not adds:
            _require_never_there(table)
        found = registry.build("imports", config, source=source, report=report)
        photos = PhotoIndex(root)
        collected = (
            added(table, found, source, photos, report) if adds
            else collect(found, source, photos, report, partial=config.partial, in_order=_is_same_file(source, table))
        )  # fmt: skip
        if not (table.exists() and _says(table, collected)):
            if table.exists() and not (replace or adds):
                raise ConfigError(f"{table}: is there already and says something else; --replace writes over it")
            with output_files(table.parent, table, "--root") as put:
                if table.exists():
                    for kept, name in zip((table, source) if adds else (table,), kept_names(table), strict=False):
                        shutil.copyfile(kept, put(name))
                        report.sentences.append(f"kept beside the table: {name}")
                if adds and (lost := lost_columns(table)):
                    report.sentences.append(f"columns that are not in the new table: {', '.join(map(repr, lost))}")
                _write(put(table.name), collected, parquet=table.suffix == ".parquet")
    return Imported(table, collected, report)


@contextlib.contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Lock the folder, which is there though the table be not, from before a table is read until one is written.

    DataError where another import has locked it, or the folder cannot be read.
    """
    try:
        folder = os.open(root, os.O_RDONLY)
    except OSError as error:
        raise DataError(f"{root}: cannot be read: {error.strerror}") from error
    try:
        if take_lock(folder) is False:
            raise DataError(f"{root}: another import writes a table here right now; nothing was changed, give the command again")
        yield
    finally:
        os.close(folder)


def _is_same_file(source: Path, table: Path) -> bool:
    return table.exists() and source.samefile(table)


def _require_never_there(table: Path) -> None:
    """ConfigError where a table is not there, but was: what would be added to it would begin a new one."""
    kept = [found for path in table.parent.iterdir() if (found := KEPT.fullmatch(path.name))]
    before = [found for found in kept if (found["table"], found["what"]) == (table.stem, "before")]
    if before:
        last = max(before, key=lambda found: int(found["number"]))[0]
        raise ConfigError(
            f"{table}: there is no such table, but {last}, as it was before an import: rename that, or move it away to begin a "
            "new table"
        )


def _write(path: Path, collected: Collected, *, parquet: bool) -> None:
    if parquet:
        write_parquet(path, table_cells(collected.rows))
    else:
        with path.open("w", encoding="utf-8", newline="") as file:
            file.writelines(table_lines(collected.rows, collected.further))


def _says(path: Path, collected: Collected) -> bool:
    if path.suffix == ".parquet":
        try:
            return list(table_cells(read_table(path).rows)) == list(table_cells(collected.rows))
        except DataError:  # damaged: whatever it said, it is something else
            return False
    lines = table_lines(collected.rows, collected.further)
    with open_file(path) as file:
        return all(file.read(len(line)) == line for line in map(str.encode, lines)) and not file.read(1)
