"""What `run.py prepare folder` says of photos of your own, and the arrays it writes for programs that read those."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shlex
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np

from aevlp.command import COMMAND
from aevlp.data.formats.arrays import array_bytes
from aevlp.data.formats.folder import FolderConfig, class_list, divide, label_arrays, table_of
from aevlp.data.images import ImageFiles
from aevlp.data.locate import Photos
from aevlp.data.table import SPLITS, Row
from aevlp.input import open_file, require_file
from aevlp.layout import Sheet
from aevlp.terminal import Terminal

FEW = 10  # training positives; below that, average precision is noise and a head hardly learns


def survey(console: Terminal, root: Path) -> tuple[ImageFiles, dict[str, bytes | None]]:
    """Report splits, classes, duplicates and tiny classes of the table in `root`.

    Returns:
        all images, and the arrays by name of their file: None where the table has none, so that no earlier one stays.
    """
    config = FolderConfig(name="folder", root=str(root))
    known = table_of(root, root / config.table)
    rows = known.rows
    class_names = class_list(config, root, root / config.table, rows)
    parts = divide(rows)
    table = []
    for split in SPLITS:
        observed, targets = label_arrays(parts[split], class_names)
        seen = f"{int(observed.any(axis=0).sum())} of {len(class_names)}"
        table.append([split, f"{len(parts[split])}", seen, "no" if targets is None or not len(targets) else "yes"])
    console.table(Sheet("", ["folder", "images", "classes seen", "full labels"], table))
    if not parts["test"]:
        console.note("no row has split test: the run will have no test figures")
    for note in known.notes:
        console.note(note)
    for note in _written_otherwise(root, rows):
        console.note(note)
    positives = Counter(word for row in parts["train"] for word in row.known or row.labels)
    few = [f"{name} ({positives[name]})" for name in class_names if positives[name] < FEW]
    if few:
        more = f" and {len(few) - 10} more" if len(few) > 10 else ""
        console.note(f"fewer than {FEW} training images: {', '.join(few[:10])}{more}")
    for group in _duplicates(root, rows):
        where = {row.split for row in group}
        leak = ", across splits: the test then measures memory" if len(where) > 1 else ""
        console.note(
            f"the same file {len(group)} times{leak}: " + ", ".join(f"{row.image} (line {row.line})" for row in group[:5]),
        )
    return ImageFiles(root, [row.image for row in rows]), _contents(parts, class_names)


def _written_otherwise(root: Path, rows: list[Row]) -> list[str]:
    """Which photos are likely meant by names of which there is none, and what writes them as they are called."""
    absent = [row for row in rows if not os.path.lexists(root / row.image)]
    photos = Photos(root) if absent else None
    meant = [(row, photos.find(row.image)) for row in absent] if photos else []
    notes = [
        f"line {row.line} names {row.image}, which is not there; {other.photos[0]} is meant (the name has {other.differs})"
        for row, other in meant if len(other.photos) == 1
    ]  # fmt: skip
    table, folder = (shlex.quote(str(path)) for path in (root / "labels.csv", root))
    repair = f"{len(notes)} names are written otherwise; to write them anew: {COMMAND} import {table} --root {folder} --replace"
    return [*notes[:5], repair] if notes else []


def _contents(parts: dict[str, list[Row]], class_names: list[str]) -> dict[str, bytes | None]:
    contents = {}
    for split, rows in (("train", sorted(parts["train"] + parts["val"], key=lambda row: row.line)), ("val", parts["test"])):
        observed, targets = label_arrays(rows, class_names)
        arrays = {"images": np.array([row.image for row in rows], dtype=np.str_), "labels_obs": observed, "labels": targets}
        for part, array in arrays.items():
            contents[f"formatted_{split}_{part}.npy"] = array_bytes(array) if rows and array is not None else None
    return contents


def _duplicates(root: Path, rows: list[Row]) -> list[list[Row]]:
    """Groups of rows whose files are equal byte for byte."""
    by_size: dict[int, list[Row]] = defaultdict(list)
    for row in rows:
        with contextlib.suppress(OSError, ValueError):  # named by the check of all images
            by_size[require_file(root / row.image).st_size].append(row)
    by_content: dict[bytes, list[Row]] = defaultdict(list)
    for group in by_size.values():
        for row in group if len(group) > 1 else []:
            with contextlib.suppress(OSError), open_file(root / row.image) as file:
                by_content[hashlib.file_digest(file, "blake2b").digest()].append(row)
    return [group for group in by_content.values() if len(group) > 1]
