"""What the figures of a table are worth: judged on how much, by which labels, over how many seeds."""

from __future__ import annotations

from aevlp.data.fingerprint import SplitFingerprint
from aevlp.reporting.comparison import shown_metrics
from aevlp.reporting.statistics import BEST, BEST_KNOWN, Group
from aevlp.runs.collect import Run
from aevlp.text import counted
from aevlp.tracking.metrics import EXACT, LOWER_BOUND

ONE_EACH = "one run each: that two differ says nothing, as the same settings with another seed differ, too: add --seed 1"
TWO = "an interval of two seeds is 12.7 standard errors to each side, of three 4.3: train a third with another --seed"
BY_KNOWN = (("val", "validation", BEST_KNOWN), ("test", "test", "test/mAP_observed"))
BY_FULL = (("val", BEST), ("test", "test/mAP"))


def caveats(groups: list[Group]) -> list[str]:
    """Lines about the mAP of these groups, which share data: by known labels, over some of the classes, of few seeds."""
    shown = shown_metrics(groups)
    runs = [run for group in groups for run in group.by_seed.values()]
    said = [
        f"{title} is {_bound(runs, split)}{_extent(runs, split, word)}"
        for title, metric in shown.items()
        for split, word, name in BY_KNOWN
        if metric == name
    ]
    said += [
        line
        for title, metric in shown.items()
        for split, name in BY_FULL
        if metric == name and (line := _over(runs, split, title))
    ]
    alone = len([group for group in groups if group.by_seed]) > 1 and all(len(group.by_seed) < 2 for group in groups)
    return said + [ONE_EACH] * alone + [TWO] * any(len(group.by_seed) == 2 for group in groups)


def _bound(runs: list[Run], split: str) -> str:
    """What mAP by known labels is, unless each class of each run is judged on the images that it is known of."""
    return EXACT if all(run.summary.get(f"{split}/mAP_assumed") == 0 for run in runs) else LOWER_BOUND


def _over(runs: list[Run], split: str, title: str) -> str:
    """Over how many of how many classes mAP by full labels is; empty where over all, or where runs do not tell."""
    data = next((run.data for run in runs if run.data is not None), None)
    over = {run.summary.get(f"{split}/mAP_classes") for run in runs if run.summary.get(f"{split}/mAP") is not None} - {None}
    if data is None or len(over) != 1 or over == {data.classes}:
        return ""
    return f"{title} is over {over.pop()} of {data.classes} classes: no image shows the others"


def _extent(runs: list[Run], split: str, word: str) -> str:
    """On how many images, and over how many of how many classes, as far as the runs tell."""
    data = next((run.data for run in runs if run.data is not None), None)
    judged: SplitFingerprint | None = getattr(data, split, None)
    if data is None or judged is None:
        return ""
    # the number of classes is that of full labels where these are known
    over = {run.summary.get(f"{split}/mAP_classes") for run in runs if run.summary.get(f"{split}/mAP") is None} - {None}
    classes = f", over {over.pop()} of {data.classes} classes" if len(over) == 1 else ""
    return f"; judged on {counted(judged.images, f'{word} image', ',')}{classes}"
