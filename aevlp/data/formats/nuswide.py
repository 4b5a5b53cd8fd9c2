"""NUS-WIDE: 81 concepts. There are no official lists for this protocol, only the community's formatted arrays."""

from __future__ import annotations

import os
from pathlib import Path

from aevlp.config.errors import DataError
from aevlp.config.registry import register
from aevlp.data.dataset import SPMLData, check_labels
from aevlp.data.formats._official import Official, OfficialSplit, require_layout
from aevlp.data.formats.arrays import ArraysConfig, build_formatted, read_array, read_names

CLASS_NAMES = (
    "airport", "animal", "beach", "bear", "birds", "boats", "book", "bridge", "buildings", "cars", "castle", "cat", "cityscape",
    "clouds", "computer", "coral", "cow", "dancing", "dog", "earthquake", "elk", "fire", "fish", "flags", "flowers", "food",
    "fox", "frost", "garden", "glacier", "grass", "harbor", "horses", "house", "lake", "leaf", "map", "military", "moon",
    "mountain", "nighttime", "ocean", "person", "plane", "plants", "police", "protest", "railroad", "rainbow", "reflection",
    "road", "rocks", "running", "sand", "sign", "sky", "snow", "soccer", "sports", "statue", "street", "sun", "sunset", "surf",
    "swimmers", "tattoo", "temple", "tiger", "tower", "town", "toy", "train", "tree", "valley", "vehicle", "water", "waterfall",
    "wedding", "whales", "window", "zebra",
)  # fmt: skip
IMAGES = "Flickr"
ORDER_UNVERIFIED = (
    "the columns of NUS-WIDE's arrays are taken for its 81 concepts in alphabetical order, which nothing in the arrays confirms; "
    "dataset.classes names another list"
)
LAYOUT = """
  FOLDER/
    formatted_{train,val}_{images,labels}.npy    (the community's arrays)
    Flickr/...jpg ...
"""


class NUSWIDEConfig(ArraysConfig):
    """Settings of NUS-WIDE."""


def read_official(root: Path) -> Official:
    """Read the community's arrays as they are."""
    files = [f"formatted_{split}_{part}.npy" for split in ("train", "val") for part in ("images", "labels")]
    require_layout("nuswide", root, [*files, IMAGES], LAYOUT)

    def read(split: str) -> OfficialSplit:
        names, labels = read_names(root, split), read_array(root / f"formatted_{split}_labels.npy")
        check_labels(labels, len(names), list(CLASS_NAMES), str(root / f"formatted_{split}_labels.npy"))
        if not any(os.path.isfile(root / IMAGES / str(name)) for name in names):
            raise DataError(
                f"{root}/formatted_{split}_images.npy: none of its {len(names)} names, such as {str(names[0])!r}, is a file "
                f"below {root / IMAGES}: the list and the images are of different releases, or the images lie in another folder"
            )
        return OfficialSplit(names, labels)

    return Official(
        list(CLASS_NAMES), read("train"), read("val"), root / IMAGES, published_sizes=(150000, 60260), notes=[ORDER_UNVERIFIED]
    )


@register("datasets", "nuswide", config=NUSWIDEConfig)
def build_nuswide(config: NUSWIDEConfig) -> SPMLData:
    """The community's arrays."""
    return build_formatted(
        config, images=[IMAGES], class_names=CLASS_NAMES, notes=[] if config.classes is not None else [ORDER_UNVERIFIED]
    )
