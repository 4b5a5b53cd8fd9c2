"""Pseudo-labels of an experiment's training images, without training."""

from __future__ import annotations

import contextlib
import math
import os
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from accelerate import Accelerator

from aevlp.config import registry
from aevlp.config.errors import ConfigError
from aevlp.config.schema import ExperimentConfig
from aevlp.data.build import build_dataset
from aevlp.data.dataset import ImageSource, Split, blind
from aevlp.data.rows import take_rows
from aevlp.inference.label_formats import NAMES, Photo, labels_file
from aevlp.labelers import Explained, Labeler, build_labeler
from aevlp.output import output_file
from aevlp.training import labels_worth
from aevlp.training.progress import progress_bar
from aevlp.training.signals import KEPT
from aevlp.vision_language.shards import WHOLE, Shard, wanted_rows

CHUNK = 256  # images; on COCO their cosines are 1.4 MB
# "label" and "absent" are as in labels.csv: what is known, and with it what the row adds. "view" is whole, tile or tiles (their
# mean); rows and columns of tiles count from 0 at the top left.
COLUMNS = {
    "image": "string", "label": NAMES, "absent": NAMES, "class": "string", "sign": "int8", "score": "float32", "view": "string",
    "tile_row": "int32", "tile_column": "int32", "global_probability": "float32", "tile_probability": "float32",
    "observed": NAMES,
}  # fmt: skip


@dataclass(frozen=True)
class Labeled:
    """What was assigned. Counts are int64 (C,), of photos."""

    class_names: list[str]
    num_images: int
    known: np.ndarray
    """Where the class was observed."""
    assigned: np.ndarray
    """Where it is a pseudo-positive."""
    absent: np.ndarray
    """Where it is a pseudo-negative."""
    correct: np.ndarray | None
    """Where it is a pseudo-positive, and there; None where full labels are not known."""
    notes: list[str]
    """What a user should know of the data, and of the labels before the truth is looked at."""
    mirrored: bool = False
    """Whether training mirrors photos by chance, which here are taken as they are."""
    num_positives: int | None = None
    """Positives there were to find, all classes together; None where full labels are not known."""


def write_pseudo_labels(
    config: ExperimentConfig, path: Path | None, form: str, kept: Mapping[str, float] | None = None, shard: Shard = WHOLE
) -> Labeled:
    """Write the pseudo-labels of the training split in a format of `label_formats`, batch by batch; to stdout without a path.

    `kept` are the figures of a run's labeler.json, whose settings are taken instead of finding them. The rows of all shards, in
    their order, are those of the whole.

    Raises:
        ConfigError: the labeler assigns nothing, or cannot tell why.
        DataError: a class has a name that the format cannot hold.
        RunStopped: after a signal; nothing is left behind.
    """
    silent = f"labeler {config.labeler.name} assigns no pseudo-labels that it could explain; choose another: --set labeler=damp"
    kind = registry.get("labelers", config.labeler.name).build
    if isinstance(kind, type) and issubclass(kind, Labeler) and kind.explain is Labeler.explain:
        raise ConfigError(silent)  # before anything is read
    with contextlib.nullcontext() if path is None else output_file(path) as aside:
        data = build_dataset(config.dataset)
        labels_worth.require_known(config, data.train)
        with labels_file(aside, form, COLUMNS, data.class_names) as append:
            split = blind(data.train)
            labeler = build_labeler(config, data, Accelerator().device)
            wanted, part = shard.rows(len(split)), wanted_rows(labeler, shard, len(split))
            with progress_bar("encode views", len(split), KEPT) as progress:
                # As one list of images, and not by parts.
                labeler.encode(split, flip=False, progress=progress, **part)
            notes = list(data.notes)
            if kept is None:
                labels_worth.find_settings(config, split, labeler, notes.append)
            else:
                labeler.settle(labels_worth.settings_of(kept))
            # It looks at photos of all shards, which those may still have to encode.
            worth = labels_worth.foretell(config, split, labeler) if shard == WHOLE else None
            notes += worth.lines(calibrated=labels_worth.calibrated_on(config) > 0) if worth is not None else []
            counts = np.zeros((3, len(data.class_names)), dtype=np.int64)
            chunks = [range(first, min(first + CHUNK, wanted.stop)) for first in range(wanted.start, wanted.stop, CHUNK)]
            with progress_bar("label", len(split)) as progress:
                explained = labeler.explain_parts(split, chunks, progress)
                for rows, found in zip(chunks, explained, strict=True):
                    if found is None:
                        raise ConfigError(silent)
                    chunk = take_rows(data.train, np.array(rows))
                    append(as_photos(found, chunk, data.class_names, data.train.images))
                    counts += _counts(found, chunk.targets, len(data.class_names))
                    progress(rows.stop)
        observed = split.observed[wanted.start : wanted.stop]
        known, right, to_find = (observed > 0).sum(axis=0, dtype=np.int64), None, None
        if data.train.targets is not None:
            right, to_find = counts[2], int((data.train.targets[wanted.start : wanted.stop][observed == 0] == 1).sum())
        mirrored = config.dataset.flip and labeler.mirrors
        return Labeled(data.class_names, len(wanted), known, counts[0], counts[1], right, notes, mirrored, to_find)


def _counts(found: Explained, targets: np.ndarray | None, num_classes: int) -> np.ndarray:
    """Pseudo-positives, pseudo-negatives, and those of the first that are right, by class (3,C)."""
    rows, columns, signs = (field.cpu().numpy() for field in (found.row, found.column, found.sign))
    positive = signs > 0
    right = positive & (targets[rows, columns] == 1) if targets is not None else np.zeros_like(positive)
    return np.stack([np.bincount(columns[which], minlength=num_classes) for which in (positive, ~positive, right)])


def as_photos(found: Explained, split: Split, class_names: list[str], source: ImageSource) -> list[Photo]:
    """What is written of each image of `split`: of a table a row for each pseudo-label, or one if there is none.

    `source` is where the images are from.
    """
    fields = (found.row, found.column, found.sign, found.score, found.view, found.whole, found.tile)
    explained = defaultdict(list)
    for row, *values in zip(*(field.tolist() for field in fields), strict=True):
        explained[row].append(values)
    root, photos = getattr(source, "root", None), []
    for i in range(len(split)):
        image, rows = split.images.name(i), []
        known, absent = (tuple(class_names[j] for j in np.flatnonzero(split.observed[i] == sign)) for sign in (1, -1))
        labels: dict[str, float | None] = dict.fromkeys(known)
        for column, sign, score, view, whole, tile in explained[i]:
            name = class_names[column]
            spoke = "whole" if view == 0 else "tile" if view > 0 else "tiles"
            place = divmod(view - 1, found.grid) if view > 0 else (None, None)
            adds, rules_out = ((*known, name), absent) if sign > 0 else (known, (*absent, name))
            in_tile = None if math.isnan(tile) else tile
            rows.append((image, adds, rules_out, name, sign, score, spoke, *place, whole, in_tile, known))
            if sign > 0:
                labels[name] = score
        path = image if root is None else os.path.abspath(os.path.join(root, image))
        photos.append(Photo(image, path, labels, rows or [(image, known, absent, *[None] * 8, known)]))
    return photos
