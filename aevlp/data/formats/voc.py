"""PASCAL VOC 2012, classification: 20 classes, tested on the official validation set."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from aevlp.config.errors import DataError
from aevlp.config.registry import register
from aevlp.data.dataset import SPMLData
from aevlp.data.formats._official import Official, OfficialSplit, read_lines, require_layout
from aevlp.data.formats.arrays import ArraysConfig, build_formatted

CLASS_NAMES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog", "horse",
    "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
IMAGES = "VOCdevkit/VOC2012/JPEGImages"
LAYOUT = """
  FOLDER/VOCdevkit/VOC2012/
    ImageSets/Main/{aeroplane,...,tvmonitor}_{train,val}.txt
    JPEGImages/2007_000027.jpg ...
"""


class VOCConfig(ArraysConfig):
    """Settings of VOC 2012."""


def read_official(root: Path) -> Official:
    """Read the image sets: 1 is a positive, -1 and 0 ("difficult") are not; an image without a positive is left out."""
    lists = Path("VOCdevkit/VOC2012/ImageSets/Main")
    require_layout("voc", root, [lists / f"{name}_{split}.txt" for split in ("train", "val") for name in CLASS_NAMES], LAYOUT)

    def read(split: str) -> OfficialSplit:
        positives: dict[str, list[int]] = {}
        for column, name in enumerate(CLASS_NAMES):
            path = root / lists / f"{name}_{split}.txt"
            for number, line in enumerate(read_lines(path), start=1):
                words = line.split()
                if len(words) < 2 or words[-1] not in ("-1", "0", "1"):
                    raise DataError(f"{path}:{number}: must be an image and -1, 0 or 1, is {line!r}")
                if words[-1] == "1":
                    positives.setdefault(f"{words[0]}.jpg", []).append(column)
        names = sorted(positives)
        labels = np.zeros((len(names), len(CLASS_NAMES)))
        for row, name in enumerate(names):
            labels[row, positives[name]] = 1
        return OfficialSplit(np.array(names, dtype=np.str_), labels)

    return Official(list(CLASS_NAMES), read("train"), read("val"), root / IMAGES, published_sizes=(5717, 5823))


@register("datasets", "voc", config=VOCConfig)
def build_voc(config: VOCConfig) -> SPMLData:
    """The prepared arrays."""
    return build_formatted(config, images=[IMAGES], class_names=CLASS_NAMES)
