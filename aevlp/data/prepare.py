"""From an official release to the formatted arrays that training reads: write, check every image, report."""

from __future__ import annotations

import hashlib
import importlib
import io
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from aevlp import files
from aevlp.command import COMMAND
from aevlp.config import registry
from aevlp.config.errors import ConfigError, DataError
from aevlp.config.loading import setting_value
from aevlp.data.advice import CLASSES
from aevlp.data.formats._official import Official, OfficialSplit
from aevlp.data.formats.arrays import UNFINISHED, array_bytes, read_array
from aevlp.data.images import ImageFiles
from aevlp.data.prepare_folder import Survey, survey
from aevlp.data.protocol import draw_single_positives
from aevlp.data.quarantine import FILE_NAME, REMEDY, TINY, check_images, read_quarantine
from aevlp.folders import data_root, user_path
from aevlp.input import open_file
from aevlp.layout import Sheet
from aevlp.progress import shown
from aevlp.reading import read_json
from aevlp.system import usable_cores
from aevlp.terminal import Terminal
from aevlp.text import are, counted, listed

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

SPLITS = {"train": "official train", "val": "official val (test)"}
SHOWN = 9  # bad images that are named beside the first
WRITTEN = "prepare_folder.json"
"""Beside the arrays of a table: the hashes of those that `prepare folder` wrote, which alone it writes over."""
ELSEWHERE = "is there already and says something else; move it away, or write elsewhere with --out"
UNKNOWN = f"; without {WRITTEN} it cannot be told whose the arrays are: those of an earlier version of aevlp may be removed"


def prepare(name: str, root: Path, out: Path | None = None, check: bool = True) -> None:
    """Prepare dataset `name`: write its arrays to `out` (or `root`), decode every image, report, name the next command.

    All files appear together at the end, or none does.

    Raises:
        ConfigError: a dataset that needs no preparation.
        DataError: the layout is another, annotations are damaged, files that differ stand in the way, or images are absent
            or unreadable (which quarantine.json then lists).
    """
    root, folder = user_path(root), user_path(out or root)
    console = Terminal()
    images: ImageFiles
    own = survey(console, root) if name == "folder" else None
    if own is not None:
        images, contents = own.images, {}
        if out is not None:
            contents = own.contents
            if folder.is_dir() and folder.samefile(root):  # where a class list would be the user's word from now on
                del contents[CLASSES]
            contents = _of_table(folder, contents)
    else:
        official = _reader(name)(root)
        for split in SPLITS:
            if not len(getattr(official, split).names):
                raise DataError(f"{root}: the {SPLITS[split]} part of {name} holds no image with a label")
        contents, kept = contents_of(official, folder)
        _report(console, name, official)
        for note in official.notes + kept:
            console.note(note)
        images = _BothParts(official)
    bad: dict[str, str] = {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        files.remove_leftovers(folder)
        with files.together(folder, UNFINISHED) as put:
            for file, content in contents.items():
                path = put(file)
                if content is not None:
                    path.write_bytes(content)
            if check:
                of_others = _of_others(folder, {row.image for row in own.rows}) if own else None
                bad = _check(console, images, own.look_at if own else None)
                listed = put(FILE_NAME)
                told = (of_others or {}) | bad
                # Nothing is written among people's photos that need not be there, nor removed that others need.
                if told or own is None or (of_others is not None and os.path.lexists(folder / FILE_NAME)):
                    listed.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
            else:
                console.say("images       not looked at (--no-image-check)")
    except OSError as error:
        for problem in [*bad.values()][: SHOWN + 1]:  # it took long to find them
            console.note(problem)
        if bad and own is not None:
            _tell_twice(console, own)
        raise DataError(f"{folder}: cannot be written: {error.strerror}; choose another folder with --out") from error
    if own is not None:
        _tell_twice(console, own)
        written = ", ".join(file for file, content in contents.items() if content is not None and file != WRITTEN)
        if written:
            console.tell(f"arrays       {written} in {folder}", indent=13)
    else:
        console.say(f"arrays       {folder}/formatted_{{train,val}}_{{images,labels,labels_obs}}.npy")
    if bad:
        (first, *others), count = bad.values(), len(bad)
        for problem in others[:SHOWN]:
            console.note(problem)
        raise DataError(f"{first}; {counted(count, 'such image')} (all in {folder / FILE_NAME}): {REMEDY}")
    console.say(f"next         {COMMAND} --exp {name}_gpr{_settings(name, root, folder)}")
    if own is not None:
        console.say(f"without GPU  {COMMAND} --exp folder_probe_gpr{_settings(name, root, folder)}")


def _reader(name: str) -> Callable[[Path], Official]:
    module = importlib.import_module(registry.get("datasets", name).build.__module__)
    reader = getattr(module, "read_official", None)
    if reader is None:
        raise ConfigError(f"dataset {name!r} needs no preparation")
    return reader


def contents_of(official: Official, folder: Path) -> tuple[dict[str, bytes | None], list[str]]:
    """Arrays and class names that `folder` lacks, by name of their file, and what the user should know.

    A formatted_*_labels_obs.npy that is there already is kept: it is what other runs were trained on, or a published one.
    DataError where something else would be overwritten.
    """
    contents = {folder / CLASSES: ("\n".join(official.class_names) + "\n").encode()}
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
        if path.exists() and not _says(path, content):
            raise DataError(f"{path}: {ELSEWHERE}")
    return {path.name: content for path, content in contents.items() if not path.exists()}, notes


def _of_table(folder: Path, contents: dict[str, bytes | None]) -> dict[str, bytes | None]:
    """What of the arrays of a table is to be written to `folder`, or removed, with their hashes in WRITTEN.

    Those of an earlier table are known by their hashes there, and are written over. DataError where another file says something
    else. WRITTEN is first, and holds the hashes of old and new files, so that it knows all though a process dies between them.
    """
    known = _hashes(folder / WRITTEN)
    placed: dict[str, bytes | None] = {}
    hashes: dict[str, list[str]] = {}
    for name, content in contents.items():
        path = folder / name
        there = hashlib.sha256(_read(path)).hexdigest() if os.path.lexists(path) else None
        if there is not None and there not in known.get(name, ()):
            if content is None or not _says(path, content):
                raise DataError(f"{path}: {ELSEWHERE}{'' if os.path.lexists(folder / WRITTEN) else UNKNOWN}")
            continue
        placed[name] = content
        new = None if content is None else hashlib.sha256(content).hexdigest()
        hashes[name] = sorted({one for one in (there, new) if one is not None})
    if not placed:
        return {}
    return {WRITTEN: (json.dumps({name: some for name, some in hashes.items() if some}, indent=1) + "\n").encode()} | placed


def _hashes(path: Path) -> dict[str, list[str]]:
    if not os.path.lexists(path):
        return {}
    known = read_json(path)
    if not isinstance(known, dict) or not all(isinstance(some, list) for some in known.values()):
        raise DataError(f"{path}: must map names of files to lists of hashes; move it away, or write elsewhere with --out")
    return known


def _of_others(folder: Path, names: set[str]) -> dict[str, str] | None:
    """What quarantine.json says of photos that a table does not name, where arrays that are not of a table need it; else None."""
    first = "formatted_train_images.npy"
    if not (folder / first).exists() or first in _hashes(folder / WRITTEN):
        return None
    try:
        there = read_quarantine(folder)
    except DataError:  # damaged: what it said is lost, and is found again when theirs are prepared again
        there = {}
    return {name: problem for name, problem in there.items() if name not in names}


class _BothParts(ImageFiles):
    """The images of both parts; in messages, rows are those of their arrays."""

    def __init__(self, official: Official):
        super().__init__(official.images, np.concatenate([official.train.names, official.val.names]).tolist())
        self.count = len(official.train.names)

    def _place(self, row: int) -> str:
        return f"row {row} of train" if row < self.count else f"row {row - self.count} of val"


def _tell_twice(console: Terminal, own: Survey) -> None:
    for note in own.twice():
        console.note(note)


def _read(path: Path) -> bytes:
    try:
        with open_file(path) as file:
            return bytes(file.read())
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error}; move it away, or write elsewhere with --out") from error


def _says(path: Path, content: bytes) -> bool:
    if path.suffix != ".npy":
        return _read(path) == content
    old, new = read_array(path), np.load(io.BytesIO(content), allow_pickle=False)
    if old.dtype.kind == "S":  # NumPy finds no two words equal of which one is stored as bytes
        old = np.char.decode(old, "ascii", "replace")
    return old.shape == new.shape and bool((old == new).all())


def _report(console: Terminal, name: str, official: Official) -> None:
    rows = []
    for split, title in SPLITS.items():
        labels = getattr(official, split).labels
        per_class = labels.sum(axis=0)
        rarest = int(per_class.argmin())
        rows.append([
            title, f"{len(labels)}", f"{labels.shape[1]}", f"{labels.sum() / len(labels):.2f}",
            f"{(labels.sum(axis=1) == 0).sum()}", f"{official.class_names[rarest]} ({per_class[rarest]:.0f})",
        ])  # fmt: skip
    header = [name, "images", "classes", "positives per image", "without a positive", "rarest class"]
    console.table(Sheet("", header, rows, text=("rarest class",)))
    sizes = (len(official.train.names), len(official.val.names))
    published = official.published_sizes
    if published is not None and published != sizes:
        console.note(
            f"published results use {published[0]} and {published[1]} images, these are {sizes[0]} and {sizes[1]}: "
            "figures will not be comparable",
        )


def _check(console: Terminal, images: ImageFiles, look: Callable[[int, Tensor], None] | None) -> dict[str, str]:
    with shown(console, "images", len(images)) as report:
        bad, tiny = check_images(images, usable_cores(), report, look)
    console.say(f"images       {len(images) - len(bad)} of {len(images)} can be read")
    for change, count in images.changes.items():
        console.note(f"{count} {are(count)} {change}")
    if tiny:
        console.note(f"{len(tiny)} with a side of less than {TINY} pixels, which is no photo any more: {listed(tiny, 5)}")
    return bad


def _settings(name: str, root: Path, folder: Path) -> str:
    """`--set ...` for the next command, as far as the environment does not say it already."""
    known = data_root()
    words = []
    if known is None or (known / name).resolve() != root.resolve():
        words.append(f"dataset.root={setting_value(root)}")
    if folder.resolve() != root.resolve():
        words.append(f"dataset.arrays={setting_value(folder)}")
    return f" --set {' '.join(words)}" if words else ""
