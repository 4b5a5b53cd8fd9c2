"""PASCAL VOC's XML, one file an image: the names of its objects are all of its labels."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any
from xml.etree import ElementTree

from aevlp.config.errors import ConfigError, DataError
from aevlp.config.registry import register
from aevlp.data.imports._base import Found, ImportConfig, Report, split_above, split_of
from aevlp.data.locate import look_below
from aevlp.data.table import Row
from aevlp.reading import read_bytes, read_text

MAX_XML = 10_000_000  # bytes of one file; thousands of polygons are a tenth of it
SETS = "ImageSets/Main/"


class VOCImport(ImportConfig):
    """There is nothing to set."""

    @classmethod
    def recognises(cls, source: Path, files: list[str]) -> bool:
        """A folder with XML files, or one such file."""
        return any(name.endswith(".xml") for name in (files if source.is_dir() else [source.name]))


@register("imports", "voc", config=VOCImport)
def read_voc(config: VOCImport, *, source: Path, report: Report) -> Iterator[Found]:
    """One row a file; ImageSets/Main tells the splits, or the names of folders do. Difficult objects are there, too."""
    names = look_below(source).files if source.is_dir() else [""]
    files = [source / name for name in names if name.endswith(".xml") or not name]
    if not files:
        raise ConfigError(f"{source}: holds no XML file")
    splits = _splits(source, names)
    for path in files:
        stem, place = path.stem, path.relative_to(source).as_posix()
        name, labels = _read(path)
        if not labels:
            report.notes.add(
                "{files have no object, and their photos|file has no object, and its photo} no labels in the table", path.name
            )
        split = splits.get(stem) or split_above(place)
        # A photo that was renamed has its old name in the file.
        yield Found(path, Row(0, name or stem, labels=labels, split=split), (stem,) if name else ())


def _read(path: Path) -> tuple[str, tuple[str, ...]]:
    """Name of the photo, and of the classes in it."""
    content = read_bytes(path, MAX_XML)
    try:
        root = ElementTree.fromstring(content, ElementTree.XMLParser(target=_WithoutEntities()))  # noqa: S314, see there
    except (ElementTree.ParseError, ValueError, LookupError) as error:  # the last: an encoding that nobody knows
        raise DataError(f"{path}: cannot be read as XML: {error}") from error
    if root.tag != "annotation":
        raise DataError(f"{path}: is a {root.tag!r}, not an annotation of VOC")
    labels = [(one.findtext("name") or "").strip() for one in root.findall("object")]
    if "" in labels:
        raise DataError(f"{path}: object {labels.index('') + 1} has no name")
    return (root.findtext("filename") or "").strip(), tuple(dict.fromkeys(labels))


class _WithoutEntities(ElementTree.TreeBuilder):
    """Refuses a document type as it begins: only there can entities be declared, which grow without bound or read other files."""

    def doctype(self, *_: Any) -> None:
        raise ValueError("it declares a document type, which VOC's files never do")


def _splits(source: Path, names: list[str]) -> dict[str, str]:
    """Split by name of the photo without suffix; `trainval` is train, but for those that another list names."""
    lists = {name: PurePosixPath(name).stem for name in names if f"/{name}".rpartition("/")[0].endswith("/" + SETS[:-1])}
    found: dict[str, str] = {}
    for name, word in lists.items():
        split = split_of(word)
        if split is None or not name.endswith(".txt"):
            continue
        for number, line in enumerate(read_text(source / name).splitlines(), start=1):
            stem = line.strip()
            if stem and found.setdefault(stem, split) != split:
                raise DataError(f"{source / name}:{number}: {stem} is in split {split}, and in split {found[stem]}")
    for name in (name for name, word in lists.items() if word == "trainval"):
        for line in read_text(source / name).splitlines():
            found.setdefault(line.strip(), "train")
    return found
