"""Runs side by side: on the terminal, or as JSON, CSV, Markdown, LaTeX."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

from aevlp.config.errors import ConfigError
from aevlp.layout import NONE, Sheet
from aevlp.reporting.budget import first_of
from aevlp.reporting.comparison import METRICS, choose_baseline, compare_groups
from aevlp.reporting.same_data import data_notes
from aevlp.reporting.sheets import as_json, latex, markdown, neutral, value
from aevlp.reporting.statistics import group_runs
from aevlp.runs.collect import Run, collect
from aevlp.terminal import Terminal
from aevlp.text import write_out
from aevlp.tracking.base import shown_path

SHOWN_CLASSES = 3  # winners and losers named on the terminal
SHOWN_SETTINGS = 12  # experiments with a column of settings
SHOWN_SEEDS = 5  # one by one
SHOWN_NOTES = 50
EXPLAINED = (
    "percent; ± half a 95 % interval over seeds; pseudo P, R: precision and recall of the pseudo-positives; "
    "labeler: test mAP of the labeler alone"
)


def compare(paths: list[Path], console: Terminal | None = None, *, form: str | None = None, baseline: str | None = None) -> None:
    """Print the comparison, best test mAP first: the ranking, then differences, classes and settings against a baseline.

    Raises:
        ConfigError: no run has finished, or there is no such baseline.
    """
    found = collect(paths)
    groups = group_runs([run for run in found.runs if run.finished])
    notes = found.notes + [f"{run.path.name}: {_why(run)}" for run in found.runs if not run.finished]
    notes += [f"{path.name}: a study; `compare {shown_path(path / 'trials')}` takes its trials as runs" for path in found.studies]
    notes += [f"{run.path.name}: a later run has the same settings and seed" for group in groups for run in group.repeated]
    console = console or Terminal(stderr=form is not None)  # with a form, stdout is left to it
    _say(console, "left out", notes)
    if not groups:
        raise ConfigError("compare: none of these runs has finished")
    against = choose_baseline(groups, baseline)
    _say(console, "data", data_notes({group.name: group.runs[0] for group in groups}, against.name))
    data = compare_groups(groups, against)
    _say(console, "damaged", [f"{run.path.name}: {line}" for group in groups for run in group.runs for line in run.problems])
    if form is None:
        ranking, *others = sheets(data)
        console.table(ranking)
        console.tell(EXPLAINED, style="dim")
        for sheet in others:
            console.table(sheet)
    else:
        write_out(_written(form, data))


def _why(run: Run) -> str:
    """Why a run has not finished; of a damaged one also the first damage."""
    return "; ".join(run.problems[: 2 if run.state == "damaged" else 1])


def _say(console: Terminal, what: str, lines: list[str]) -> None:
    for line in first_of(lines, SHOWN_NOTES):
        console.tell(f"{what}  {line}", style="yellow", indent=len(what) + 2)


def _written(form: str, data: dict[str, Any]) -> str:
    if form == "json":
        return as_json(data)
    if form == "csv":
        return _csv(data)
    return latex(sheets(data)[0]) if form == "latex" else "".join(map(markdown, sheets(data)))


def sheets(data: dict[str, Any]) -> list[Sheet]:
    """The comparison as tables of text; those that would be empty are left out."""
    experiments = data["experiments"]
    ranking = [
        [entry["name"], _seeds(entry["seeds"]), *(value(entry["metrics"][metric]) for metric in METRICS.values())]
        for entry in experiments
    ]
    found = [Sheet("", ["experiment", "seed", *METRICS], ranking)]
    others = [entry for entry in experiments if entry["difference"]]
    against = f"against {data['baseline']}"
    differences = [
        [entry["name"], *(_difference(entry["difference"][metric]) for metric in METRICS.values())]
        for entry in others if entry["difference"]["test/mAP"] or entry["difference"]["best/val_mAP"]
    ]  # fmt: skip
    if differences:
        found.append(Sheet(f"{against}, over common seeds (* the interval leaves 0 out)", ["", *METRICS], differences, indent=2))
    classes = [[entry["name"], *_extremes(entry["classes"])] for entry in others if entry["classes"]]
    if classes:
        header, wraps = ["", "gains most", "loses most"], {1: ", ", 2: ", "}
        found.append(Sheet(f"test AP {against}", header, classes, numeric=False, wraps=wraps, indent=2))
    shown = experiments[:SHOWN_SETTINGS]
    rows = [[path, *map(_setting, values[: len(shown)])] for path, values in data["settings"].items()]
    rows = [row for row in rows if len(set(row[1:])) > 1]
    if rows:
        first = "" if len(shown) == len(experiments) else f" between the first {len(shown)} of {len(experiments)}; --json has all"
        names = [entry["name"] for entry in shown]
        found.append(Sheet(f"settings that differ{first}", ["", *names], rows, numeric=False, alike=True, indent=2))
    return found


def _seeds(seeds: list[int]) -> str:
    """Seeds in order; of many, neighbours as one: 0-49,60."""
    if len(seeds) <= SHOWN_SEEDS:
        return ",".join(map(str, seeds))
    known = set(seeds)
    first, last = ([seed for seed in seeds if seed + step not in known] for step in (-1, 1))
    return ",".join(f"{one}-{other}" if one != other else str(one) for one, other in zip(first, last, strict=True))


def _difference(found: dict[str, Any] | None) -> str:
    return value(found, "+") + (" *" if found and found["clear"] else "")


def _extremes(gains: list[dict[str, Any]]) -> tuple[str, str]:
    most = [f"{row['class']} {row['gain']:+.1f}" for row in gains[:SHOWN_CLASSES] if row["gain"] > 0]
    least = [f"{row['class']} {row['gain']:+.1f}" for row in gains[::-1][:SHOWN_CLASSES] if row["gain"] < 0]
    return ", ".join(most) or NONE, ", ".join(least) or NONE


def _setting(setting: Any) -> str:
    return NONE if setting is None else setting if isinstance(setting, str) else json.dumps(setting, ensure_ascii=False)


def _csv(data: dict[str, Any]) -> str:
    """One row an experiment, with unrounded numbers."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    parts = [(metric, part) for metric in METRICS.values() for part in ("mean", "half", "difference", "difference_half")]
    writer.writerow(["experiment", "config_hash", "data_fingerprint", "seeds", *(f"{metric} {part}" for metric, part in parts)])
    for entry in data["experiments"]:
        values = []
        for metric in METRICS.values():
            for source in (entry["metrics"], entry["difference"] or {}):
                found = source.get(metric) or {}
                values += [found.get("mean"), found.get("half")]
        seeds = " ".join(map(str, entry["seeds"]))
        writer.writerow([neutral(entry["name"]), entry["config_hash"], entry["data_fingerprint"], seeds, *values])
    return text.getvalue()
