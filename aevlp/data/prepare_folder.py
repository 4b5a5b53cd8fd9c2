"""What `run.py prepare folder` says of photos of your own, and the arrays it writes for programs that read those."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from aevlp.config.errors import DataError
from aevlp.data.advice import CLASSES, advice, contradiction
from aevlp.data.as_called import TablePhotos, all_names
from aevlp.data.decoding import HEIC_NEEDS, is_heic, knows_heic
from aevlp.data.duplicates import alike, same_files
from aevlp.data.formats.arrays import array_bytes, prompt_names_of
from aevlp.data.formats.folder import (
    FolderConfig,
    all_drawn_to_validate,
    class_list,
    divide,
    label_arrays,
    split_arrays,
    table_of,
    table_path,
)
from aevlp.data.images import picture_of
from aevlp.data.imports._guess import import_command
from aevlp.data.locate import PhotoIndex
from aevlp.data.table import SPLITS, Row
from aevlp.layout import Sheet
from aevlp.terminal import Terminal
from aevlp.text import are, counted, listed

LAYOUT = """
  FOLDER/
    labels.csv     image,label[,absent][,labels][,split]     (or labels.parquet)
    photo.jpg, any/sub/folder/photo.png ...
    classes.txt    one class a line (optional)
    prompt_names.csv    class,words for CLIP to read instead (optional)
"""


@dataclass
class Survey:
    """The photos of a table, and what has to be told of them."""

    root: Path
    rows: list[Row]
    part_of: dict[str, str]
    """The split of each photo, by its name."""
    images: TablePhotos
    contents: dict[str, bytes | None]
    """Arrays and class names by name of their file: None where the table has none, so that no earlier one stays."""
    hashes: dict[int, int] = field(default_factory=dict)
    """Perceptual hashes of the photos that were looked at, by row; empty where nothing computes them."""

    def look_at(self, row: int, pixels: Tensor) -> None:
        """Take the perceptual hash of a photo, uint8 (3,H,W)."""
        imagehash = _imagehash()
        if imagehash is not None:
            picture = picture_of(pixels)
            self.hashes[row] = int(str(imagehash.phash(picture)), 16)

    def twice(self) -> Iterator[str]:
        """A line for each group of photos that are the same file, or nearly the same picture in different splits."""
        file_of: dict[int, int] = {}
        for group in same_files(self.root, [row.image for row in self.rows]):
            file_of |= dict.fromkeys(group, group[0])
            yield f"the same file {len(group)} times{self._what_is_wrong(group)}"
        for group in alike(self.hashes):
            across = self._what_is_wrong(group)
            if len({file_of.get(row, row) for row in group}) > 1 and "across splits" in across:
                yield f"nearly the same picture{across}"
        if self.rows and not self.hashes and _imagehash() is None:
            yield "photos that are nearly the same are not looked for: pip install 'aevlp[photos]'"

    def _what_is_wrong(self, group: list[int]) -> str:
        rows = [self.rows[i] for i in group]
        parts = {self.part_of[row.image] for row in rows}
        leak = f", across splits ({', '.join(sorted(parts))}): what is measured there is memory" if len(parts) > 1 else ""
        names = listed([f"{row.image} (line {row.line})" for row in rows], 5)
        return f"{leak}{contradiction(rows)}: {names}"


def survey(console: Terminal, root: Path) -> Survey:
    """Report splits, classes and what is known of the photos in the table of `root`."""
    config = FolderConfig(name="folder", root=str(root))
    path = table_path(config, root)
    if not os.path.lexists(path) and import_command(root) is None:
        raise DataError(f"{path}: no such file. Expected:\n{LAYOUT.strip(chr(10))}\n  and then: --set dataset.root=FOLDER")
    known = table_of(config, root, path)
    class_names = class_list(config, root, path, known.rows)
    parts = divide(known.rows, path)
    table, counts, drawn = [], {}, {}
    for split in SPLITS:
        observed, targets = split_arrays(split, parts[split], class_names)
        drawn[split] = observed
        there, absent = observed > 0, observed < 0
        judged = there if targets is None or split == "train" else targets > 0
        counts[split] = judged.sum(axis=0).tolist()
        seen, told = f"{sum(map(bool, counts[split]))} of {len(class_names)}", targets is not None and len(targets)
        numbers = [len(parts[split]), int(there.sum()), int(absent.sum()), int((~there & ~absent).all(axis=1).sum())]
        table.append([split, *map(str, numbers), seen, "yes" if told else "no"])
    header = ["folder", "photos", "known there", "known absent", "nothing known", "classes seen", "all labels told"]
    console.table(Sheet("", header, table))
    advised = advice(parts, class_names, counts, prompt_names_of(config, root, class_names))
    for note in (*known.notes, *all_drawn_to_validate(parts), *advised):
        console.note(note)
    for note in _left_out(PhotoIndex(root), known.rows):
        console.note(note)
    part_of = {row.image: split for split in SPLITS for row in parts[split]}
    names, lines = ([getattr(row, key) for row in known.rows] for key in ("image", "line"))
    photos = TablePhotos(root, names, path, np.array(lines), all_names(known.rows))
    return Survey(root, known.rows, part_of, photos, _contents(parts, class_names, drawn))


def _left_out(photos: PhotoIndex, rows: list[Row]) -> Iterator[str]:
    """What lies in the folder and is not used, and why."""
    named = {os.path.normpath(row.image) for row in rows}
    others = [name for name in photos if name not in named]
    if others:
        count = f"{counted(len(others), 'photo', ',')} {are(len(others))}"
        yield f"{count} left out, as the table does not name {'it' if len(others) == 1 else 'them'}: {listed(others, 3)}"
    heic = [name for name in others if is_heic(name)]
    if heic and not knows_heic():
        yield f"{listed(heic, 3)}: {HEIC_NEEDS}"
    for name, why in photos.problems.items():
        if name not in named:
            yield f"{name} is left out ({why})"
    if links := photos.listing.links:
        yield f"links to folders are not followed: {listed(links, 3)}"


def _contents(parts: dict[str, list[Row]], class_names: list[str], drawn: dict[str, np.ndarray]) -> dict[str, bytes | None]:
    """The arrays; observed labels are those `drawn` by split, as in a run: a draw through train and val together is another."""
    contents: dict[str, bytes | None] = {}
    for split, several in (("train", ("train", "val")), ("val", ("test",))):
        rows = [row for part in several for row in parts[part]]
        order = np.argsort([row.line for row in rows], kind="stable")
        rows, observed = [rows[i] for i in order], np.concatenate([drawn[part] for part in several])[order]
        _, targets = label_arrays(rows, class_names)
        arrays = {"images": np.array([row.image for row in rows], dtype=np.str_), "labels_obs": observed, "labels": targets}
        for part, array in arrays.items():
            contents[f"formatted_{split}_{part}.npy"] = array_bytes(array) if rows and array is not None else None
    return contents | {CLASSES: ("\n".join(class_names) + "\n").encode()}


@cache
def _imagehash() -> Any:
    try:
        import imagehash
    except ModuleNotFoundError:
        return None
    return imagehash
