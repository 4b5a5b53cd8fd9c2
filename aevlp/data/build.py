"""A dataset as its configuration says, with the answers of a review where there are some."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from aevlp.config import registry
from aevlp.config.errors import DataError, suggest
from aevlp.config.schema import DatasetConfig
from aevlp.data.dataset import SPMLData
from aevlp.data.imports.answers import read_answers
from aevlp.text import are, counted


def build_dataset(config: DatasetConfig) -> SPMLData:
    """Build the dataset; errors as its format raises them, and DataError for answers that do not fit it."""
    data: SPMLData = registry.build("datasets", config)
    return data if config.answers is None else _with_answers(data, Path(config.answers))


def _with_answers(data: SPMLData, path: Path) -> SPMLData:
    """The same, with what a person said of training images known as well; of images that were left out, nothing."""
    images = data.train.images
    rows = {images.name(row): row for row in range(len(images))}
    columns = {name: column for column, name in enumerate(data.class_names)}
    observed, added, skipped = data.train.observed.copy(), 0, 0
    for answer in read_answers(path):
        where = f"{path}:{answer.line}"
        if answer.class_name not in columns:
            raise DataError(f"{where}: the dataset has no class {answer.class_name!r}{suggest(answer.class_name, columns)}")
        if answer.split:
            raise DataError(f"{where}: {answer.image} is to become one of split {answer.split}; only `import` does that")
        if answer.image in data.train.left_out:
            skipped += 1
            continue
        if answer.image not in rows:
            raise DataError(f"{where}: {answer.image} is no training image of this dataset")
        entry = rows[answer.image], columns[answer.class_name]
        said = {"yes": 1, "no": -1, "unsure": 0}[answer.answer]
        if said * observed[entry] < 0:
            opposite = f"{answer.class_name!r} in {answer.image} is answered {answer.answer}, and known to be"
            raise DataError(f"{where}: {opposite} {'there' if said < 0 else 'absent'}")
        added += bool(said) and observed[entry] == 0
        observed[entry] = said or observed[entry]
    told = f"{counted(added, 'label', ',')} of training images {are(added)} known by {path}"
    if skipped:
        told += f"; {counted(skipped, 'answer', ',')} {are(skipped)} about images that are left out"
    return replace(data, train=replace(data.train, observed=observed), notes=[*data.notes, told])
