"""Runs side by side: on the terminal, or as JSON, CSV, Markdown, LaTeX."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from aevlp.config.errors import ConfigError
from aevlp.reporting.collect import collect
from aevlp.reporting.comparison import METRICS, choose_baseline, compare_groups
from aevlp.reporting.statistics import group_runs
from aevlp.tracking.base import shown_path

FORMATS = ("json", "csv", "markdown", "latex")
NONE = "–"  # noqa: RUF001
SHOWN_CLASSES = 3  # winners and losers named on the terminal


@dataclass(frozen=True)
class Sheet:
    """A table of text. All columns but the first are numbers, if `numeric`."""

    title: str
    header: list[str]
    rows: list[list[str]]
    numeric: bool = True


def compare(paths: list[Path], console: Console | None = None, *, form: str | None = None, baseline: str | None = None) -> None:
    """Print the comparison, best test mAP first: the ranking, then differences, classes and settings against a baseline.

    Raises:
        ConfigError: no run has finished, or there is no such baseline.
    """
    found = collect(paths)
    groups = group_runs([run for run in found.runs if run.finished])
    notes = found.notes + [f"{run.path.name}: {run.problems[0]}" for run in found.runs if not run.finished]
    notes += [f"{path.name}: a study; `compare {shown_path(path / 'trials')}` takes its trials as runs" for path in found.studies]
    notes += [f"{run.path.name}: a later run has the same settings and seed" for group in groups for run in group.repeated]
    if form is not None:
        console = Console(stderr=True, highlight=False)  # stdout holds the file and nothing else
    console = console or Console(highlight=False)
    if not console.is_terminal:
        console.width = 160  # a file or a pipe has no width to respect
    for note in notes:
        console.print(f"left out  {_printable(note)}", style="yellow", soft_wrap=True, markup=False)
    if not groups:
        raise ConfigError("compare: none of these runs has finished")
    data = compare_groups(groups, choose_baseline(groups, baseline))
    if form is None:
        for sheet in sheets(data):
            _print(console, sheet)
    else:
        sys.stdout.write({"json": _json, "csv": _csv, "markdown": _markdown, "latex": _latex}[form](data))


def sheets(data: dict[str, Any]) -> list[Sheet]:
    """The comparison as tables of text; those that would be empty are left out."""
    experiments = data["experiments"]
    ranking = [
        [entry["name"], ",".join(map(str, entry["seeds"])), *(_value(entry["metrics"][metric]) for metric in METRICS.values())]
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


def _value(value: dict[str, Any] | None, sign: str = "") -> str:
    if value is None:
        return NONE
    mean = f"{value['mean']:{sign}.1f}"
    return mean if value["half"] is None else f"{mean} ± {value['half']:.1f}"


def _difference(value: dict[str, Any] | None) -> str:
    return _value(value, "+") + (" *" if value and value["clear"] else "")


def _extremes(gains: list[dict[str, Any]]) -> tuple[str, str]:
    most = [f"{row['class']} {row['gain']:+.1f}" for row in gains[:SHOWN_CLASSES] if row["gain"] > 0]
    least = [f"{row['class']} {row['gain']:+.1f}" for row in gains[::-1][:SHOWN_CLASSES] if row["gain"] < 0]
    return ", ".join(most) or NONE, ", ".join(least) or NONE


def _setting(value: Any) -> str:
    return NONE if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _print(console: Console, sheet: Sheet) -> None:
    if sheet.title:
        console.print(f"\n{_printable(sheet.title)}", style="bold", markup=False, soft_wrap=True)
    table = Table(box=None, pad_edge=bool(sheet.title))
    for i, title in enumerate(sheet.header):
        table.add_column(
            Text(_printable(title)), justify="right" if sheet.numeric and i else "left", no_wrap=sheet.numeric or i == 0
        )
    for row in sheet.rows:
        table.add_row(*(Text(_printable(cell)) for cell in row))
    console.print(table)


def _printable(text: str) -> str:
    # Names come from files: a control character or a change of writing direction would rewrite the line.
    return "".join(letter if letter.isprintable() else "�" for letter in text)


def _json(data: dict[str, Any]) -> str:
    return json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _csv(data: dict[str, Any]) -> str:
    """One row an experiment, with unrounded numbers."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    parts = [(metric, part) for metric in METRICS.values() for part in ("mean", "half", "difference", "difference_half")]
    writer.writerow(["experiment", "config_hash", "seeds", *(f"{metric} {part}" for metric, part in parts)])
    for entry in data["experiments"]:
        values = []
        for metric in METRICS.values():
            for source in (entry["metrics"], entry["difference"] or {}):
                found = source.get(metric) or {}
                values += [found.get("mean"), found.get("half")]
        writer.writerow([neutral(entry["name"]), entry["config_hash"], " ".join(map(str, entry["seeds"])), *values])
    return text.getvalue()


def neutral(cell: str) -> str:
    """Text that no spreadsheet takes for a formula: an apostrophe before = + - @, a tab or a line break."""
    return f"'{cell}" if cell[:1] in ("=", "+", "-", "@", "\t", "\r", "\n") else cell


def _markdown(data: dict[str, Any]) -> str:
    def line(cells: list[str]) -> str:
        return "| " + " | ".join(re.sub(r"([\\|`*_<>\[\]])", r"\\\1", _printable(cell)) for cell in cells) + " |\n"

    text = ""
    for sheet in sheets(data):
        rule = "|---" + ("|---:" if sheet.numeric else "|---") * (len(sheet.header) - 1) + "|\n"
        text += (
            (f"\n{_printable(sheet.title)}\n\n" if sheet.title else "")
            + line(sheet.header)
            + rule
            + "".join(map(line, sheet.rows))
        )
    return text


def _latex(data: dict[str, Any]) -> str:
    """The ranking as a booktabs table."""
    sheet = sheets(data)[0]
    lines = [" & ".join(map(_latex_cell, row)) + r" \\" for row in [sheet.header, *sheet.rows]]
    columns = "l" + "r" * (len(sheet.header) - 1)
    body = "\n".join([lines[0], r"\midrule", *lines[1:]])
    return f"\\begin{{tabular}}{{{columns}}}\n\\toprule\n{body}\n\\bottomrule\n\\end{{tabular}}\n"


def _latex_cell(cell: str) -> str:
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", NONE: "--"}
    return "".join(special.get(letter, f"\\{letter}" if letter in "&%$#_{}" else letter) for letter in _printable(cell))
