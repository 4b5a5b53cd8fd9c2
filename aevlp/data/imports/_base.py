"""What converters share: their settings, what they yield, what they tell, and words that mean a split."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from aevlp.config.errors import DataError
from aevlp.config.schema import ComponentConfig
from aevlp.data.table import Row
from aevlp.reading import open_regular
from aevlp.text import listed

MAX_BYTES = 1_000_000_000  # of one JSON file: COCO's largest, instances_train2017.json, has 450 million
AS_KNOWN = "they are taken as known labels, never as all there are"  # what a model guesses
SHOWN = 3  # names told of each kind of thing; further ones are counted
_SPLITS = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val", "test": "test",
    "testing": "test",
}  # fmt: skip


class ImportConfig(ComponentConfig):
    """Base of the settings of a converter."""

    partial: ClassVar[bool] = False
    """Whether an export names more photos than anybody has, so that those that are absent are no fault."""
    adds: ClassVar[bool] = False
    """Whether it adds to what a table says already, instead of making one."""

    @classmethod
    def recognises(cls, source: Path, files: list[str]) -> bool:
        """Whether a file or folder looks like this kind; `files` are the names of all that lie below a folder."""
        return False


@dataclass(frozen=True, slots=True)
class Found:
    """What an export says of a photo.

    The row has the photo's name as the export has it, and its line, 0 where the file has none. `otherwise` are names it may have
    if there is no such photo.
    """

    file: Path
    row: Row
    otherwise: tuple[str, ...] = ()

    @property
    def where(self) -> str:
        """File and line, for messages."""
        return f"{self.file}:{self.row.line}" if self.row.line else str(self.file)


_MANY, _ONE = r"\1", r"\2"
_BY_NUMBER = re.compile(r"\{([^|}]*)\|([^|}]*)\}")


class Tally:
    """How often what happened, and the first few it happened to."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._first: dict[str, list[str]] = defaultdict(list)

    def add(self, what: str, name: str) -> None:
        """Count one. Words of `what` that depend on the number are written as {photos are|photo is}."""
        self.counts[what] += 1
        if self.counts[what] <= SHOWN:
            self._first[what].append(name)

    def lines(self) -> list[str]:
        """A line for each kind."""
        return [
            f"{count:,} {_BY_NUMBER.sub(_ONE if count == 1 else _MANY, what)}: {listed(self._first[what], SHOWN, count)}"
            for what, count in self.counts.items()
        ]


@dataclass(frozen=True)
class Report:
    """What a user should know of an import: what is not in the table, and what is, but not as it was written."""

    left_out: Tally = field(default_factory=Tally)
    notes: Tally = field(default_factory=Tally)
    sentences: list[str] = field(default_factory=list)


def split_of(word: str) -> str | None:
    """The split that a word means, such as `valid` or `train2017`; None where it means none."""
    return _SPLITS.get(re.sub(r"\d{4}$", "", word.casefold()))


def split_in(name: str) -> str:
    """The split that a word of a file's name means, as in `instances_val2017.json`, or a folder above it; empty without."""
    words = re.split(r"[._-]", name.rpartition("/")[2])
    return next((split for word in reversed(words) if (split := split_of(word))), None) or split_above(name)


def split_above(name: str) -> str:
    """The split that a folder of a name means, the nearest that does; empty without."""
    return next((split for word in reversed(name.split("/")[:-1]) if (split := split_of(word))), "")


def begins_with(path: Path, mark: str) -> bool:
    """Whether the first sign of a file that is not blank is this one."""
    try:
        with open_regular(path) as file:
            return file.read(1000).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(mark.encode())
    except (OSError, DataError):
        return False
