"""COCO's JSON of any year: the categories of an image's annotations are all of its labels."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aevlp.config.errors import ConfigError, DataError, suggest
from aevlp.config.registry import register
from aevlp.data.imports._base import MAX_BYTES, Found, ImportConfig, Report, begins_with, split_in
from aevlp.data.locate import look_below
from aevlp.data.table import Row
from aevlp.reading import read_json

FILE = re.compile(r"(?:.*/)?(?:instances_[^/]*|_annotations\.coco[^/]*|labels|annotations|result)\.json")
"""As COCO and CVAT, Roboflow, FiftyOne, and Label Studio name them."""
READ = ("images", "annotations", "categories", "id", "file_name", "image_id", "category_id", "name")


class COCOImport(ImportConfig):
    """There is nothing to set."""

    @classmethod
    def recognises(cls, source: Path, files: list[str]) -> bool:
        """A JSON file that begins as a mapping, or a folder with such files of COCO's names."""
        if source.is_dir():
            return any(FILE.fullmatch(name) and begins_with(source / name, "{") for name in files)
        return source.suffix.lower() == ".json" and begins_with(source, "{")


@register("imports", "coco", config=COCOImport)
def read_coco(config: COCOImport, *, source: Path, report: Report) -> Iterator[Found]:
    """One row an image; crowds count, and images without an annotation have no label. Names of files tell the split."""
    used: dict[str, bool] = {}
    for path in _files(source):
        told = path.relative_to(source).as_posix() if path != source else path.name
        yield from _read(path, split_in(told), used, report)
    for name in (name for name in used if not used[name]):
        report.notes.add("{categories have|category has} no annotation, and {are no classes|is no class} of the table", name)


def _files(source: Path) -> list[Path]:
    if not source.is_dir():
        return [source]
    names = look_below(source).files
    found = [name for name in names if FILE.fullmatch(name)]
    found = found or [name for name in names if name.endswith(".json") and "/" not in name.removeprefix("annotations/")]
    if not found:
        raise ConfigError(f"{source}: holds no instances_*.json; name the JSON file")
    return [source / name for name in found]


def _read(path: Path, split: str, used: dict[str, bool], report: Report) -> Iterator[Found]:
    data = read_json(path, MAX_BYTES, _what_is_read)
    images, annotations, categories = (_list(path, data, key) for key in ("images", "annotations", "categories"))
    names: dict[Any, str] = {}
    for i, one in enumerate(categories):
        number, name = _at(path, "categories", i, one, "id"), str(_at(path, "categories", i, one, "name"))
        if (other := names.setdefault(number, name)) != name:
            raise DataError(f"{path}: categories[{i}] has the id {number} of another, {other!r}; each needs its own")
    labels: dict[Any, dict[str, None]] = {_at(path, "images", i, one, "id"): {} for i, one in enumerate(images)}
    if len(labels) < len(images):
        raise DataError(f"{path}: {len(images)} images have {len(labels)} ids; each needs its own")
    for i, one in enumerate(annotations):
        image, category = (_at(path, "annotations", i, one, key) for key in ("image_id", "category_id"))
        if image not in labels:
            raise DataError(f"{path}: annotations[{i}] is of image {image!r}, which is not among the {len(labels)} images")
        if category not in names:
            raise DataError(
                f"{path}: annotations[{i}] has category_id {category!r}, which is not among the {len(names)} categories"
                f"{suggest(str(category), map(str, names))}"
            )
        labels[image][names[category]] = None
    for name in names.values():
        used.setdefault(name, False)
    used |= {name: True for some in labels.values() for name in some}
    for i, one in enumerate(images):
        name = str(_at(path, "images", i, one, "file_name"))
        if not labels[one["id"]]:
            report.notes.add("{images have|image has} no annotation, and no labels in the table", name)
        yield Found(path, Row(0, name, labels=tuple(labels[one["id"]]), split=split))


def _what_is_read(one: dict[str, Any]) -> dict[str, Any]:
    """Without boxes and outlines, which are nine tenths of a file."""
    return {key: one[key] for key in READ if key in one}


def _list(path: Path, data: Any, key: str) -> list[Any]:
    found = data.get(key) if isinstance(data, dict) else None
    if not isinstance(found, list):
        raise DataError(f"{path}: has no list {key!r}; COCO's JSON has images, annotations and categories")
    return found


def _at(path: Path, where: str, number: int, one: Any, key: str) -> Any:
    """A number or a word of an entry."""
    value = one.get(key) if isinstance(one, dict) else None
    if isinstance(value, float) and value.is_integer():  # as tables write numbers where one is absent
        value = int(value)
    if not isinstance(value, int | str) or isinstance(value, bool):
        raise DataError(f"{path}: {where}[{number}] has no {key}; it is {json.dumps(one, ensure_ascii=False)[:80]}")
    return value
