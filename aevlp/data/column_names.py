"""What the columns of a CSV file of photos are called, by people and by this program."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

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
    line = separator_of(path).join(("image", "label") if is_photo(header[0]) else ("label", "image"))
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
    """Whether a file is as `predict` writes it: the image, a probability for each class, and labels, which are classes.

    Errors as of `rows_of`.
    """
    classes = classes_of_predict(header)
    if classes is None:
        return False
    names = {name.removesuffix(PROBABILITY) for name in classes} | set(classes)
    for _, words in itertools.islice(rows_of(path), 1, None):
        cell = words[-1]
        if (
            len(words) != len(header)
            or not all(map(_is_probability, words[1:-1]))
            or (cell and not names.issuperset(cell.split("|")))
        ):
            return False
        if cell:
            break
    return True


def _is_probability(word: str) -> bool:
    try:
        return 0 <= float(word) <= 1
    except ValueError:
        return False
