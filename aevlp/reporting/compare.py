"""Runs side by side: on the terminal, or as JSON, CSV, Markdown, LaTeX."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

from aevlp.config.errors import ConfigError
from aevlp.reporting.collect import collect
from aevlp.reporting.comparison import METRICS, choose_baseline, compare_groups
from aevlp.reporting.same_data import data_notes
from aevlp.reporting.sheets import (
    NONE,
    Sheet,
    as_json,
    console_for_tables,
    latex,
    markdown,
    neutral,
    print_sheet,
    value,
)
from aevlp.reporting.statistics import group_runs
from aevlp.terminal import Terminal
from aevlp.text import write_out
from aevlp.tracking.base import shown_path

SHOWN_CLASSES = 3  # winners and losers named on the terminal


def compare(paths: list[Path], console: Terminal | None = None, *, form: str | None = None, baseline: str | None = None) -> None:
    """Print the comparison, best test mAP first: the ranking, then differences, classes and settings against a baseline.

    Raises:
        ConfigError: no run has finished, or there is no such baseline.
    """
    found = collect(paths)
    groups = group_runs([run for run in found.runs if run.finished])
    notes = found.notes + [f"{run.path.name}: {run.problems[0]}" for run in found.runs if not run.finished]
    notes += [f"{path.name}: a study; `compare {shown_path(path / 'trials')}` takes its trials as runs" for path in found.studies]
    notes += [f"{run.path.name}: a later run has the same settings and seed" for group in groups for run in group.repeated]
    console = console or console_for_tables(form)
    for note in notes:
        console.say(f"left out  {note}", style="yellow")
    if not groups:
        raise ConfigError("compare: none of these runs has finished")
    against = choose_baseline(groups, baseline)
    for note in data_notes({group.name: group.runs[0] for group in groups}, against.name):
        console.say(f"data  {note}", style="yellow")
    data = compare_groups(groups, against)
    if form is None:
        for sheet in sheets(data):
            print_sheet(console, sheet)
    else:
        write_out(_written(form, data))


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
        [entry["name"], ",".join(map(str, entry["seeds"])), *(value(entry["metrics"][metric]) for metric in METRICS.values())]
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
        found.append(Sheet(f"{against}, over common seeds (* the interval leaves 0 out)", ["", *METRICS], differences))
    classes = [[entry["name"], *_extremes(entry["classes"])] for entry in others if entry["classes"]]
    if classes:
        found.append(Sheet(f"test AP {against}", ["", "gains most", "loses most"], classes, numeric=False))
    if data["settings"]:
        rows = [[path, *map(_setting, values)] for path, values in data["settings"].items()]
        found.append(Sheet("settings that differ", ["", *(entry["name"] for entry in experiments)], rows, numeric=False))
    return found


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
