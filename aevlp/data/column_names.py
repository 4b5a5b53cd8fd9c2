"""What the columns of a CSV file of photos are called, by people and by this program."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from aevlp.data.csv_lines import rows_of, separator_of
from aevlp.data.locate import is_photo

COMMON = {
    "image": ("image", "filename", "file_name", "file", "path", "image_path", "filepath", "file_path", "image_name", "img"),
    "label": ("label", "class", "category", "tag"),
    "absent": ("absent",),
    "labels": ("labels", "classes", "categories", "tags"),
    "split": ("split", "subset", "set"),
}
"""Names that columns have, the likeliest first."""
TAKEN = {name for names in COMMON.values() for name in names}
PROBABILITY = " (probability)"  # follows the name of a class that would pass for one of these columns
GUESSES = "a model's guesses, not what a person said"


def are_common(header: Sequence[str]) -> bool:
    """Whether the names of columns tell by themselves which holds the photo, and which a label."""
    names = {name.strip().casefold() for name in header}
    return not names.isdisjoint(COMMON["image"]) and not names.isdisjoint(COMMON["label"] + COMMON["labels"])


def line_above(path: Path, header: Sequence[str]) -> str | None:
    """What to do where no names stand in the first line of a CSV file, as it is about a photo already; None where it is not."""
    if not any(map(is_photo, header)):
        return None
    if len(header) != 2:
        return "That is about a photo: put such a line above it"
    names, separator = ("image", "label") if is_photo(header[0]) else ("label", "image"), separator_of(path)
    line = f"{names[0]},{names[1]}, with a tab for the comma," if separator == "\t" else separator.join(names)
    return f"That is about a photo: put the line {line} above it"


def is_of_label(header: Sequence[str]) -> bool:
    """Whether columns are those that `label` writes."""
    return {"sign", "view", "global_probability"} <= set(header)


def classes_of_predict(header: Sequence[str]) -> list[str] | None:
    """The columns of classes, where columns are those that `predict` writes: image, a class or more, labels; else None."""
    image, *classes, labels = header if len(header) > 2 else ["", "", ""]
    has_others = TAKEN & {name.casefold() for name in classes}
    return None if (image, labels) != ("image", "labels") or has_others else classes


def is_of_predict(path: Path, header: Sequence[str]) -> bool:
    """Whether a CSV file is as `predict` writes it. Errors as of `rows_of`."""
    return are_of_predict(header, (words for _, words in itertools.islice(rows_of(path), 1, None)))


def are_of_predict(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> bool:
    """Whether rows are as `predict` writes them: the image, a probability for each class, and labels, which are classes.

    They are looked at until one has labels.
    """
    classes = classes_of_predict(header)
    if classes is None:
        return False
    names = {name.removesuffix(PROBABILITY) for name in classes} | set(classes)
    for words in rows:
        if len(words) != len(header) or not all(map(_is_probability, words[1:-1])):
            return False
        labels = words[-1].split("|") if isinstance(words[-1], str) and words[-1] else words[-1]
        if labels:
            return isinstance(labels, list) and all(isinstance(label, str) and label in names for label in labels)
    return True


def _is_probability(value: Any) -> bool:
    try:
        return isinstance(value, str | float) and 0 <= float(value) <= 1
    except ValueError:
        return False
