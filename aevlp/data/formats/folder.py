"""Photos of your own: a folder with images and a `labels.csv`, one positive label an image.

    image,label,split,labels
    cats/one.jpg,cat,train,
    two.jpg,dog,test,dog|person

    image    name relative to the folder
    label    the one positive that is known; in rows with `labels` it may be empty, and one of them is drawn
    split    train, val or test (optional). Without val rows a fifth of the training rows validates; without test rows
             nothing is tested
    labels   all positives, separated by | (optional). A split knows its full labels if each of its rows has them

A split without full labels is judged by its observed labels where it validates, and not at all where it tests.
"""

from __future__ import annotations

import csv
import io
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aevlp.config.errors import ConfigError, DataError, suggest
from aevlp.config.registry import register
from aevlp.data.dataset import Split, SPMLData
from aevlp.data.formats.arrays import ArraysConfig, arrays_folder, check_number, dataset_root, leads_outside, read_class_names
from aevlp.data.images import ImageFiles
from aevlp.data.protocol import draw_single_positives, split_train_val
from aevlp.data.quarantine import read_quarantine, without_bad_images
from aevlp.folders import user_path
from aevlp.input import read_text

SPLITS = ("train", "val", "test")
SEPARATORS = (",", ";", "\t")
LAYOUT = """
  FOLDER/
    labels.csv     image,label[,split][,labels]
    photo.jpg, any/sub/folder/photo.png ...
    classes.txt    one class a line (optional)
"""


class FolderConfig(ArraysConfig):
    """Settings of a folder of photos."""

    table: str = "labels.csv"
    """The CSV file, relative to the root or absolute."""


@dataclass(frozen=True)
class Row:
    """One line of the table: where it stands, and its words."""

    line: int
    image: str
    label: str
    split: str
    labels: tuple[str, ...]


def read_table(path: Path) -> list[Row]:
    """Rows of the CSV file; comma, semicolon or tab, with or without a byte order mark.

    Raises:
        DataError: naming the line, where a column, a word or a file name is wrong.
    """
    try:
        text = read_text(path, "utf-8-sig")
    except FileNotFoundError as error:
        raise DataError(
            f"{path}: no such file. Expected:\n{LAYOUT.strip(chr(10))}\n  and then: --set dataset.root=FOLDER"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as UTF-8 text: {error}") from error
    header = text.partition("\n")[0].strip()
    separator = max(SEPARATORS, key=header.count)
    reader = csv.reader(io.StringIO(text), delimiter=separator, strict=True)
    try:
        lines = [(reader.line_num, [word.strip() for word in words]) for words in reader if any(word.strip() for word in words)]
    except csv.Error as error:
        raise DataError(f"{path}:{reader.line_num}: not a CSV line: {error}") from error
    columns = lines[0][1] if lines else []
    for needed in ("image", "label"):
        if needed not in columns:
            raise DataError(
                f"{path}:1: the first line must name the columns image and label, is {header[:80]!r}{suggest(needed, columns)}"
            )
    unknown = [name for name in columns if name not in ("image", "label", "split", "labels")]
    if unknown or len(set(columns)) < len(columns):
        what = f"column {unknown[0]!r} is unknown" if unknown else "a column is named twice"
        raise DataError(f"{path}:1: {what}; there may be image, label, split and labels")
    rows = [_row(path, number, dict(zip(columns, words, strict=False)), len(words), len(columns)) for number, words in lines[1:]]
    first: dict[str, int] = {}
    for row in rows:
        if row.image in first:
            raise DataError(f"{path}:{row.line}: {row.image} stands in line {first[row.image]} already; give each image one line")
        first[row.image] = row.line
    if not rows:
        raise DataError(f"{path}: lists no image")
    return rows


def _row(path: Path, line: int, words: dict[str, str], count: int, expected: int) -> Row:
    if count != expected:
        raise DataError(f"{path}:{line}: has {count} fields instead of {expected}; a field that holds a separator needs quotes")
    image, label, split = words["image"], words["label"], words.get("split", "") or "train"
    labels = tuple(word.strip() for word in words.get("labels", "").split("|") if word.strip())
    if not image:
        raise DataError(f"{path}:{line}: names no image")
    if leads_outside(image):
        raise DataError(f"{path}:{line}: {image!r} leads out of the folder; names must be relative to it")
    if split not in SPLITS:
        raise DataError(f"{path}:{line}: split {split!r} is unknown{suggest(split, SPLITS)}")
    if not label and not labels:
        raise DataError(f"{path}:{line}: {image} has no label")
    if labels and label and label not in labels:
        raise DataError(f"{path}:{line}: label {label!r} is not among the labels {'|'.join(labels)}")
    return Row(line, image, label, split, labels)


def class_list(config: FolderConfig, root: Path, path: Path, rows: list[Row]) -> list[str]:
    """Class names: dataset.classes or classes.txt where there is one, else all labels of the table in alphabetical order."""
    listed = root / user_path(config.classes or "classes.txt", "dataset.classes")
    if config.classes is None and not os.path.lexists(listed):
        return check_number(sorted({word for row in rows for word in (*row.labels, row.label) if word}), path)
    names = read_class_names(listed)
    known = set(names)
    for row in rows:
        for word in (row.label, *row.labels):
            if word and word not in known:
                raise DataError(f"{path}:{row.line}: {word!r} is not in {listed}{suggest(word, names)}")
    return names


def label_arrays(rows: list[Row], class_names: list[str]) -> tuple[np.ndarray, np.ndarray | None]:
    """Observed labels (N,C) uint8, and the full ones, None unless every row has them."""
    column = {name: j for j, name in enumerate(class_names)}
    targets = np.zeros((len(rows), len(class_names)), dtype=np.uint8)
    for i, row in enumerate(rows):
        targets[i, [column[word] for word in row.labels or (row.label,)]] = 1
    observed = draw_single_positives(targets)
    for i, row in enumerate(rows):
        if row.label:
            observed[i] = 0
            observed[i, column[row.label]] = 1
    return observed, targets if all(row.labels for row in rows) else None


def divide(rows: list[Row]) -> dict[str, list[Row]]:
    """Rows by split; where none validates, a fifth of the training rows does, chosen as in the published protocol."""
    parts = {split: [row for row in rows if row.split == split] for split in SPLITS}
    if not parts["val"]:
        train, val = split_train_val(len(parts["train"]))
        parts["train"], parts["val"] = ([parts["train"][i] for i in part.tolist()] for part in (train, val))
    return parts


@register("datasets", "folder", config=FolderConfig)
def build_folder(config: FolderConfig) -> SPMLData:
    """Read the table of `dataset.root`."""
    root = dataset_root(config)
    path = root / user_path(config.table, "dataset.table")
    rows = read_table(path)
    class_names = class_list(config, root, path, rows)
    parts = divide(rows)
    bad, notes = read_quarantine(arrays_folder(config, root)), []

    def split(name: str, title: str) -> Split:
        observed, targets = label_arrays(parts[name], class_names)
        if name == "train" and config.train_labels == "full":
            if targets is None:
                lacking = next(row for row in parts[name] if not row.labels)
                raise ConfigError(
                    f"{path}:{lacking.line}: dataset.train_labels: full needs the column `labels` in every training row"
                )
            observed = targets
        files = ImageFiles(root / (config.images or ""), [row.image for row in parts[name]])
        index = np.arange(len(files))
        kept, note = without_bad_images(files, index, bad, title, config.on_bad_image, config.max_quarantined)
        notes.extend(note)
        names, lines = (np.array([getattr(row, key) for row in parts[name]])[kept] for key in ("image", "line"))
        return Split(ImageFiles(files.root, names.tolist(), lines), observed[kept], None if targets is None else targets[kept])

    return SPMLData(
        class_names=class_names,
        prompt_names=class_names,
        train=split("train", "training"),
        val=split("val", "validation"),
        test=split("test", "test") if parts["test"] else None,
        notes=notes,
    )
