"""Runs side by side: on the terminal, or as JSON, CSV, Markdown, LaTeX."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

from aevlp.command import COMMAND
from aevlp.config.errors import ConfigError
from aevlp.config.schema import SPEED_AND_METERS
from aevlp.layout import NONE, Sheet, lay_out
from aevlp.reporting.budget import first_of
from aevlp.reporting.comparison import METRICS, NOT_PERCENT, compare_groups
from aevlp.reporting.sheets import as_json, escaped, latex, markdown, neutral, value
from aevlp.reporting.statistics import BEST, BEST_KNOWN, group_runs
from aevlp.reporting.tables import arrange
from aevlp.runs.collect import Run, collect, require_runs
from aevlp.terminal import Terminal
from aevlp.text import printable, write_out
from aevlp.tracking.base import shown_path

SHOWN_CLASSES = 3  # winners and losers named on the terminal
SHOWN_SETTINGS = 12  # experiments with a column of settings
SHOWN_ROWS = 12  # settings
TOLD = (*SPEED_AND_METERS, "dataset.train_labels", "trainer.epochs", "selection.labels")  # change nothing, or stand above
SHOWN_SEEDS = 5  # one by one
SHOWN_NOTES = 50
BOUNDS = "trained with all labels: what one label can hope for, not ranked"
EXPLAINED = {
    "pseudo P": "pseudo P, R: precision and recall of the pseudo-positives",
    "labeler": "labeler: test mAP of the labeler alone",
    "known in top 1": "known in top 1: known labels that the model puts first",
    "rank": "rank: the mean one of known labels, 1 is best",
    "labels a photo": "labels a photo: how many the model predicts at probability 0.5",
    "agreement": "agreement: F1 of model and labeler where no label is known",
}
"""What columns are, by title."""
SHORT = ("test mAP (known labels)", "val mAP (known labels)", "known in top 1", "in top 3", "labels a photo", "agreement")
"""Columns of a terminal where only known labels are there, as many as fit in WIDTH."""
WIDTH = 80


def compare(paths: list[Path], console: Terminal | None = None, *, form: str | None = None, baseline: str | None = None) -> None:
    """Print a comparison for each set of images and labels that runs were judged on, best test mAP first.

    Raises:
        ConfigError: no run has finished, or there is no such baseline.
    """
    found = collect(paths)
    require_runs(found, paths)
    groups = group_runs([run for run in found.runs if run.finished])
    notes = found.notes + [f"{run.path.name}: {_why(run)}" for run in found.runs if not run.finished]
    notes += [f"{path.name}: a study; `compare {shown_path(path / 'trials')}` takes its trials as runs" for path in found.studies]
    notes += [f"{run.path.name}: a later run has the same settings and seed" for group in groups for run in group.repeated]
    console = console or Terminal(stderr=form is not None)  # with a form, stdout is left to it
    _say(console, "left out", notes)
    if not groups:
        where = ", ".join(map(str, paths))
        more = f"`{COMMAND} --resume RUN` goes on with one that stopped, and `report` shows what there is"
        raise ConfigError(f"compare: there is no finished run in {where}; {more}")
    tables = [
        compare_groups(table.groups, table.baseline) | {"title": table.title, "notes": table.caveats + table.notes}
        for table in arrange(groups, baseline)
    ]
    _say(console, "damaged", [f"{run.path.name}: {line}" for group in groups for run in group.runs for line in run.problems])
    if form is not None:
        write_out(_written(form, tables))
        return
    if console.room is not None:  # else another program may read it
        tables = [_fitting(table) for table in tables]
    for number, table in enumerate(tables):
        if len(tables) > 1:
            console.say("")
            console.tell(table["title"], style="bold")
        _say(console, "note", table["notes"])
        ranking, *others = sheets(table)
        console.table(ranking)
        if not number:
            console.tell(_explained(tables), style="dim")
        for sheet in others:
            console.table(sheet)


def _fitting(table: dict[str, Any]) -> dict[str, Any]:
    """The table with the columns that fit beside the names, where only known labels are there; the others under `left_out`."""
    metrics = table["metrics"]
    if BEST_KNOWN not in metrics.values() or {"test/mAP", BEST} & set(metrics.values()):
        return table
    titles = [title for title in SHORT if title in metrics]
    while len(titles) > 1 and not _is_flat(sheets(table | {"metrics": {title: metrics[title] for title in titles}})[0]):
        titles.pop()
    left_out = [title for title in metrics if title not in titles]
    return table | {"metrics": {title: metrics[title] for title in titles}, "left_out": left_out}


def _is_flat(sheet: Sheet) -> bool:
    """Whether each row is a line, below titles of two."""
    return len(list(lay_out(sheet, WIDTH))) <= len(sheet.rows) + 2


def _explained(tables: list[dict[str, Any]]) -> str:
    """What stands in these tables."""
    shown = {title: name for table in tables for title, name in table["metrics"].items()}
    cells = [entry["metrics"][name] for table in tables for entry in table["experiments"] for name in table["metrics"].values()]
    left_out = list(dict.fromkeys(title for table in tables for title in table.get("left_out", ())))
    said = ["percent"] + ["± half a 95 % interval over seeds"] * any(cell and cell["half"] is not None for cell in cells)
    said += [text for title, text in EXPLAINED.items() if title in shown]
    return "; ".join(said + [f"--json and --csv also have {', '.join(left_out)}"] * bool(left_out))


def _why(run: Run) -> str:
    """Why a run has not finished; of a damaged one also the first damage."""
    return "; ".join(run.problems[: 2 if run.state == "damaged" else 1])


def _say(console: Terminal, what: str, lines: list[str]) -> None:
    for line in first_of(lines, SHOWN_NOTES):
        console.tell(f"{what}  {line}", style="yellow", indent=len(what) + 2)


def _written(form: str, tables: list[dict[str, Any]]) -> str:
    if form == "json":
        return as_json(_together(tables))
    if form == "csv":
        return _csv(tables)
    several = len(tables) > 1
    texts = []
    for table in tables:
        said = [table["title"]] * several + table["notes"]
        if form == "latex":
            shown = [(f"% {one.title}\n" if one.title else "") + latex(one) for one in sheets(table) if one.title in ("", BOUNDS)]
            texts.append("".join(f"% {printable(line)}\n" for line in said) + "\n".join(shown))
        else:
            texts.append("".join(f"{escaped(line)}\n\n" for line in said) + "".join(map(markdown, sheets(table))))
    return "\n".join(texts)


def _together(tables: list[dict[str, Any]]) -> dict[str, Any]:
    """Experiments of all tables one after the other; what is of a table alone under `tables`, in the order of `table`."""
    return {
        "baseline": tables[0]["baseline"],
        "experiments": [entry | {"table": i} for i, table in enumerate(tables) for entry in table["experiments"]],
        "settings": tables[0]["settings"],
        "tables": [{key: table[key] for key in ("title", "notes", "baseline", "settings")} for table in tables],
    }


def sheets(data: dict[str, Any]) -> list[Sheet]:
    """One table of the comparison as tables of text; those that would be empty are left out."""
    experiments, metrics = data["experiments"], data["metrics"]

    def row(entry: dict[str, Any]) -> list[str]:
        return [entry["name"], _seeds(entry["seeds"]), *(value(entry["metrics"][name], name) for name in metrics.values())]

    header = ["experiment", "seed", *metrics]
    ranked, bounds = ([row(entry) for entry in experiments if entry["bound"] is bound] for bound in (False, True))
    found = [Sheet("", header, ranked)] if ranked else []
    found += [Sheet(BOUNDS, header, bounds)] if bounds else []
    others = [entry for entry in experiments if entry["difference"]]
    against = f"against {data['baseline']}"
    compared = {
        title: name for title, name in metrics.items()
        if name not in NOT_PERCENT and any(entry["difference"][name] for entry in others)
    }  # fmt: skip
    differences = [[entry["name"], *(_difference(entry["difference"][name]) for name in compared.values())] for entry in others]
    differences = [row for row in differences if set(row[1:]) - {NONE}]
    if differences:
        found.append(Sheet(f"{against}, over common seeds (* the interval leaves 0 out)", ["", *compared], differences, indent=2))
    classes = [[entry["name"], *_extremes(entry["classes"])] for entry in others if entry["classes"]]
    if classes:
        header, wraps = ["", "gains most", "loses most"], {1: ", ", 2: ", "}
        found.append(Sheet(f"test AP {against}", header, classes, numeric=False, wraps=wraps, indent=2))
    return found + _settings(data)


def _settings(data: dict[str, Any]) -> list[Sheet]:
    """Settings that differ, of the first experiments: those that change results and are not told in other ways."""
    experiments = data["experiments"]
    shown = experiments[:SHOWN_SETTINGS]
    rows = [
        [path, *map(_setting, values[: len(shown)])]
        for path, values in data["settings"].items() if path not in TOLD
    ]  # fmt: skip
    rows = [row for row in rows if len(set(row[1:])) > 1]
    if not rows:
        return []
    said = [f"the first {SHOWN_ROWS} of {len(rows)}"] if len(rows) > SHOWN_ROWS else []
    said += [f"between the first {len(shown)} of {len(experiments)} experiments"] if len(shown) < len(experiments) else []
    more = f", {', '.join(said)}; --json has all" if said else ""
    names = [entry["name"] for entry in shown]
    return [Sheet(f"settings that differ{more}", ["", *names], rows[:SHOWN_ROWS], numeric=False, alike=True, indent=2)]


def _seeds(seeds: list[int]) -> str:
    """Seeds in order; of many, neighbours as one: 0-49,60."""
    if len(seeds) <= SHOWN_SEEDS:
        return ",".join(map(str, seeds))
    known = set(seeds)
    first, last = ([seed for seed in seeds if seed + step not in known] for step in (-1, 1))
    return ",".join(f"{one}-{other}" if one != other else str(one) for one, other in zip(first, last, strict=True))


def _difference(found: dict[str, Any] | None) -> str:
    return value(found, sign="+") + (" *" if found and found["clear"] else "")


def _extremes(gains: list[dict[str, Any]]) -> tuple[str, str]:
    most = [f"{row['class']} {row['gain']:+.1f}" for row in gains[:SHOWN_CLASSES] if row["gain"] > 0]
    least = [f"{row['class']} {row['gain']:+.1f}" for row in gains[::-1][:SHOWN_CLASSES] if row["gain"] < 0]
    return ", ".join(most) or NONE, ", ".join(least) or NONE


def _setting(setting: Any) -> str:
    return NONE if setting is None else setting if isinstance(setting, str) else json.dumps(setting, ensure_ascii=False)


def _csv(tables: list[dict[str, Any]]) -> str:
    """One row an experiment, with unrounded numbers."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    parts = [(metric, part) for metric in METRICS.values() for part in ("mean", "half", "difference", "difference_half")]
    header = ["experiment", "table", "baseline", "config_hash", "data_fingerprint", "seeds"]
    writer.writerow([*header, *(f"{metric} {part}" for metric, part in parts)])
    for table, entry in [(one, entry) for one in tables for entry in one["experiments"]]:
        values = []
        for metric in METRICS.values():
            for source in (entry["metrics"], entry["difference"] or {}):
                found = source.get(metric) or {}
                values += [found.get("mean"), found.get("half")]
        told = [neutral(text) for text in (entry["name"], table["title"], table["baseline"])]
        writer.writerow([*told, entry["config_hash"], entry["data_fingerprint"], " ".join(map(str, entry["seeds"])), *values])
    return text.getvalue()
