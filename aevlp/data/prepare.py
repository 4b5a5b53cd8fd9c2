"""From an official release to the formatted arrays that training reads: write, check every image, report."""

from __future__ import annotations

import importlib
import io
import json
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from aevlp.config import registry
from aevlp.config.errors import ConfigError, DataError
from aevlp.data.formats._official import Official, OfficialSplit
from aevlp.data.formats.arrays import array_bytes, read_array, write_aside
from aevlp.data.images import ImageFiles
from aevlp.data.protocol import draw_single_positives
from aevlp.data.quarantine import FILE_NAME, REMEDY, check_images
from aevlp.folders import expanded
from aevlp.terminal import Terminal, terminal_for_tables
from aevlp.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable

SPLITS = {"train": "official train", "val": "official val (test)"}


def prepare(name: str, root: Path, out: Path | None = None, check: bool = True) -> None:
    """Prepare dataset `name`: write its arrays to `out` (or `root`), decode every image, report, name the next command.

    Raises:
        ConfigError: a dataset that needs no preparation.
        DataError: the layout is another, annotations are damaged, files that differ stand in the way, or images are absent
            or unreadable (which quarantine.json then lists).
    """
    root, folder = expanded(root), expanded(out or root)
    console = terminal_for_tables(soft_wrap=True)
    if name == "folder":
        from aevlp.data.prepare_folder import survey

        images = survey(console, root, folder)
    else:
        official = _reader(name)(root)
        for split in SPLITS:
            if not len(getattr(official, split).names):
                raise DataError(f"{root}: the {SPLITS[split]} part of {name} holds no image with a label")
        kept = write_official(official, folder)
        _report(console, name, official)
        for note in official.notes + kept:
            say(console, note)
        console.print(f"arrays       {folder}/formatted_{{train,val}}_{{images,labels,labels_obs}}.npy")
        images = ImageFiles(official.images, np.concatenate([official.train.names, official.val.names]).tolist())
    if check:
        _check(console, images, folder)
    else:
        console.print("images       not looked at (--no-image-check)")
    console.print(f"next         python run.py --exp {name}_gpr{_settings(name, root, folder)}")


def say(console: Terminal, note: str) -> None:
    """Print a note."""
    console.print(f"[yellow]note[/yellow]  {escape(printable(note))}", markup=True)


def _reader(name: str) -> Callable[[Path], Official]:
    module = importlib.import_module(registry.get("datasets", name).build.__module__)
    reader = getattr(module, "read_official", None)
    if reader is None:
        raise ConfigError(f"dataset {name!r} needs no preparation")
    return reader


def write_official(official: Official, folder: Path) -> list[str]:
    """Write arrays and class names, nothing where something else would be overwritten; returns what the user should know.

    A formatted_*_labels_obs.npy that is there already is kept: it is what other runs were trained on, or a published one.
    """
    contents = {folder / "classes.txt": ("\n".join(official.class_names) + "\n").encode()}
    notes = []
    for split in SPLITS:
        part: OfficialSplit = getattr(official, split)
        contents[folder / f"formatted_{split}_images.npy"] = array_bytes(part.names)
        contents[folder / f"formatted_{split}_labels.npy"] = array_bytes(part.labels)
        path, drawn = folder / f"formatted_{split}_labels_obs.npy", draw_single_positives(part.labels)
        if not path.exists():
            contents[path] = array_bytes(drawn)
            continue
        there = read_array(path)
        if there.shape != part.labels.shape or ((there == 1) & (part.labels != 1)).any():
            raise DataError(f"{path}: does not fit the labels of this release; move it away, or write elsewhere with --out")
        if not np.array_equal(there == 1, drawn == 1):
            notes.append(f"{path} was there, is another draw than ours, and is kept")
    for path, content in contents.items():
        if path.exists() and path.read_bytes() != content and not _same_array(path, content):
            raise DataError(f"{path}: is there already and says something else; move it away, or write elsewhere with --out")
    for path, content in contents.items():
        if not path.exists():
            write_aside(path, content)
    return notes


def _same_array(path: Path, content: bytes) -> bool:
    if path.suffix != ".npy":
        return False
    old, new = read_array(path), np.load(io.BytesIO(content), allow_pickle=False)
    return old.shape == new.shape and bool((old == new).all())


def _report(console: Terminal, name: str, official: Official) -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column(name)
    for title in ("images", "classes", "positives per image", "without a positive", "rarest class"):
        table.add_column(title, justify="right")
    for split, title in SPLITS.items():
        labels = getattr(official, split).labels
        per_class = labels.sum(axis=0)
        rarest = int(per_class.argmin())
        table.add_row(
            title, f"{len(labels)}", f"{labels.shape[1]}", f"{labels.sum() / len(labels):.2f}",
            f"{(labels.sum(axis=1) == 0).sum()}", f"{official.class_names[rarest]} ({per_class[rarest]:.0f})",
        )  # fmt: skip
    console.print(table)
    sizes = (len(official.train.names), len(official.val.names))
    published = official.published_sizes
    if published is not None and published != sizes:
        say(
            console,
            f"published results use {published[0]} and {published[1]} images, these are {sizes[0]} and {sizes[1]}: "
            "figures will not be comparable",
        )


def _check(console: Terminal, images: ImageFiles, folder: Path) -> None:
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("images", total=len(images))
        bad = check_images(images, os.cpu_count() or 1, lambda done: progress.update(task, completed=done))
    write_aside(folder / FILE_NAME, (json.dumps(bad, indent=1, ensure_ascii=False) + "\n").encode())
    console.print(f"images       {len(images) - len(bad)} of {len(images)} can be read")
    if bad:
        first, count = next(iter(bad.values())), len(bad)
        raise DataError(f"{first}; {count} such image{'s' if count > 1 else ''} (all in {folder / FILE_NAME}): {REMEDY}")


def _settings(name: str, root: Path, folder: Path) -> str:
    """`--set ...` for the next command, as far as the environment does not say it already."""
    known = os.environ.get("AEVLP_DATA")
    words = []
    if known is None or (Path(known) / name).resolve() != root.resolve():
        words.append(f"dataset.root={shlex.quote(str(root))}")
    if folder.resolve() != root.resolve():
        words.append(f"dataset.arrays={shlex.quote(str(folder))}")
    return f" --set {' '.join(words)}" if words else ""
