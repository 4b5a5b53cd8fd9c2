"""What a labeler assigned, class by class: a curtain taken for hundreds of dogs is to show before training."""

from __future__ import annotations

import numpy as np

from aevlp.inference.label import Labeled
from aevlp.layout import NONE, Sheet
from aevlp.terminal import Terminal
from aevlp.text import counted

ROWS = 12  # of the table
FAR, FEW = 10, 10  # times as often as it is known, and photos from which on that is told


def print_labeled(found: Labeled, console: Terminal) -> None:
    """A table of the classes, those first that are assigned most often for how often they are known."""
    order = np.argsort(-(found.assigned + 1) / (found.known + 1), kind="stable")
    shown = order if len(order) <= ROWS else order[: ROWS - 1]
    titles = ["class", "assigned", "known", "share %"]
    more = {"precision %": _percent(found.correct, found.assigned)} if found.correct is not None else {}
    if found.absent.any():
        more["absent"] = list(map(str, found.absent))
    share = _percent(found.assigned, np.full_like(found.assigned, found.num_images))
    rows = [
        [found.class_names[j], str(found.assigned[j]), str(found.known[j]), share[j], *(values[j] for values in more.values())]
        for j in shown
    ]
    if len(shown) < len(order):
        rows.append([f"... {len(order) - len(shown)} more", *[""] * (len(titles) + len(more) - 1)])
    console.table(Sheet("", [*titles, *more], rows))
    if found.correct is not None and found.num_positives:
        labels, right = int(found.assigned.sum()), int(found.correct.sum())
        found_of = f"{100 * right / found.num_positives:.1f} % of what is to be found"
        right_of = f"{100 * right / labels if labels else 0:.1f} % of them right"
        console.tell(f"by full labels: {labels / found.num_images:.2f} a photo, {found_of}, {right_of}")
    far = [j for j in order if found.assigned[j] >= max(FEW, FAR * found.known[j])]
    if far:
        told = [
            f"{found.class_names[j]} assigned to {counted(found.assigned[j], 'photo')}, known in {found.known[j]}"
            for j in far[:3]
        ]
        others = f"; and {len(far) - 3} more classes" if len(far) > 3 else ""
        console.tell(f"far beyond what is known, so look at these before you train: {'; '.join(told)}{others}")
    if found.mirrored:
        console.tell("photos as they are: a run mirrors each by chance in each epoch, so it may assign a few more or fewer")


def _percent(part: np.ndarray, whole: np.ndarray) -> list[str]:
    return [f"{100 * a / b:.1f}" if b else NONE for a, b in zip(part, whole, strict=True)]
