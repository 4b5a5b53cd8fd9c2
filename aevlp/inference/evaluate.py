"""How good a trained model is on a split: mAP, and precision, recall and F1 at thresholds."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aevlp.config.errors import DataError
from aevlp.data.build import build_dataset
from aevlp.data.dataset import Split
from aevlp.data.fingerprint import fingerprint
from aevlp.data.loaders import eval_loader
from aevlp.data.workers import deaths_told
from aevlp.inference.trained import Scorer, Trained, with_data_names
from aevlp.layout import Sheet
from aevlp.metrics import average_precision_per_class
from aevlp.metrics.thresholds import GRID, Quality, best_thresholds, quality_at, sigmoid
from aevlp.output import not_writable, output_files
from aevlp.terminal import Terminal
from aevlp.training.progress import progress_bar

MANY = 30  # classes; of more the table shows the ten best and the ten worst
DEFAULT_THRESHOLD = 0.5  # of a class without a positive in validation


@dataclass(frozen=True)
class Evaluation:
    """Everything `eval` tells; see `aevlp.metrics` for units and conventions."""

    class_names: list[str]
    split: str
    num_images: int
    positives: np.ndarray
    precisions: np.ndarray
    """Average precision of each class."""
    by_threshold: dict[float, Quality]
    thresholds: np.ndarray
    """(C,) chosen on validation, 0.5 where that has no positive of the class."""
    unchosen: list[str]
    """Classes without a positive in validation."""
    at_best: Quality
    chosen_on: str
    notes: list[str]
    """What has to be told of the data, such as images left out, or that they are others than in training."""

    @property
    def mean_average_precision(self) -> float:
        """In percent, as in the run's summary."""
        return float(self.precisions.mean())


def evaluate(trained: Trained, split_name: str) -> Evaluation:
    """Score the split "val" or "test" of the model's dataset.

    Raises:
        DataError: the split has no full labels.
        CheckpointError: the model does not fit the dataset.
    """
    data = build_dataset(trained.config.dataset)
    trained = with_data_names(trained, data.class_names)
    split: Split | None = data.test if split_name == "test" else data.val
    if split is None or split.targets is None:
        raise DataError(f"the dataset has no full labels for the {split_name} split, so nothing can be measured on it")
    changed = "" if trained.data is None else fingerprint(data).difference(trained.data)
    notes = data.notes + ([f"these are not the data that the run was trained on: {changed}"] if changed else [])
    scorer = Scorer(trained, len(data.class_names))
    logits = _logits(scorer, trained, split, split_name)
    thresholds, chosen_on = trained.thresholds, "the run's validation scores"
    if thresholds is None:
        labels = data.val.observed if data.val.targets is None else data.val.targets
        on_val = logits if split is data.val else _logits(scorer, trained, data.val, "val")
        thresholds, chosen_on = best_thresholds(labels, sigmoid(on_val)), "the validation split"
    unknown = np.isnan(thresholds)
    thresholds = np.where(unknown, DEFAULT_THRESHOLD, thresholds)
    probabilities = sigmoid(logits)
    return Evaluation(
        data.class_names, split_name, len(split), (split.targets == 1).sum(axis=0),
        average_precision_per_class(split.targets, logits),
        {threshold: quality_at(split.targets, probabilities, threshold) for threshold in GRID},
        thresholds, [data.class_names[j] for j in np.flatnonzero(unknown)],
        quality_at(split.targets, probabilities, thresholds), chosen_on, notes,
    )  # fmt: skip


def _logits(scorer: Scorer, trained: Trained, split: Split, name: str) -> np.ndarray:
    settings = trained.config.trainer
    if not len(split):
        raise DataError(f"the {name} split holds no image")
    batches = eval_loader(
        split, image_size=trained.config.dataset.image_size, batch_size=settings.eval_batch_size,
        num_workers=settings.num_workers,
    )  # fmt: skip
    with progress_bar(f"score {name}", len(split)) as progress, deaths_told():
        return scorer.all_logits(batches, progress)


def print_evaluation(found: Evaluation, source: str, console: Terminal | None = None) -> None:
    """Two tables and what they rest on."""
    console = console or Terminal()
    count = len(found.class_names)
    console.tell(f"{source}  {found.split} split, {found.num_images} images, {count} classes")
    for note in found.notes:
        console.tell(note)
    console.say(f"mAP {found.mean_average_precision:.2f}")
    console.say("")
    titles = [f"{mean} {word}" for mean in ("micro", "macro") for word in ("precision", "recall", "F1")]
    by_threshold = [
        [str(threshold), *(f"{value:.1f}" for value in (*quality.micro, *quality.macro))]
        for threshold, quality in [*found.by_threshold.items(), ("best", found.at_best)]
    ]
    console.table(Sheet("", ["threshold", *titles], by_threshold))
    told = f"best: one threshold a class, that of the highest F1 on {found.chosen_on}"
    if found.split == "test":
        told += "; the test labels had no part in it"
    console.tell(told)
    if found.split == "val":
        console.tell("these figures are optimistic: the same images chose thresholds and checkpoint")
    if found.unchosen:
        names = ", ".join(found.unchosen[:5]) + (", ..." if len(found.unchosen) > 5 else "")
        text = f"without a positive in validation, so the threshold is {DEFAULT_THRESHOLD}: {names}"
        console.tell(text)
    console.say("")
    order = np.argsort(-found.precisions, kind="stable")
    rows = [int(j) for j in (range(count) if count <= MANY else (*order[:10], *order[-10:]))]
    per_class = []
    for number, j in enumerate(rows):
        if count > MANY and number == 10:
            per_class.append([f"... {count - 20} more", *[""] * (len(CSV_COLUMNS) - 1)])
        name, positives, *values = _row(found, j)
        per_class.append([name, str(positives), f"{values[0]:.1f}", f"{values[1]:.3f}", *(f"{one:.1f}" for one in values[2:])])
    console.table(Sheet("", list(CSV_COLUMNS), per_class))


CSV_COLUMNS = ("class", "positives", "AP", "threshold", "precision", "recall", "F1")


def _row(found: Evaluation, j: int) -> tuple[str, int, float, float, float, float, float]:
    best = found.at_best
    return (
        found.class_names[j], int(found.positives[j]), float(found.precisions[j]), float(found.thresholds[j]),
        float(best.precision[j]), float(best.recall[j]), float(best.f1[j]),
    )  # fmt: skip


def write_evaluation(found: Evaluation, folder: Path) -> list[Path]:
    """`<split>_per_class.csv` and `<split>_thresholds.csv`, in percent; thresholds are probabilities."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise not_writable(f"-o {folder}", error) from error
    per_class: list[Sequence[object]] = [CSV_COLUMNS]
    for j in range(len(found.class_names)):
        name, positives, *values = _row(found, j)
        per_class.append([name, positives, *(f"{value:.6g}" for value in values)])
    header = [f"{mean}_{word}" for mean in ("micro", "macro") for word in ("precision", "recall", "F1")]
    by_threshold: list[Sequence[object]] = [["threshold", *header]]
    for threshold, quality in [*found.by_threshold.items(), ("best", found.at_best)]:
        by_threshold.append([threshold, *(f"{value:.6g}" for value in (*quality.micro, *quality.macro))])
    tables = {f"{found.split}_per_class.csv": per_class, f"{found.split}_thresholds.csv": by_threshold}
    with output_files(folder, folder) as put:
        for name, rows in tables.items():
            with put(name).open("w", newline="", encoding="utf-8") as file:
                csv.writer(file, lineterminator="\n").writerows(rows)
    return [folder / name for name in tables]
