"""What the terminal shows of a run's metrics: the columns of the epoch table, and the lines at the end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aevlp.tracking.base import Row
from aevlp.tracking.metrics import BY_KNOWN

MISSING = "–"  # noqa: RUF001  (a value that is not known; a minus would read as a number)
EPOCH_WIDTH, TIME_WIDTH = 9, 9
CHOSE = 1  # the column beside which the mark of the best epoch stands
KNOWN_LABELS = "(known labels)"
FEW_LABELS = 0.01  # predicted a photo
Column = tuple[str, int, str, int]
"""Title, width, and the metric with its digits."""
Result = tuple[str, str, str]
"""Label, figure, and what else there is to say."""


def columns(row: Row) -> list[Column]:
    """Columns between the epoch and its time: of what the first row of a run tells.

    Where known labels choose the epoch, it is their mAP. Of pseudo-labels the precision and recall where these are known, else
    the number, and nothing without a labeler.
    """
    known = row.get("best/val_mAP_observed") is not None
    loss: Column = ("loss", 8 if known else 10, "train/loss", 4)
    chose: Column = (f"val mAP {KNOWN_LABELS}", 23, "val/mAP_observed", 2) if known else ("val mAP", 10, "val/mAP", 2)
    pseudo: list[Column] = []
    if {"pseudo/positive/precision", "pseudo/positive/recall"} & row.keys():
        pseudo = [("precision", 11, "pseudo/positive/precision", 1), ("recall", 8, "pseudo/positive/recall", 1)]
    elif row.get("pseudo/positive/count") is not None:
        pseudo = [("pseudo-labels", 15, "pseudo/positive/count", 0)]
    return [loss, chose, *pseudo, ("images/s", 10, "perf/images_per_second", 0)]


def header(shown: list[Column], *, marked: bool = True) -> tuple[str, str]:
    """The line of titles, and the one above it: what the mark means, if there is one, and of what precision and recall are."""
    titles = [f"{title:>{width}}" for title, width, _, _ in shown]
    line = _line("epoch", titles, "time", "")
    mark = EPOCH_WIDTH + sum(map(len, titles[: CHOSE + 1])) + len(" *")
    above = " " * (mark - 1) + "* best" * marked
    if "recall" in line:
        above += "pseudo-labels".rjust(line.index("recall") + len("recall") - len(above))
    return line, above


def cells(epoch: str, row: Row, time: str, shown: list[Column], best: bool) -> str:
    """The figures of an epoch below their titles."""
    return _line(epoch, [f"{number(row.get(metric), digits):>{width}}" for _, width, metric, digits in shown], time, "*" * best)


def _line(epoch: str, texts: list[str], time: str, mark: str) -> str:
    between = [text + f"{mark:>2}" * (place == CHOSE) for place, text in enumerate(texts)]
    return f"{epoch:>{EPOCH_WIDTH}}{''.join(between)}{time:>{TIME_WIDTH}}"


def results(
    state: str, summary: dict[str, Any], num_classes: int, *, takes_last: bool = False, rests_on: Mapping[str, str] | None = None
) -> list[Result]:
    """What a run came to; of one that did not finish, the test is left out. With `takes_last` no epoch is called the best.

    `rests_on` says on how few photos the figures of val and test rest.
    """
    found: list[Result] = []
    few = rests_on or {}
    if state == "finished":
        known = summary.get("test/mAP") is None and summary.get("test/mAP_observed") is not None
        found.append(_mean("test mAP", "test/mAP_observed" if known else "test/mAP", known, summary, num_classes, few))
    known = summary.get("best/val_mAP_observed") is not None
    if summary.get("best/epoch") is not None:
        title = "val mAP" if takes_last else "best val mAP"
        found.append(_mean(title, "best/val_mAP", known, summary, num_classes, few))
    found += _by_known_labels(summary) if known else []
    if summary.get("test/labeler_mAP") is not None:
        found.append(("labeler alone", number(summary["test/labeler_mAP"], 2), "test mAP of its own scores"))
    if summary.get("pseudo/positive/precision") is not None:
        precision, recall = (number(summary.get(f"pseudo/positive/{name}"), 1) for name in ("precision", "recall"))
        found.append(("pseudo-labels", precision, f"precision, {recall} recall"))
    elif summary.get("pseudo/positive/count") is not None:
        found.append(("pseudo-labels", number(summary["pseudo/positive/count"], 0), "in the last epoch"))
    if summary.get("perf/images_per_second") is not None:
        found.append(("images/s", number(summary["perf/images_per_second"], 0), ""))
    return found


def _by_known_labels(summary: dict[str, Any]) -> list[Result]:
    """Of the epoch that was chosen, as is the mAP above."""
    found, best = [], {name: summary.get(f"best/val_{name}") for name in BY_KNOWN}
    if best["known_recall_1"] is not None:
        first, three, five = (number(best[f"known_recall_{k}"], 1) for k in (1, 3, 5))
        found.append(("known labels", first, f"% first, {three} in first 3, {five} in 5"))
        found.append(("mean rank", number(best["known_rank"], 2), "of a known label; 1 is best"))
    if best["labels_per_image"] is not None:
        found.append(("labels an image", number(best["labels_per_image"], 2), "predicted at probability 0.5"))
    if best["agreement"] is not None:
        found.append(("agreement", number(best["agreement"], 1), "F1 of model and labeler"))
    return found


def warning(summary: dict[str, Any], num_classes: int) -> str:
    """That the model predicts nearly everything or nearly nothing, where no full labels show it; empty where it does not."""
    labels = summary.get("best/val_labels_per_image")
    if labels is None or summary.get("best/val_mAP_observed") is None:
        return ""
    remedy = "it has hardly learnt: take more epochs or a higher rate"
    if labels > num_classes / 2:
        return f"{labels:.1f} of {num_classes} classes are predicted a photo, more than half; {remedy}"
    if labels < FEW_LABELS:
        return f"fewer than one in a hundred photos gets a label at probability 0.5; {remedy}"
    return ""


def _mean(title: str, metric: str, known: bool, summary: dict[str, Any], num_classes: int, rests_on: Mapping[str, str]) -> Result:
    """A mean over classes, and its remarks: by known labels, of which epoch, of how few photos, over how many of the classes."""
    split = title.split()[-2]
    other = known and summary.get(f"{split}/mAP") is not None  # the number of classes is that of full labels
    classes = None if other else summary.get(f"{split}/mAP_classes")
    remarks = [f"at epoch {summary['best/epoch']}"] if metric.startswith("best/") else []
    remarks += ["a lower bound"] if known and summary.get(f"{split}/mAP_assumed") != 0 else []
    remarks += [rests_on[split]] if rests_on.get(split) else []
    remarks += [f"over {classes} of {num_classes} classes"] if classes is not None and classes < num_classes else []
    return f"{title} {KNOWN_LABELS}" if known else title, number(summary.get(metric), 2), ", ".join(remarks)


def number(value: float | None, digits: int) -> str:
    """A figure, or a dash."""
    return MISSING if value is None else f"{value:.{digits}f}"
