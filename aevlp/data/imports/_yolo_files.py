"""The files of a YOLO data set: which label which photos, how the classes are called, and which photos are of a split."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from aevlp.config.errors import ConfigError, DataError
from aevlp.config.yaml_reading import MAX_BYTES, read_yaml
from aevlp.data.imports._base import split_above, split_of
from aevlp.data.locate import PhotoIndex, is_photo
from aevlp.reading import read_text

NAMES = ("classes.txt", "obj.names", "_darknet.labels", "coco.names", "voc.names", "data.names")
"""Text files with a class a line, as LabelImg, CVAT, Darknet and Roboflow call them."""


def labelled_photos(files: list[str]) -> dict[str, str]:
    """By text file, the photo it labels: beside it, or in `images` where it is in `labels`; without suffix if it is not there."""
    photos = {stem(name): name for name in filter(is_photo, files)}
    found = {}
    for file in files:
        folders, name = file.split("/")[:-1], file.rpartition("/")[2]
        if not name.endswith(".txt") or name in NAMES:
            continue
        if "labels" in folders:
            at = len(folders) - 1 - folders[::-1].index("labels")
            in_images, beside = ("/".join([*folders[:at], *other, *folders[at + 1 :], stem(name)]) for other in (["images"], []))
            found[file] = photos.get(in_images) or photos.get(beside) or in_images
        if stem(file) in photos:
            found[file] = photos[stem(file)]
    return found


def yolo_splits(photos: PhotoIndex, data: Iterable[dict[str, Any]], labelled: set[str]) -> Callable[[str], str]:
    """A function from the name of a photo to its split, empty where nothing tells it.

    It is told by a list such as valid.txt, by data.yaml, or by the name of a folder.
    """
    listed: dict[str, str] = {}
    for file in photos.listing.files:
        split = split_of(file.rpartition("/")[2].removesuffix(".txt")) if file.endswith(".txt") else None
        for line in read_text(photos.root / file).splitlines() if split and file not in labelled else ():
            several = photos.find(line.strip()).photos if is_photo(line.strip()) else ()
            for photo in several if len(several) == 1 else ():
                if listed.setdefault(photo, str(split)) != split:
                    raise DataError(f"{photos.root / file}: {photo} is in split {split}, and in split {listed[photo]}")
    folders: dict[str, str] = {}
    for values in data:
        for key, split in (("train", "train"), ("val", "val"), ("valid", "val"), ("test", "test")):
            entries = values.get(key)
            for entry in [entries] if isinstance(entries, str) else entries if isinstance(entries, list) else ():
                parts = [part for part in str(entry).split("/") if part not in ("", ".", "..")]
                folders.setdefault("/".join(parts), split)  # some name one folder twice

    def split_by_data(photo: str) -> str:
        """Of the folders that data.yaml names, that of the longest end which lies above the photo, unless two splits share it."""
        above = []
        for folder, split in folders.items():
            parts = folder.split("/")
            above += [(len(parts) - i, split) for i in range(len(parts)) if f"/{'/'.join(parts[i:])}/" in f"/{photo}"]
        best = {split for length, split in above if length == max(above)[0]}
        return best.pop() if len(best) == 1 else ""

    return lambda photo: listed.get(photo) or split_above(photo) or split_by_data(photo)


def is_yaml(name: str) -> bool:
    """Whether a file is YAML by its name."""
    return name.endswith((".yaml", ".yml"))


def has_names(path: Path) -> bool:
    """Whether a YAML file looks like one that names classes."""
    try:
        return bool(re.search(r"(?m)^names\s*:", read_text(path, MAX_BYTES)))
    except (OSError, DataError):
        return False


def mapping(path: Path) -> dict[str, Any]:
    """What a YAML file says."""
    data, _ = read_yaml(read_text(path), str(path))
    return data if isinstance(data, dict) else {}


def names_in(path: Path) -> list[str]:
    """The class names of a file, by number."""
    try:
        if not is_yaml(path.name):
            return [line.strip() for line in read_text(path).rstrip().split("\n")]
        names = mapping(path).get("names")
    except FileNotFoundError as error:
        raise ConfigError(f"--names {path}: no such file") from error
    if isinstance(names, dict) and names.keys() == set(map(str, range(len(names)))):
        names = [names[str(number)] for number in range(len(names))]
    if not isinstance(names, list) or not names:
        raise DataError(f"{path}: `names` must be a list of classes, or map 0, 1, ... to them")
    return [str(name) for name in names]


def stem(name: str) -> str:
    """A name without its suffix."""
    return name.rpartition(".")[0]
