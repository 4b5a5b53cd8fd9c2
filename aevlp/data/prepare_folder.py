"""What `run.py prepare folder` says of photos of your own, and the arrays it writes for programs that read those."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
from rich.table import Table

from aevlp.data.formats.arrays import array_bytes, write_aside
from aevlp.data.formats.folder import SPLITS, FolderConfig, Row, class_list, divide, label_arrays, read_table
from aevlp.data.images import ImageFiles
from aevlp.terminal import Terminal

FEW = 10  # training positives; below that, average precision is noise and a head hardly learns


def survey(console: Terminal, root: Path, out: Path) -> ImageFiles:
    """Report splits, classes, duplicates and tiny classes of the table in `root`; write arrays to `out`; return all images."""
    from aevlp.data.prepare import say

    config = FolderConfig(name="folder", root=str(root))
    rows = read_table(root / config.table)
    class_names = class_list(config, root, root / config.table, rows)
    parts = divide(rows)
    _write(console, out, parts, class_names)
    table = Table(box=None, pad_edge=False)
    table.add_column("folder")
    for title in ("images", "classes seen", "full labels"):
        table.add_column(title, justify="right")
    for split in SPLITS:
        observed, targets = label_arrays(parts[split], class_names)
        seen = f"{int(observed.any(axis=0).sum())} of {len(class_names)}"
        table.add_row(split, f"{len(parts[split])}", seen, "no" if targets is None or not len(targets) else "yes")
    console.print(table)
    if not parts["test"]:
        say(console, "no row has split test: the run will have no test figures")
    positives = Counter(row.label for row in parts["train"])
    few = [f"{name} ({positives[name]})" for name in class_names if positives[name] < FEW]
    if few:
        more = f" and {len(few) - 10} more" if len(few) > 10 else ""
        say(console, f"fewer than {FEW} training images: {', '.join(few[:10])}{more}")
    for group in _duplicates(root, rows):
        where = {row.split for row in group}
        leak = ", across splits: the test then measures memory" if len(where) > 1 else ""
        say(
            console,
            f"the same file {len(group)} times{leak}: " + ", ".join(f"{row.image} (line {row.line})" for row in group[:5]),
        )
    return ImageFiles(root, [row.image for row in rows])


def _write(console: Terminal, out: Path, parts: dict[str, list[Row]], class_names: list[str]) -> None:
    written = []
    for split, rows in (("train", sorted(parts["train"] + parts["val"], key=lambda row: row.line)), ("val", parts["test"])):
        observed, targets = label_arrays(rows, class_names)
        arrays = {"images": np.array([row.image for row in rows], dtype=np.str_), "labels_obs": observed, "labels": targets}
        for part, array in arrays.items():
            if rows and array is not None:
                written.append(f"formatted_{split}_{part}.npy")
                write_aside(out / written[-1], array_bytes(array))
    console.print(f"arrays       {', '.join(written)} in {out}")


def _duplicates(root: Path, rows: list[Row]) -> list[list[Row]]:
    """Groups of rows whose files are equal byte for byte."""
    by_size: dict[int, list[Row]] = defaultdict(list)
    for row in rows:
        path = root / row.image
        if path.is_file():
            by_size[path.stat().st_size].append(row)
    by_content: dict[bytes, list[Row]] = defaultdict(list)
    for group in by_size.values():
        for row in group if len(group) > 1 else []:
            by_content[hashlib.blake2b((root / row.image).read_bytes()).digest()].append(row)
    return [group for group in by_content.values() if len(group) > 1]
