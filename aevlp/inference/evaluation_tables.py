"""What `eval` prints and writes of an `Evaluation`."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from aevlp.inference.evaluate import Evaluation
from aevlp.inference.trained import DEFAULT_THRESHOLD
from aevlp.layout import NONE, Sheet
from aevlp.metrics.thresholds import Quality
from aevlp.output import not_writable, output_files
from aevlp.terminal import Terminal
from aevlp.text import counted, listed
from aevlp.tracking.metrics import EXACT
from aevlp.training.figures import rests_on

MANY = 30  # classes; of more the table shows the ten best and the ten worst
NAMED = 5  # classes without a positive that are named
CSV_COLUMNS = ("class", "positives", "AP", "threshold", "precision", "recall", "F1")
BY_KNOWN = (
    "not all labels of these images are known: mAP by the known ones is {}; recall is that of known labels, and precision and F1 "
    "cannot be told"
)
BOUND = "a lower bound, as the others count as absent"


def print_evaluation(found: Evaluation, source: str, console: Terminal | None = None) -> None:
    """Two tables and what they rest on."""
    console = console or Terminal()
    count = len(found.class_names)
    console.tell(f"{source}  {found.split} split, {counted(found.num_images, 'image')}, {count} classes")
    by_known = [BY_KNOWN.format(BOUND if found.assumed else EXACT)] if found.by_known else []
    for note in [*found.notes, *by_known]:
        console.tell(note)
    over = "" if found.num_occurring == count else f"over {found.num_occurring} of {count} classes"
    remarks = ", ".join(filter(None, [rests_on(found.num_images, found.positives), over]))
    mean = f"mAP{' (known labels)' if found.by_known else ''} {_shown(found.mean_average_precision, 2)}"
    console.say(f"{mean} {remarks}".rstrip())
    if "known_rank" in found.known:
        console.tell(_known_line(found.known))
    console.say("")
    titles = [f"{mean} {word}" for mean in ("micro", "macro") for word in ("precision", "recall", "F1")]
    told_at: list[tuple[list[str], list[str]]] = []  # thresholds, and the figures at them
    for threshold, quality in _by_threshold(found):
        figures = [_shown(value, 1) for value in (*quality.micro, *quality.macro)]
        if told_at and threshold != "best" and told_at[-1][1] == figures:
            told_at[-1][0].append(str(threshold))
        else:
            told_at.append(([str(threshold)], figures))
    by_threshold = [[" to ".join(dict.fromkeys((at[0], at[-1]))), *figures] for at, figures in told_at]
    console.table(_without_empty(["threshold", *titles], by_threshold))
    told = f"best: one threshold a class, that of the highest F1 on {found.chosen_on}"
    if found.split == "test":
        told += "; the test labels had no part in it"
    console.tell(told)
    chose = "thresholds and checkpoint" if found.chose_epoch else "thresholds"
    optimistic = {"val": f"the same images chose {chose}", "train": "the model was trained on these images"}
    if found.split in optimistic:
        console.tell(f"these figures are optimistic: {optimistic[found.split]}")
    if found.unchosen:
        unchosen = listed(found.unchosen, NAMED)
        console.tell(f"without a positive in validation, so the threshold is {DEFAULT_THRESHOLD}: {unchosen}")
    console.say("")
    _print_classes(found, console)


def _known_line(known: dict[str, float]) -> str:
    first, three, five = (known[f"known_recall_{k}"] for k in (1, 3, 5))
    told = f"known labels: {first:.1f} % come first, {three:.1f} in the first 3, {five:.1f} in 5; "
    told += f"mean rank {known['known_rank']:.2f}; {known['labels_per_image']:.2f} labels predicted an image"
    return told + (f"; agreement with the labeler {known['agreement']:.1f} (F1)" if "agreement" in known else "")


def _print_classes(found: Evaluation, console: Terminal) -> None:
    """All classes, or the ten best and the ten worst of many, and which of many have no image."""
    count, best = len(found.class_names), np.argsort(-found.precisions, kind="stable")[: found.num_occurring]
    rows, gap = [int(j) for j in (range(count) if count <= MANY else best)], None
    if len(rows) > 20 and count > MANY:
        rows, gap = rows[:10] + rows[-10:], 10
    shown = [_cells(found, j) for j in rows]
    if gap is not None:
        shown.insert(gap, [f"... {len(best) - 20} more", *[""] * (len(CSV_COLUMNS) - 1)])
    console.table(_without_empty(list(CSV_COLUMNS), shown))
    if count > MANY and len(best) < count:
        absent = [found.class_names[j] for j in np.flatnonzero(np.isnan(found.precisions))]
        console.tell(f"{'known in no image' if found.by_known else 'without an image'}: {listed(absent, NAMED)}")


def _without_empty(header: list[str], rows: list[list[str]]) -> Sheet:
    """A table without the columns of which nothing is known."""
    kept = [j for j in range(len(header)) if any(row[j] not in ("", NONE) for row in rows)]
    return Sheet("", [header[j] for j in kept], [[row[j] for j in kept] for row in rows])


def _shown(value: float, digits: int) -> str:
    return NONE if math.isnan(value) else f"{value:.{digits}f}"


def _cells(found: Evaluation, j: int) -> list[str]:
    name, positives, *values = _row(found, j)
    return [name, str(positives), *(_shown(value, digits) for value, digits in zip(values, (1, 3, 1, 1, 1), strict=True))]


def _row(found: Evaluation, j: int) -> tuple[str, int, float, float, float, float, float]:
    best = found.at_best
    return (
        found.class_names[j], int(found.positives[j]), float(found.precisions[j]), float(found.thresholds[j]),
        float(best.precision[j]), float(best.recall[j]), float(best.f1[j]),
    )  # fmt: skip


def _by_threshold(found: Evaluation) -> list[tuple[float | str, Quality]]:
    return [*found.by_threshold.items(), ("best", found.at_best)]


def write_evaluation(found: Evaluation, folder: Path) -> list[Path]:
    """`<split>_per_class.csv` and `<split>_thresholds.csv`, in percent, and `<split>_scores.npz`; thresholds are probabilities.

    A cell is empty where nothing can be known.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise not_writable(f"-o {folder}", error) from error
    per_class: list[Sequence[object]] = [CSV_COLUMNS]
    for j in range(len(found.class_names)):
        name, positives, *values = _row(found, j)
        per_class.append([name, positives, *map(_written, values)])
    header = [f"{mean}_{word}" for mean in ("micro", "macro") for word in ("precision", "recall", "F1")]
    by_threshold: list[Sequence[object]] = [["threshold", *header]]
    for threshold, quality in _by_threshold(found):
        by_threshold.append([threshold, *map(_written, (*quality.micro, *quality.macro))])
    tables = {f"{found.split}_per_class.csv": per_class, f"{found.split}_thresholds.csv": by_threshold}
    scores = f"{found.split}_scores.npz"
    with output_files(folder, folder) as put:
        for name, rows in tables.items():
            with put(name).open("w", newline="", encoding="utf-8") as file:
                csv.writer(file, lineterminator="\n").writerows(rows)
        with put(scores).open("wb") as file:
            np.savez_compressed(file, **found.scores)  # type: ignore[arg-type]
    return [folder / name for name in (*tables, scores)]


def _written(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6g}"
