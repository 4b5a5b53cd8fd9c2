"""From an official release to the formatted arrays that training reads: write, check every image, report."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from aevlp import files
from aevlp.command import COMMAND
from aevlp.config import registry
from aevlp.config.errors import ConfigError, DataError
from aevlp.config.yaml_reading import read_yaml
from aevlp.data.advice import CLASSES
from aevlp.data.formats._official import Official, OfficialSplit
from aevlp.data.formats.arrays import UNFINISHED, array_bytes, read_array, read_class_names
from aevlp.data.images import ImageFiles
from aevlp.data.prepare_folder import survey
from aevlp.data.protocol import draw_single_positives
from aevlp.data.quarantine import FILE_NAME, REMEDY, TINY, check_images
from aevlp.folders import data_root, user_path
from aevlp.input import open_file
from aevlp.layout import Sheet
from aevlp.progress import shown
from aevlp.system import usable_cores
from aevlp.terminal import Terminal
from aevlp.text import are, counted, listed

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

SPLITS = {"train": "official train", "val": "official val (test)"}
SHOWN = 9  # bad images that are named beside the first


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
            _require_own(folder, {row.image for row in own.rows}, contents)
    else:
        official = _reader(name)(root)
        for split in SPLITS:
            if not len(getattr(official, split).names):
                raise DataError(f"{root}: the {SPLITS[split]} part of {name} holds no image with a label")
        contents, kept = contents_of(official, folder)
        _report(console, name, official)
        for note in official.notes + kept:
            console.note(note)
        images = ImageFiles(official.images, np.concatenate([official.train.names, official.val.names]).tolist())
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
                bad = _check(console, images, own.look_at if own else None)
                listed = put(FILE_NAME)
                if bad or own is None:  # nothing is written among people's photos that need not be there
                    listed.write_text(json.dumps(bad, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
            else:
                console.say("images       not looked at (--no-image-check)")
    except OSError as error:
        raise DataError(f"{folder}: cannot be written: {error.strerror}; choose another folder with --out") from error
    if own is not None:
        for note in own.twice():
            console.note(note)
        written = ", ".join(file for file, content in contents.items() if content is not None)
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
            raise DataError(f"{path}: is there already and says something else; move it away, or write elsewhere with --out")
    return {path.name: content for path, content in contents.items() if not path.exists()}, notes


def _require_own(folder: Path, names: set[str], contents: dict[str, bytes | None]) -> None:
    """DataError where the arrays of a folder, or its classes, are of other photos; those of an earlier table are written over."""
    paths = [folder / f"formatted_{split}_images.npy" for split in SPLITS]
    classes = folder / CLASSES
    if classes.exists() and not any(path.exists() for path in paths):
        if CLASSES in contents and read_class_names(classes) != (contents[CLASSES] or b"").decode().splitlines():
            raise DataError(f"{classes}: is there already and says something else; move it away, or write elsewhere with --out")
    for path in paths:
        there: list[str] = []
        with contextlib.suppress(DataError):  # what cannot be read is of no use to anybody
            there = read_array(path).tolist() if path.exists() else []
        if there and names.isdisjoint(there):
            raise DataError(f"{path}: is there already, of other photos; move it away, or write elsewhere with --out")


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
        words.append(f"dataset.root={_value(root)}")
    if folder.resolve() != root.resolve():
        words.append(f"dataset.arrays={_value(folder)}")
    return f" --set {' '.join(words)}" if words else ""


def _value(path: Path) -> str:
    """A path for the shell and for `--set`, which would read the folder `2024` as a number."""
    text = str(path)
    try:
        is_read_so = read_yaml(text, "")[0] == text
    except ConfigError:
        is_read_so = False
    return shlex.quote(text if is_read_so else json.dumps(text, ensure_ascii=False))
