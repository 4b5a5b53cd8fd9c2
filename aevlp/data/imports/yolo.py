"""YOLO's text files, one an image, and the file that names their classes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from aevlp.config.errors import ConfigError, DataError
from aevlp.config.registry import register
from aevlp.config.schema import LocalPath
from aevlp.data.imports._base import Found, ImportConfig, Report
from aevlp.data.imports._yolo_files import NAMES, has_names, is_yaml, labelled_photos, mapping, names_in, stem, yolo_splits
from aevlp.data.locate import PhotoIndex, is_photo, look_below
from aevlp.data.table import Row
from aevlp.reading import read_text


class YOLOImport(ImportConfig):
    """Where the names of the classes stand."""

    names: LocalPath | None = None
    """data.yaml, or a text file with a class a line; by itself, the one that lies there."""

    @classmethod
    def recognises(cls, source: Path, files: list[str]) -> bool:
        """A folder with a text file for a photo and a file of names, or a YAML file with names."""
        if source.is_file():
            return is_yaml(source.name) and has_names(source)
        return bool(labelled_photos(files)) and bool(_files_of_names(source, files))


@register("imports", "yolo", config=YOLOImport)
def read_yolo(config: YOLOImport, *, source: Path, report: Report) -> Iterator[Found]:
    """A row for each text file, and for each photo that has none: it shows nothing, or nobody has looked."""
    if not source.is_dir() and not is_yaml(source.name):
        raise ConfigError(f"{source}: is neither a folder nor a data.yaml")
    folder = source if source.is_dir() else source.parent
    listing = look_below(folder)
    paths = [source] if source.is_file() else [folder / name for name in _files_of_names(folder, listing.files)]
    classes = _names([Path(config.names)] if config.names else paths, folder)
    labelled = labelled_photos(listing.files)
    split = yolo_splits(PhotoIndex(folder, listing), [mapping(path) for path in paths if is_yaml(path.name)], set(labelled))
    for file, photo in labelled.items():
        labels = _read(folder / file, classes)
        if not labels:
            report.notes.add(
                "{text files are empty, and their photos have|text file is empty, and its photo has} no labels in the table", file
            )
        yield Found(folder, Row(0, photo, labels=labels, split=split(photo)))
    named = {stem(photo) if is_photo(photo) else photo for photo in labelled.values()}
    for photo in filter(is_photo, listing.files):
        if stem(photo) not in named:
            report.notes.add("{photos have|photo has} no text file, and no labels in the table", photo)
            yield Found(folder, Row(0, photo, split=split(photo)))


def _files_of_names(folder: Path, files: list[str]) -> list[str]:
    return [
        name for name in files
        if PurePosixPath(name).name in NAMES or (is_yaml(name) and has_names(folder / name))
    ]  # fmt: skip


def _read(path: Path, classes: list[str]) -> tuple[str, ...]:
    labels: dict[str, None] = {}
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        if len(words) < 5 or not words[0].isascii() or not words[0].isdigit():
            raise DataError(f"{path}:{number}: must be the number of a class and a box, is {line[:80]!r}")
        column = int(words[0].lstrip("0")[:9] or "0")  # int() reads no number of thousands of digits
        if column >= len(classes):
            raise DataError(f"{path}:{number}: class {words[0][:20]} is none of the {len(classes)} that have a name")
        labels[classes[column]] = None
    return tuple(labels)


def _names(paths: list[Path], folder: Path) -> list[str]:
    """Class names by number; DataError where two files say different ones."""
    if not paths:
        raise ConfigError(f"{folder}: holds no file with the names of the classes, such as data.yaml; name it: --names FILE")
    found = {path: names_in(path) for path in paths}
    for path in paths[1:]:
        if found[path] != found[paths[0]]:
            raise DataError(f"{path}: names other classes than {paths[0]}; say which is right: --names FILE")
    return found[paths[0]]
