"""A CSV file with columns of other names: --image filename --label class."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from aevlp.config.errors import ConfigError, DataError, suggest
from aevlp.config.registry import register
from aevlp.data.column_names import COMMON, GUESSES, is_of_label, is_of_predict, line_above
from aevlp.data.csv_lines import first_line, rows_of
from aevlp.data.imports._base import AS_KNOWN, Found, ImportConfig, Report, split_of
from aevlp.data.table import SPLITS, Row, names_in


class CSVImport(ImportConfig):
    """Which columns to read; by themselves, those with common names."""

    image: str | None = None
    """Column with the name of the photo."""
    label: str | None = None
    """Column with what is known to be in it; several are separated by |."""
    absent: str | None = None
    """Column with what is known not to be in it."""
    labels: str | None = None
    """Column with all that is in it."""
    split: str | None = None
    """Column with train, val or test."""

    @classmethod
    def recognises(cls, source: Path, files: list[str]) -> bool:
        """A CSV file, but for Open Images' and for answers of a review."""
        if source.suffix.lower() not in (".csv", ".tsv") or not source.is_file():
            return False
        header = first_line(source)
        return "ImageID" not in header and "answer" not in {name.strip().casefold() for name in header}


@register("imports", "csv", config=CSVImport)
def read_csv(config: CSVImport, *, source: Path, report: Report) -> Iterator[Found]:
    """A row of the file is one of the table."""
    rows = rows_of(source)
    _, header = next(rows, (1, []))
    columns = _columns(config, source, header)
    predicted = is_of_predict(source, header)
    if predicted or is_of_label(header):
        report.sentences.append(f"labels written by `{'predict' if predicted else 'label'}` are {GUESSES}; {AS_KNOWN}")
    aside = [name for i, name in enumerate(header) if i not in columns.values()]
    if aside and not predicted:
        report.sentences.append(f"columns that are not read, and not in the table: {', '.join(map(repr, aside))}")
    for line, words in rows:
        if len(words) != len(header):
            raise DataError(
                f"{source}:{line}: has {len(words)} fields instead of {len(header)}; a field that holds a separator needs quotes"
            )
        cells = {name: words[column].strip() for name, column in columns.items()}
        known, absent, labels = (names_in(cells.get(name, "")) for name in ("label", "absent", "labels"))
        if predicted:
            known, labels = labels, ()
        if not cells["image"]:
            raise DataError(f"{source}:{line}: names no image")
        yield Found(source, Row(line, cells["image"], known, absent, labels, _split(source, line, cells.get("split", ""))))


def _columns(config: CSVImport, source: Path, header: list[str]) -> dict[str, int]:
    """Which of the columns is which."""
    names = [name.strip().casefold() for name in header]
    columns = {}
    said = {column: given.strip().casefold() for column in COMMON if (given := getattr(config, column)) is not None}
    for column, common in COMMON.items():
        if column in said and said[column] not in names:
            given = getattr(config, column)
            raise ConfigError(f"--{column} {given}: {source} has no such column{suggest(given, header)}")
        guesses = [name for name in common if name not in said.values()]  # what was said to be one thing is no other
        found = next((name for name in ([said[column]] if column in said else guesses) if name in names), None)
        if found is not None:
            if names.count(found) > 1:
                raise DataError(f"{source}:1: column {found!r} is named twice")
            columns[column] = names.index(found)
    if "image" not in columns or not {"label", "labels"} & columns.keys():
        remedy = line_above(source, header) or "Say which they are: --image NAME --label NAME"
        shown = ",".join(header)[:80]
        raise DataError(f"{source}:1: the first line must name the columns, such as image,label; it is {shown!r}. {remedy}")
    return columns


def _split(source: Path, line: int, word: str) -> str:
    if not word:
        return ""
    split = split_of(word)
    if split is None:
        raise DataError(f"{source}:{line}: split {word!r} is unknown{suggest(word, SPLITS)}")
    return split
