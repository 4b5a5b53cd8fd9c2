"""COCO 2014, detection labels read as image labels: 80 classes, tested on the official validation set."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from aevlp.config.errors import DataError, suggest
from aevlp.config.registry import register
from aevlp.data.dataset import SPMLData
from aevlp.data.formats._official import Official, OfficialSplit, require_layout
from aevlp.data.formats.arrays import ArraysConfig, build_formatted
from aevlp.data.imports._base import MAX_BYTES
from aevlp.reading import read_json

CLASS_NAMES = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light", "fire hydrant",
    "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe",
    "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard", "sports ball", "kite", "baseball bat",
    "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle", "wine glass", "cup", "fork", "knife", "spoon", "bowl",
    "banana", "apple", "sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch",
    "potted plant", "bed", "dining table", "toilet", "tv", "laptop", "mouse", "remote", "keyboard", "cell phone", "microwave",
    "oven", "toaster", "sink", "refrigerator", "book", "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush",
)  # fmt: skip
LAYOUT = """
  FOLDER/
    annotations/instances_train2014.json, instances_val2014.json
    train2014/COCO_train2014_000000000009.jpg ...
    val2014/COCO_val2014_000000000042.jpg ...
"""


class COCOConfig(ArraysConfig):
    """Settings of COCO 2014."""


def read_official(root: Path) -> Official:
    """Read the instance annotations: one of any kind, crowds included, makes its class positive.

    Rows are the annotated images, ordered by their id as a string (so 100 before 9), which split and draws depend on;
    columns follow the file's list of categories.
    """
    require_layout("coco", root, [f"annotations/instances_{split}2014.json" for split in ("train", "val")], LAYOUT)
    train, names = _read_split(root, "train")
    val, val_names = _read_split(root, "val")
    if names != val_names:
        raise DataError(f"{root}/annotations: instances_train2014.json and instances_val2014.json list different categories")
    return Official(names, train, val, root, published_sizes=(82081, 40137))


def _read_split(root: Path, split: str) -> tuple[OfficialSplit, list[str]]:
    path = root / f"annotations/instances_{split}2014.json"
    try:
        data: Any = read_json(path, MAX_BYTES)
    except (DataError, FileNotFoundError) as error:
        raise DataError(f"{path}: not a whole JSON file: {str(error).removeprefix(f'{path}: ')}; download it again") from error
    try:
        columns = {category["id"]: column for column, category in enumerate(data["categories"])}
        pairs = [(int(annotation["image_id"]), annotation["category_id"]) for annotation in data["annotations"]]
        class_names = [str(category["name"]) for category in data["categories"]]
        unknown = [number for number, (_, category) in enumerate(pairs) if category not in columns]
        ids = Counter(category["id"] for category in data["categories"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{path}: not COCO's instance annotations ({type(error).__name__}: {error})") from error
    for what, counts in (("id", ids), ("name", Counter(class_names))):
        twice = [value for value, count in counts.items() if count > 1]
        if twice:
            raise DataError(f"{path}: {counts[twice[0]]} categories have the {what} {twice[0]!r}; each needs its own")
    if unknown:
        category = pairs[unknown[0]][1]
        raise DataError(
            f"{path}: annotations[{unknown[0]}] has category_id {category}, which is not among the {len(columns)} categories"
            f"{suggest(str(category), map(str, columns))} ({len(unknown)} such annotations)"
        )
    images = sorted({image for image, _ in pairs}, key=str)
    rows = {image: row for row, image in enumerate(images)}
    labels = np.zeros((len(images), len(columns)))
    for image, category in pairs:
        labels[rows[image], columns[category]] = 1
    names = np.array([f"{split}2014/COCO_{split}2014_{image:012d}.jpg" for image in images], dtype=np.str_)
    return OfficialSplit(names, labels), class_names


@register("datasets", "coco", config=COCOConfig)
def build_coco(config: COCOConfig) -> SPMLData:
    """The prepared arrays."""
    return build_formatted(config, images=["."], class_names=CLASS_NAMES)
