"""Answers by the full labels, so that orders of questions can be measured without a person."""

from __future__ import annotations

import csv
from pathlib import Path

from aevlp.config.errors import DataError
from aevlp.data.imports.answers import COLUMNS
from aevlp.output import output_file
from aevlp.review.questions import Questions


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
            writer.writerow([name, asked.class_names[column], "yes" if yes else "no", asked.becomes, source])
    return int(truth.sum())
