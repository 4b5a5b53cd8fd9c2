"""Open Images' human-verified image-level labels: confidence 1 is a known label, 0 a known absence."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from aevlp.config.errors import ConfigError, DataError
from aevlp.config.registry import register
from aevlp.config.schema import LocalPath
from aevlp.data.csv_lines import first_line, rows_of
from aevlp.data.imports._base import Found, ImportConfig, Report, split_in
from aevlp.data.locate import look_below
from aevlp.data.table import Row

COLUMNS = ("ImageID", "LabelName", "Confidence")
DESCRIPTIONS = "class-descriptions"
CONFIDENCES = {"1": True, "0": False, "1.0": True, "0.0": False}


class OpenImagesImport(ImportConfig):
    """What the classes are called."""

    names: LocalPath | None = None
    """CSV file with the name of each label; by itself, the *class-descriptions*.csv that lie beside."""

    partial: ClassVar[bool] = True

    @classmethod
    def recognises(cls, source: Path, files: list[str]) -> bool:
        """A CSV file with Open Images' columns, or a folder with one."""
        return any(set(COLUMNS) <= set(first_line(path)) for path in _tables(source, files))


@register("imports", "openimages", config=OpenImagesImport)
def read_openimages(config: OpenImagesImport, *, source: Path, report: Report) -> Iterator[Found]:
    """A row for the lines of an image that stand together, as they do in the releases; those apart are taken together later."""
    tables = [
        path
        for path in _tables(source, look_below(source).files if source.is_dir() else [])
        if set(COLUMNS) <= set(first_line(path))
    ]
    if not tables:
        raise DataError(f"{source}: has no columns {', '.join(COLUMNS)}")
    names = _names(config, source, report)
    for path in tables:
        yield from _read(path, names, report)


def _read(path: Path, names: dict[str, str], report: Report) -> Iterator[Found]:
    rows = rows_of(path)
    _, header = next(rows)
    image, label, confidence = map(header.index, COLUMNS)
    split, width = split_in(path.name), len(header)

    def checked() -> Iterator[tuple[int, str, str, bool]]:
        for line, words in rows:
            if len(words) != width:
                raise DataError(f"{path}:{line}: has {len(words)} fields instead of {width}")
            present = CONFIDENCES.get(words[confidence])
            if present is None:
                raise DataError(
                    f"{path}:{line}: confidence {words[confidence]!r} must be 1 or 0; only labels are read "
                    "that people verified, not those of machines"
                )
            name = names.get(words[label]) if names else words[label]
            if name is None:
                raise DataError(f"{path}:{line}: label {words[label]!r} has no name in the class descriptions")
            yield line, words[image], name, present

    for name, lines in itertools.groupby(checked(), key=lambda row: row[1]):
        said: dict[str, bool | None] = {}
        first = 0
        for line, _, word, present in lines:
            first = first or line
            if said.setdefault(word, present) is not present:
                said[word] = None
        for word in [word for word, present in said.items() if present is None]:
            report.notes.add(
                "{labels are|label is} verified, and refuted, and left unknown", f"{word} in {name} ({path}:{first})"
            )
        known, absent = (tuple(word for word, present in said.items() if present is truth) for truth in (True, False))
        yield Found(path, Row(first, name, known, absent, split=split))


def _tables(source: Path, files: list[str]) -> list[Path]:
    """CSV files, but for the descriptions of classes."""
    names = [name for name in files if name.lower().endswith(".csv")] if source.is_dir() else [""]
    return [source / name for name in names if DESCRIPTIONS not in (name or source.name)]


def _names(config: OpenImagesImport, source: Path, report: Report) -> dict[str, str]:
    """Name by label. Two labels of one name keep their label in it."""
    folder = source if source.is_dir() else source.parent
    paths = [Path(config.names)] if config.names else sorted(folder.glob(f"*{DESCRIPTIONS}*.csv"))
    names: dict[str, str] = {}
    for path in paths:
        try:
            for line, words in rows_of(path):
                if len(words) < 2:
                    raise DataError(f"{path}:{line}: must be a label and its name")
                if words[:2] != ["LabelName", "DisplayName"]:
                    names[words[0].strip()] = words[1].strip()
        except FileNotFoundError as error:
            raise ConfigError(f"--names {path}: no such file") from error
    if not paths:
        report.sentences.append(
            "no *class-descriptions*.csv lies beside it, so classes have names such as /m/0199g: --names FILE"
        )
    labels: dict[str, list[str]] = {}
    for label, name in names.items():
        labels.setdefault(name, []).append(label)
    return {label: name if len(labels[name]) == 1 else f"{name} ({label})" for label, name in names.items()}
