"""Answers by the full labels, so that orders of questions can be measured without a person."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING

from aevlp.config.errors import DataError
from aevlp.data.csv_lines import rows_of
from aevlp.data.imports.answers import COLUMNS
from aevlp.output import output_file

if TYPE_CHECKING:
    from aevlp.review.questions import Questions

MARK = " --simulate"  # behind the source of each answer: what a person said looks the same but for that


def write_answers(asked: Questions, source: str, target: Path) -> int:
    """Write answers.csv as the page would save it, all questions answered rightly; returns the number of yes.

    Raises:
        DataError: the full labels are not known.
    """
    if asked.targets is None:
        raise DataError("--simulate answers from full labels, and these photos have none")
    truth = asked.targets[asked.rows, asked.columns] == 1
    with output_file(target) as path, path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for row, column, yes in zip(asked.rows.tolist(), asked.columns.tolist(), truth.tolist(), strict=True):
            name = asked.split.images.name(row)
            writer.writerow([name, asked.class_names[column], "yes" if yes else "no", asked.becomes, source + MARK])
    return int(truth.sum())


def is_simulated(path: Path) -> bool:
    """Whether all answers of a file are by `write_answers`; DataError where it is no CSV."""
    rows = rows_of(path)
    return next(rows, (1, []))[1] == COLUMNS and all(words[-1].endswith(MARK) for _, words in rows)
