"""What a split tells of the model and of pseudo-labels: metrics by name. What cannot be computed is left out, never 0."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from aevlp.config.errors import DataError
from aevlp.config.schema import ExperimentConfig
from aevlp.data.dataset import Split, SPMLData, blind
from aevlp.labelers import Labeler
from aevlp.metrics import (
    known_label_quality,
    mean_average_precision,
    mean_over_classes,
    num_occurring,
    observed_average_precision_per_class,
    pseudo_label_quality,
)
from aevlp.metrics.observed import num_assumed_absent
from aevlp.text import are, counted, listed
from aevlp.tracking.metrics import BY_KNOWN, EXACT, LOWER_BOUND

NAMED = 5  # classes in a note
# Scores that know nothing of a class have about its share of images for average precision: of 1,000 images, with 230 positives
# 23.6 ± 1.4 %, with 50 5.6 ± 1.0 %. So a class is told that has no more than its share s and a quarter of s (1 - s).
CHANCE, FEWEST_POSITIVES = 0.25, 50
FEW_PHOTOS = 30  # of which figures are told with their number
Figures = dict[str, float]
UNKNOWN: dict[str, None] = dict.fromkeys((
    "val/mAP", "test/mAP",
    *(f"pseudo/{sign}/{key}" for sign in ("positive", "negative") for key in ("precision", "recall", "f1", "count")),
))  # fmt: skip
"""Names that are in every summary.json, null where they are not known."""


def by_known_labels(config: ExperimentConfig, data: SPMLData) -> bool:
    """Whether known labels choose the epoch: where validation has no others, or `selection.labels` says so."""
    return data.val.targets is None or config.selection.labels == "observed"


def takes_last(config: ExperimentConfig, data: SPMLData) -> bool:
    """Whether all epochs are trained and the last is kept: as `selection.epoch` says; auto goes by the labels there are."""
    choice = config.selection.epoch
    return choice == "last" or (choice == "auto" and by_known_labels(config, data) and num_assumed_absent(data.val.observed) > 0)


def split_figures(name: str, split: Split, logits: np.ndarray, pseudo: np.ndarray | None = None) -> Figures:
    """mAP by full and by known labels, and `known_label_quality`, of logits (N,C); `pseudo` is what a labeler says."""
    observed = mean_over_classes(observed_average_precision_per_class(split.observed, logits))
    full = None if split.targets is None else mean_average_precision(split.targets, logits)
    labels = split.observed if split.targets is None else split.targets
    found = {"mAP": full, "mAP_observed": observed, "mAP_classes": num_occurring(labels)}
    if (assumed := num_assumed_absent(split.observed)) < num_occurring(split.observed):
        found["mAP_assumed"] = assumed
    found |= known_label_quality(logits, split.observed, pseudo)
    return {f"{name}/{key}": value for key, value in found.items() if value is not None and not math.isnan(value)}


def rests_on(num_images: int, positives: np.ndarray) -> str:
    """What figures rest on where that is little, such as "of 12 photos", else nothing; `positives` (C,) are counts by class."""
    alone = int((positives == 1).sum())
    if num_images < FEW_PHOTOS:
        return f"of {counted(num_images, 'photo')}"
    return f"of {counted(num_images, 'photo', ',')}, {counted(alone, 'class')} in one alone" if alone else ""


def rests_on_by_split(data: SPMLData) -> dict[str, str]:
    """`rests_on` of the figures of val and test."""
    splits = {name: split for name, split in (("val", data.val), ("test", data.test)) if split is not None}
    labels = {name: split.observed if split.targets is None else split.targets for name, split in splits.items()}
    return {name: rests_on(len(split), (labels[name] > 0).sum(axis=0)) for name, split in splits.items()}


def of_best_epoch(row: Mapping[str, Any], prefix: str) -> Figures:
    """Figures by known labels, which `row` has under `prefix`, by their names of the best epoch."""
    return {f"best/val_{name}": row[prefix + name] for name in BY_KNOWN if row.get(prefix + name) is not None}


def pseudo_figures(prefix: str, split: Split, pseudo: np.ndarray) -> Figures:
    """Quality of pseudo-labels (N,C) against full labels, their number alone where these are not known.

    Negatives are left out where there are none, as of a labeler that does not give any, and so is the precision of no positive.
    """
    if split.targets is None:
        assigned = pseudo * (split.observed == 0)
        quality: dict[str, dict[str, float]] = {
            "positive": {"count": int((assigned > 0).sum())}, "negative": {"count": int((assigned < 0).sum())},
        }  # fmt: skip
    else:
        quality = pseudo_label_quality(pseudo, split.observed, split.targets)
    if not quality["negative"]["count"]:
        del quality["negative"]
    return {
        f"{prefix}/{sign}/{key}": value
        for sign, values in quality.items()
        for key, value in values.items()
        if key != "precision" or values["count"]
    }


def require_choice(config: ExperimentConfig, data: SPMLData) -> None:
    """DataError where no validation image has a label that could choose an epoch."""
    labels = data.val.observed if data.val.targets is None or by_known_labels(config, data) else data.val.targets
    if not num_occurring(labels):
        raise DataError("no image of the validation split has a label, so no epoch can be chosen; give some images labels")


def notes(config: ExperimentConfig, data: SPMLData) -> list[str]:
    """What has to be said of the figures before they come."""
    found = []
    all_trained = "all epochs are trained, and the last is taken"
    if config.selection.epoch == "last":
        found.append(f"selection.epoch=last: {all_trained}")
    if by_known_labels(config, data):
        why = "selection.labels=observed" if data.val.targets is not None else "not all labels of the validation images are known"
        measured = f"val mAP (known labels), {LOWER_BOUND if num_assumed_absent(data.val.observed) else EXACT}"
        if config.selection.epoch == "last":
            found.append(f"{why}: epochs are measured by {measured}")
        elif takes_last(config, data):
            found.append(f"{why}: {all_trained}; they are measured by {measured}; selection.epoch=best lets it choose the epoch")
        else:
            found.append(f"{why}: the epoch is chosen by {measured}; selection.epoch=last takes the last instead")
    for title, split in (("validation", data.val), ("test", data.test)):
        if split is None:
            continue
        if title == "test" and split.targets is None:
            bound = "a lower bound" if num_assumed_absent(split.observed) else EXACT
            found.append(f"not all labels of the test images are known: test mAP (known labels) is {bound}")
        labels = split.observed if split.targets is None else split.targets
        absent = [data.class_names[j] for j in np.flatnonzero((labels <= 0).all(axis=0))]
        if absent:
            names = listed(absent, NAMED)
            count, why = len(data.class_names), "without an image" if split.targets is not None else "known in no image"
            found.append(f"mAP on {title} is over {count - len(absent)} of {count} classes; {why}: {names}")
    return found


def lost_classes(class_names: Sequence[str], targets: np.ndarray, precisions: np.ndarray) -> str | None:
    """A note of the classes whose average precision (C,), in percent, is that of chance on full labels (N,C), or None."""
    positives = (targets > 0).sum(axis=0)
    share = positives / len(targets)
    lost = np.flatnonzero((positives >= FEWEST_POSITIVES) & (precisions <= 100 * share * (1 + CHANCE * (1 - share)))).tolist()
    if not lost:
        return None
    named = listed([f"{class_names[j]} ({precisions[j]:.1f})" for j in lost], NAMED)
    return f"{len(lost)} of {len(class_names)} classes {are(len(lost))} ranked as by chance on test: {named}; try another seed"


def judge_labeler(labeler: Labeler, split: Split, name: str, progress: Any) -> tuple[Figures, np.ndarray | None]:
    """Quality of the labeler on images it is not used for, and of its scores as predictions; and what it says of them.

    Nothing and None of a labeler that has no scores.
    """
    result = labeler.evaluate(blind(split), progress)
    if result is None:
        return {}, None
    scores, pseudo = (part.numpy() for part in result)
    quality = pseudo_figures(f"{name}/pseudo", split, pseudo)
    if split.targets is not None and (split.targets > 0).any():
        quality[f"{name}/labeler_mAP"] = mean_average_precision(split.targets, scores)
    return quality, pseudo
