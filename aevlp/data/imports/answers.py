"""Answers of a review: which classes are in a photo, and which are not. They are added to a table that is there.

    image,class,answer,split,source
    cats/one.jpg,cat,yes,,20261128-093000-folder_gpr
    cats/one.jpg,dog,no,,20261128-093000-folder_gpr

`answer` is yes, no or unsure; of the last nothing is known. `split`, where it stands, is what the photo is for from now on.
Names of columns, answers and splits may have capitals, which spreadsheets give them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from aevlp.config.errors import DataError, suggest
from aevlp.config.registry import register
from aevlp.data.csv_lines import first_line, require_csv, rows_of
from aevlp.data.imports._base import Found, ImportConfig, Report
from aevlp.data.table import SPLITS, Row

COLUMNS = ["image", "class", "answer", "split", "source"]
ANSWERS = ("yes", "no", "unsure")


class AnswersImport(ImportConfig):
    """No settings."""

    adds: ClassVar[bool] = True

    @classmethod
    def recognises(cls, source: Path, files: list[str]) -> bool:
        """A CSV file with these columns."""
        return source.is_file() and _are_columns(first_line(source))


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, and the line that gives it."""

    line: int
    image: str
    class_name: str
    answer: str
    split: str = ""
    source: str = ""

    @property
    def row(self) -> Row:
        """What is known by it."""
        names = (self.class_name,)
        return Row(
            self.line, self.image, known=names if self.answer == "yes" else (), absent=names if self.answer == "no" else (),
            split=self.split,
        )  # fmt: skip


def read_answers(path: Path) -> Iterator[Answer]:
    """The answers of a file, line by line; those that are said again are one.

    Raises:
        DataError: absent; or naming the line that is no answer, or says the opposite of an earlier one.
    """
    require_csv(path)
    rows = rows_of(path)
    if not _are_columns(next(rows, (1, []))[1]):
        raise DataError(f"{path}:1: the first line of answers is {','.join(COLUMNS)}")
    before: dict[tuple[str, str], Answer] = {}
    for line, words in rows:
        if len(words) != len(COLUMNS):
            raise DataError(f"{path}:{line}: has {len(words)} fields instead of {len(COLUMNS)}")
        image, class_name, answer, split, source = words
        found = Answer(line, image, class_name, answer.strip().casefold(), split.strip().casefold(), source)
        if found.answer not in ANSWERS:
            raise DataError(
                f"{path}:{line}: the answer is {found.answer!r}{suggest(found.answer, ANSWERS)}; known are {', '.join(ANSWERS)}"
            )
        if found.split not in ("", *SPLITS):
            raise DataError(f"{path}:{line}: split {found.split!r} is unknown{suggest(found.split, SPLITS)}")
        if not (found.image and found.class_name):
            raise DataError(f"{path}:{line}: names no {'class' if found.image else 'image'}")
        earlier = before.setdefault((found.image, found.class_name), found)
        if earlier.answer != found.answer:
            opposite = f"{found.answer}, but {earlier.answer} in line {earlier.line}"
            raise DataError(f"{path}:{line}: {found.class_name!r} in {found.image}: {opposite}")
        if earlier is found:
            yield found


def _are_columns(header: list[str]) -> bool:
    return [name.strip().casefold() for name in header] == COLUMNS


@register("imports", "answers", config=AnswersImport)
def found_answers(config: AnswersImport, *, source: Path, report: Report) -> Iterator[Found]:
    """What is known by each answer."""
    unsure = 0
    for answer in read_answers(source):
        unsure += answer.answer == "unsure"
        yield Found(source, answer.row)
    if unsure:
        report.sentences.append(f"unsure answers, by which nothing is known: {unsure:,}")
