"""CUB-200-2011, attributes as classes: 312 of them, 31 a bird, tested on the official test set."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from aevlp.config.errors import DataError
from aevlp.config.registry import register
from aevlp.data.dataset import SPMLData
from aevlp.data.formats._official import Official, OfficialSplit, read_lines, require_layout
from aevlp.data.formats.arrays import ArraysConfig, build_formatted, dataset_root
from aevlp.input import open_file

NESTINGS = (Path(), Path("CUB_200_2011"))  # as the archive unpacks, and with one folder around it
LAYOUT = """
  FOLDER/
    attributes.txt
    CUB_200_2011/
      images.txt, train_test_split.txt
      attributes/image_attribute_labels.txt
      images/001.Black_footed_Albatross/...jpg ...
  (or the same one level deeper, in FOLDER/CUB_200_2011/)
"""


class CUBConfig(ArraysConfig):
    """Settings of CUB-200-2011."""


def _outer(root: Path) -> Path:
    """Folder that holds attributes.txt and CUB_200_2011/."""
    return next((root / n for n in NESTINGS if os.path.isfile(root / n / "CUB_200_2011/images.txt")), root)


def read_official(root: Path) -> Official:
    """Read the attribute labels: present or not, whatever the annotator's certainty; rows follow images.txt."""
    outer = _outer(root)
    folder = outer / "CUB_200_2011"
    labels_path, split_path = folder / "attributes/image_attribute_labels.txt", folder / "train_test_split.txt"
    require_layout(
        "cub", root, [outer / "attributes.txt", folder / "images.txt", split_path, labels_path, folder / "images"], LAYOUT
    )
    names = np.array([_field(folder / "images.txt", n, line, 1) for n, line in _numbered(folder / "images.txt")])
    class_names = attribute_names(outer / "attributes.txt")
    train = np.array([_field(split_path, n, line, 1) == "1" for n, line in _numbered(split_path)])
    if len(train) != len(names):
        raise DataError(f"{split_path}: has {len(train)} lines for the {len(names)} images of images.txt")
    labels = _read_labels(labels_path, len(names), len(class_names))
    first, second = (OfficialSplit(names[rows], labels[rows]) for rows in (train, ~train))
    return Official(class_names, first, second, folder / "images", published_sizes=(5994, 5794))


def _numbered(path: Path) -> enumerate[str]:
    return enumerate(read_lines(path), start=1)


def _field(path: Path, number: int, line: str, position: int) -> str:
    words = line.split()
    if len(words) <= position:
        raise DataError(f"{path}:{number}: must have {position + 1} words, is {line!r}")
    return words[position]


def attribute_names(path: Path) -> list[str]:
    """Attributes by number, such as has_bill_shape::dagger."""
    return [_field(path, number, line, 1) for number, line in _numbered(path)]


def _read_labels(path: Path, num_images: int, num_attributes: int) -> np.ndarray:
    """Third column of the file as int64 (N,C); its lines must run through the attributes of one image after another."""
    # Some lines of the release have a word too many behind the third, so no reader of tables takes the file.
    values = np.empty((num_images * num_attributes, 3), dtype=np.int64)
    count = 0
    try:
        with open_file(path) as file:
            for count, line in enumerate(file, start=1):
                if count > len(values):
                    break
                values[count - 1] = line.split(maxsplit=3)[:3]
    except ValueError as error:
        raise DataError(f"{path}:{count}: must begin with three numbers, is {line[:60]!r}") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    if count != len(values):
        raise DataError(
            f"{path}: must have {num_attributes} x {num_images} = {len(values)} lines (attributes x images), "
            f"has {'more' if count > len(values) else count}"
        )
    images, attributes, present = values.T
    expected = np.arange(len(values))
    wrong = (images != expected // num_attributes + 1) | (attributes != expected % num_attributes + 1) | (present & ~1 != 0)
    if wrong.any():
        raise DataError(
            f"{path}:{int(np.argmax(wrong)) + 1}: must be image, attribute and 0 or 1, "
            "in the order of images.txt and attributes.txt"
        )
    return present.reshape(num_images, num_attributes)


def prompt_name(attribute: str) -> str:
    """The attribute as a prompt reads it: has_bill_shape::curved_(up_or_down) is a "curved bill".

    The value without its remark in brackets, then the first word of the attribute. Sizes and shapes have one word only, so
    theirs keep the colons ("small size::small"): odd, but these are the names of the published relation matrix.
    """
    if not attribute.startswith("has_") or "::" not in attribute:
        return attribute
    body = attribute.removeprefix("has_")
    return f"{body.partition('::')[2].partition('_(')[0]} {body.partition('_')[0]}"


@register("datasets", "cub", config=CUBConfig)
def build_cub(config: CUBConfig) -> SPMLData:
    """The prepared arrays; prompts name the attributes in words."""
    outer = _outer(dataset_root(config))
    path = outer / "attributes.txt"
    folders = [str(n / "CUB_200_2011/images") for n in NESTINGS]
    return build_formatted(
        config, images=folders, class_names=attribute_names(path) if os.path.lexists(path) else None, prompt_name=prompt_name
    )
