"""Questions about what `predict` wrote: its scores are all that is known of these photos."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from aevlp.config.errors import DataError
from aevlp.data.column_names import PROBABILITY, classes_of_predict
from aevlp.data.csv_lines import require_csv, rows_of
from aevlp.data.dataset import Split
from aevlp.data.images import Photos
from aevlp.review.orders import Beliefs, Order, ask
from aevlp.review.questions import Questions


def questions_of_predictions(path: Path, *, order: Order, count: int, seed: int = 0) -> Questions:
    """Choose from a CSV file of `predict`: image, a column a class with its probability, labels.

    Photos are found as the file names them: relative to the working folder, or absolute. `value` then is by the model alone.

    Raises:
        DataError: absent, or naming the line that is not of such a file.
    """
    require_csv(path)
    rows = rows_of(path)
    header = next(rows, (1, []))[1]
    classes = classes_of_predict(header)
    if classes is None:
        raise DataError(f"{path}:1: is no CSV file that `predict` wrote: its columns are image, one a class, labels")
    names, scores = [], []
    for line, words in rows:
        try:
            values = np.array(words[1:-1], dtype=np.float32)
        except ValueError as error:
            raise DataError(f"{path}:{line}: {error}") from error
        if len(words) != len(header) or not ((values >= 0) & (values <= 1)).all():
            raise DataError(f"{path}:{line}: must have an image, {len(classes)} probabilities, and labels")
        names.append(words[0])
        scores.append(values)
    if not names:
        raise DataError(f"{path}: holds no photo")
    model = np.stack(scores)
    observed = np.zeros(model.shape, dtype=np.int8)
    beliefs = Beliefs(observed, model, None, (model >= 0.5).astype(np.int8))  # which is what predictions are taken for
    chosen, columns = ask(beliefs, order, count, seed)
    split = Split(Photos(Path(), names), observed, None)
    class_names = [name.removesuffix(PROBABILITY) for name in classes]
    return Questions(class_names, [], split, None, chosen, columns, beliefs, np.full(len(chosen), -1), 0)
