"""Photos of your own: a folder with images and a table of what is known of each (see `aevlp.data.table`).

Without val rows a fifth of the training rows that have a label validates, but for the only photo of a class; without test rows
nothing is tested. A split knows its full labels if each of its rows has them. Without, it is judged by its known labels, and a
row with full labels gives them all.
With dataset.known a share, or numbers of labels, what is known is drawn from the full labels, which each row then needs.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import numpy as np

from aevlp.config.errors import DataError, NoFullLabelsError, suggest
from aevlp.config.registry import register
from aevlp.config.schema import Draw, KnownLabels, PathBelow
from aevlp.data.as_called import TablePhotos, all_names, as_called
from aevlp.data.dataset import Split, SPMLData
from aevlp.data.formats.arrays import ArraysConfig, arrays_folder, check_number, dataset_root, prompt_names_of, read_class_names
from aevlp.data.imports._guess import import_command
from aevlp.data.protocol import observe, split_train_val
from aevlp.data.quarantine import read_quarantine, without_bad_images
from aevlp.data.table import SPLITS, TABLES, Row, Table, read_table
from aevlp.text import listed

NAMED = 10  # classes in a note


class FolderConfig(ArraysConfig):
    """Settings of a folder of photos."""

    classes: PathBelow | None = None
    """File with one class name a line, relative to the root or absolute; null takes classes.txt, else all labels of the table."""
    table: PathBelow | None = None
    """The table, a CSV or Parquet file, relative to the root or absolute; null takes labels.csv or labels.parquet."""


def table_path(config: FolderConfig, root: Path) -> Path:
    """The table's file, whether there is one or not; DataError where there are two, or one that is called nearly so."""
    if config.table is not None:
        return root / config.table
    there = [root / name for name in TABLES if os.path.lexists(root / name)]
    if len(there) > 1:
        raise DataError(f"{there[0]}: there is {there[1].name} too; remove one of the two")
    if not there:
        _refuse_nearly_called(root)
    return there[0] if there else root / TABLES[0]


def _refuse_nearly_called(root: Path) -> None:
    """DataError for Labels.CSV, and for labels.csv.txt, of which a system that hides suffixes shows labels.csv."""
    try:
        names = sorted(os.listdir(root))
    except OSError:  # absent, or not to be read: told by whoever reads it
        return
    for name in names:
        for table in TABLES:
            if name.casefold() in (table, f"{table}.txt", f"{table}.csv"):
                raise DataError(f"{root / table}: no such file, but {name}; rename it {table}")


def table_of(config: FolderConfig, root: Path, path: Path) -> Table:
    """The table at `path`, with the names that the photos have where they are written otherwise.

    Raises:
        DataError: as of `read_table`; there is none, but annotations that it can be made of, by a command that is told.
    """
    command = None if os.path.lexists(path) else import_command(root)
    if command is not None:
        raise DataError(f"{path}: no such file, but annotations that it can be made of: {command}")
    photos = photos_folder(config, root)
    return as_called(read_table(path, photos), path, photos)


def photos_folder(config: FolderConfig, root: Path) -> Path:
    """The folder that names in the table are relative to."""
    return root / (config.images or "")


def class_list(config: FolderConfig, root: Path, path: Path, rows: list[Row]) -> list[str]:
    """Class names: dataset.classes or classes.txt where there is one, else all labels of the table in alphabetical order."""
    listed = root / (config.classes or "classes.txt")
    if config.classes is None and not os.path.lexists(listed):
        names = check_number(sorted({word for row in rows for word in row.words}), path)
        if not names:
            raise DataError(f"{path}: no row has a label; give some photos one")
        return names
    names = read_class_names(listed)
    known = set(names)
    for row in rows:
        for word in row.words:
            if word not in known:
                raise DataError(f"{path}:{row.line}: {word!r} is not in {listed}{suggest(word, names)}")
    return names


def label_arrays(
    rows: list[Row], class_names: list[str], known: KnownLabels = "single", draw: Draw = "uniform"
) -> tuple[np.ndarray, np.ndarray | None]:
    """Observed labels (N,C) int8, and the full ones uint8, None unless every row tells all.

    What a photo's columns `label` and `absent` say is known. Of a photo with `labels` and none of them as the known one, one is
    drawn (`single`), as in the published protocol, or all are known (`given`), there and absent. Other ways of `known` draw from
    the full labels of every row, whatever the other columns say.
    """
    column = {name: j for j, name in enumerate(class_names)}
    targets = np.zeros((len(rows), len(class_names)), dtype=np.uint8)
    observed = np.zeros(targets.shape, dtype=np.int8)
    for i, row in enumerate(rows):
        targets[i, [column[word] for word in row.labels or row.known]] = 1
        observed[i, [column[word] for word in row.known]] = 1
        observed[i, [column[word] for word in row.absent]] = -1
    names, whole = [row.image for row in rows], all(row.tells_all(len(class_names)) for row in rows)
    if not isinstance(known, str):
        return observe(targets, names, class_names, known, draw), targets if whole else None
    told = np.array([bool(row.labels) for row in rows], dtype=bool)
    chosen = told if known == "given" else told & (observed <= 0).all(axis=1)
    if chosen.any():
        # The draw goes through all rows. Those without `labels` are empty to it, whatever is known of them: what is learnt of
        # one photo then moves the label of no other.
        drawn = observe(targets * told[:, None], names, class_names, known, draw)
        observed = np.where((observed == 0) & chosen[:, None], drawn, observed)
    return observed, targets if whole else None


def split_arrays(
    split: str, rows: list[Row], class_names: list[str], known: KnownLabels = "single", draw: Draw = "uniform"
) -> tuple[np.ndarray, np.ndarray | None]:
    """`label_arrays` of a split, as a run has them.

    One label drawn of a row that tells all is for comparisons; a split that cannot be judged in full takes all it is told.
    """
    mixed = split != "train" and not all(row.tells_all(len(class_names)) for row in rows)
    return label_arrays(rows, class_names, "given" if mixed and known == "single" else known, draw)


def divide(rows: list[Row], path: Path) -> dict[str, list[Row]]:
    """Rows by split; where none validates, a fifth of the labelled training rows does, chosen as in the published protocol.

    Of these the only photo of a class stays in training, unless none would be left to validate with.

    Raises:
        DataError: of the table at `path`, where nothing is left to train on or to validate with.
    """
    parts = {split: [row for row in rows if row.split == split] for split in SPLITS}
    if not parts["val"]:
        labelled = [row for row in parts["train"] if row.present]
        photos = Counter(word for row in labelled for word in row.present)
        drawn = [labelled[i] for i in split_train_val(len(labelled))[1].tolist()]
        # None takes the place of a photo that stays: where each class has two photos or more, the draw is the published one.
        to_spare = [row for row in drawn if all(photos[word] > 1 for word in row.present)]
        validating = {row.image for row in to_spare or drawn}
        parts["val"] = [row for row in parts["train"] if row.image in validating]
        parts["train"] = [row for row in parts["train"] if row.image not in validating]
    for split, title in (("train", "train on"), ("val", "validate with")):
        if not any(row.present for row in parts[split]):
            raise DataError(f"{path}: of {len(rows)} photos none with a label is left to {title}; label more, or set their split")
    return parts


def all_drawn_to_validate(parts: dict[str, list[Row]]) -> list[str]:
    """A note of the classes that the draw of `divide` leaves no training photo of, if there are any."""
    drawn = {word for row in parts["val"] if row.split == "train" for word in row.present}
    lost = sorted(drawn - {word for row in parts["train"] for word in row.present})
    if not lost:
        return []
    it = "it" if len(lost) == 1 else "them"
    return [
        f"all photos labelled {listed(lost, NAMED)} were drawn to validate: only pseudo-labels can teach {it}; label more, or "
        "say in the column split who validates"
    ]


@register("datasets", "folder", config=FolderConfig)
def build_folder(config: FolderConfig) -> SPMLData:
    """Read the table of `dataset.root`."""
    root = dataset_root(config)
    path = table_path(config, root)
    table = table_of(config, root, path)
    rows = table.rows
    class_names = class_list(config, root, path, rows)
    parts, known = divide(rows, path), all_names(rows)
    bad, notes = read_quarantine(arrays_folder(config, root)), [*table.notes, *all_drawn_to_validate(parts)]

    def split(name: str, title: str) -> Split:
        observed, targets = split_arrays(name, parts[name], class_names, config.known, config.draw)
        whole = name == "train" and config.train_labels == "full"
        if targets is None and (whole or not isinstance(config.known, str)):
            lacking = next(row for row in parts[name] if not row.tells_all(len(class_names)))
            setting = "train_labels: full" if whole else "known: what is drawn from full labels"
            raise NoFullLabelsError(f"{path}:{lacking.line}: dataset.{setting} needs the column `labels` in every {title} row")
        if whole and targets is not None:
            observed = targets.astype(np.int8)
        names, lines = ([getattr(row, key) for row in parts[name]] for key in ("image", "line"))
        files = TablePhotos(photos_folder(config, root), names, path, np.array(lines), known)
        index = np.arange(len(files))
        kept, note = without_bad_images(files, index, bad, title, config.on_bad_image, config.max_quarantined)
        notes.extend(note)
        photos = TablePhotos(files.root, files.names[kept].tolist(), path, files.rows[kept], known)
        left_out = frozenset(np.delete(files.names, kept).tolist())
        return Split(photos, observed[kept], None if targets is None else targets[kept], left_out)

    return SPMLData(
        class_names=class_names,
        prompt_names=prompt_names_of(config, root, class_names),
        train=split("train", "training"),
        val=split("val", "validation"),
        test=split("test", "test") if parts["test"] else None,
        notes=notes,
    )
