"""Pseudo-labels of an experiment's training images, without training."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from accelerate import Accelerator

from aevlp.config import registry
from aevlp.config.errors import ConfigError
from aevlp.config.schema import ExperimentConfig
from aevlp.data.dataset import Split
from aevlp.data.rows import take_rows
from aevlp.inference.label_file import Columns, label_file
from aevlp.labelers import Explained, Labeler
from aevlp.training.progress import progress_bar
from aevlp.training.run import blind

CHUNK = 256  # images; on COCO their cosines are 1.4 MB


def write_pseudo_labels(config: ExperimentConfig, path: Path) -> tuple[int, int, list[str]]:
    """Write the pseudo-labels of the training split, batch by batch; returns the numbers of labels and images, and notes.

    Raises:
        ConfigError: the labeler assigns nothing, or cannot tell why.
        RunStopped: after a signal; nothing is left behind.
    """
    silent = f"labeler {config.labeler.name} assigns no pseudo-labels that it could explain; choose another: --set labeler=damp"
    kind = registry.get("labelers", config.labeler.name).build
    if isinstance(kind, type) and issubclass(kind, Labeler) and kind.explain is Labeler.explain:
        raise ConfigError(silent)  # before anything is read
    with label_file(path) as append:
        data = registry.build("datasets", config.dataset)
        split = blind(data.train)
        labeler = registry.build(
            "labelers", config.labeler, prompt_names=data.prompt_names, flip=config.dataset.flip, seed=config.seed,
            device=Accelerator().device,
        )  # fmt: skip
        with progress_bar("encode views", len(split)) as progress:
            labeler.encode(split, flip=False, progress=lambda done, _: progress(done))  # as one list of images, not by chunks
        count = 0
        with progress_bar("label", len(split)) as progress:
            for first in range(0, len(split), CHUNK):
                rows = np.arange(first, min(first + CHUNK, len(split)))
                chunk = take_rows(split, rows)
                found = labeler.explain(chunk, lambda done, _, first=first: progress(first + done))
                if found is None:
                    raise ConfigError(silent)
                append(as_columns(found, chunk, data.class_names))
                count += len(found.row)
                progress(int(rows[-1]) + 1)
        return count, len(split), data.notes


def as_columns(found: Explained, split: Split, class_names: list[str]) -> Columns:
    """What `label_file` writes."""
    observed = [";".join(class_names[j] for j in np.flatnonzero(labels > 0)) for labels in split.observed]
    rows, views = found.row.tolist(), found.view.tolist()
    return {
        "image": [split.images.name(row) for row in rows],
        "class": [class_names[column] for column in found.column.tolist()],
        "sign": found.sign.tolist(),
        "score": found.score.tolist(),
        "view": ["whole" if view == 0 else "tile" if view > 0 else "tiles" for view in views],
        "tile_row": [(view - 1) // found.grid if view > 0 else None for view in views],
        "tile_column": [(view - 1) % found.grid if view > 0 else None for view in views],
        "global_probability": found.whole.tolist(),
        "tile_probability": [None if math.isnan(value) else value for value in found.tile.tolist()],
        "observed": [observed[row] for row in rows],
    }
