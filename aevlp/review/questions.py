"""The questions of a review: a trained run looks at its training images, and says which labels it would know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from accelerate import Accelerator

from aevlp.config.errors import ConfigError, DataError
from aevlp.data.build import build_dataset
from aevlp.data.dataset import Split, SPMLData, blind
from aevlp.data.rows import take_rows
from aevlp.inference.evaluate import notes_of, split_logits
from aevlp.inference.trained import Trained, with_data_names
from aevlp.labelers import Labeler, build_labeler
from aevlp.metrics.thresholds import sigmoid
from aevlp.review.orders import Beliefs, Order, ask, complete, draw_photos
from aevlp.text import counted
from aevlp.training.labels_worth import settings_of
from aevlp.training.progress import progress_bar


@dataclass(frozen=True)
class Questions:
    """K labels to ask for, the first first."""

    class_names: list[str]
    notes: list[str]
    """What a user should be told of the data."""
    split: Split
    """Without its full labels."""
    targets: np.ndarray | None
    """Those labels, which only a simulated person reads; None where they are not known."""
    rows: np.ndarray
    """int64 (K,)"""
    columns: np.ndarray
    """int64 (K,)"""
    beliefs: Beliefs
    tiles: np.ndarray
    """int64 (K,): the tile, row-major, in which the labeler finds the class most; -1 where the whole image says as much."""
    grid: int
    """Tiles per side; 0 where there are none."""
    becomes: Literal["", "val", "test"] = ""
    """Split that the photos are for, once all is known of them; empty where they stay where they are."""


def questions(
    trained: Trained, *, order: Order, count: int, photos: int = 0, becomes: Literal["val", "test"] = "test", seed: int = 0,
) -> Questions:  # fmt: skip
    """Score the training images by model and labeler, and choose.

    Args:
        trained: a run's model.
        order: what comes first; see `aevlp.review.orders.ask`.
        count: questions.
        photos: where above 0, every unknown label of so many photos instead, drawn at random of those with any.
        becomes: split that these photos are for: they are drawn from it where it has photos, else from the training photos.
        seed: of what is drawn.

    Raises:
        DataError: nothing is left to ask.
        CheckpointError: the model does not fit the dataset.
    """
    config = trained.config
    data: SPMLData = build_dataset(config.dataset)
    trained = with_data_names(trained, data.class_names)
    split = _asked_about(data, becomes) if photos else data.train
    notes = notes_of(trained, data)
    if photos:  # only these are looked at
        there = np.flatnonzero((split.observed == 0).any(axis=1))
        if photos > len(there):
            raise ConfigError(f"--complete {photos}: only {len(there):,} photos are left of which anything is unknown")
        if split is not data.train and photos < len(there):
            more = f"{counted(len(there) - photos, 'more photo', ',')} of which not all is known"
            notes.append(f"split {becomes} holds {more}; full figures need `--complete {len(there)}`")
        split = take_rows(split, draw_photos(there, photos, seed))
    targets, split = split.targets, blind(split)
    if not (split.observed == 0).any():
        raise DataError("all labels of these photos are known: there is nothing to ask")
    labeler = build_labeler(config, data, Accelerator().device, flip=False)
    labeler.settle(settings_of(trained.summary))
    beliefs = Beliefs(split.observed, sigmoid(split_logits(trained, split, "photos")), *_by_labeler(labeler, split))
    rows, columns = complete(beliefs, np.arange(len(split))) if photos else ask(beliefs, order, count, seed)
    tiles, grid = _tiles(labeler, split, rows, columns)
    return Questions(data.class_names, notes, split, targets, rows, columns, beliefs, tiles, grid, becomes if photos else "")


def _asked_about(data: SPMLData, becomes: Literal["val", "test"]) -> Split:
    """Photos that a set with full labels is to be made of: those of that split, if it has any without."""
    there = data.val if becomes == "val" else data.test
    return data.train if there is None or there.targets is not None or not len(there) else there


def _by_labeler(labeler: Labeler, split: Split) -> tuple[np.ndarray | None, np.ndarray | None]:
    with progress_bar("look at tiles", len(split)) as progress:
        found = labeler.evaluate(split, progress)
    return (None, None) if found is None else (found[0].numpy(), found[1].numpy())


def _tiles(labeler: Labeler, split: Split, rows: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, int]:
    """Where the labeler sees each class; only photos that are asked about are looked at once more, from the cache."""
    photos, place = np.unique(rows, return_inverse=True)
    with progress_bar("find tiles", len(photos)) as progress:
        labeler.prepare(take_rows(split, photos), progress)
    views = labeler.view_scores(torch.arange(len(photos)))
    if views is None or views.shape[1] < 2:
        return np.full(len(rows), -1), 0
    seen = views.cpu().numpy()[place, :, columns]
    whole, tiles = seen[:, 0], seen[:, 1:]
    return np.where(tiles.max(axis=1) > whole, tiles.argmax(axis=1), -1), round(tiles.shape[1] ** 0.5)
