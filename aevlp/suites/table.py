"""The table of a suite as text: for the terminal and for files, and what has to be said below it."""

from __future__ import annotations

import csv
import io
from typing import Any

from aevlp.layout import NONE, Sheet
from aevlp.reporting.sheets import neutral, value
from aevlp.suites import cost
from aevlp.suites.grid import grid_records, grid_sheet
from aevlp.suites.measure import METRICS
from aevlp.text import counted

MAX_TITLE = 80
"""Characters; what has no room in it is told below the table."""
METRIC_NAMES = {metric: name for name, metric in METRICS.items()}
KNOWN = " (known labels)"
SEEDS_TO_CLAIM = 5
"""Fewer paired seeds are shown, but nothing is said to be better for them."""


def sheet(data: dict[str, Any]) -> Sheet:
    """The table as text; columns that would be empty are left out."""
    if data["grid"]:
        return grid_sheet(data, _title(data))
    metric = METRIC_NAMES[data["metric"]]
    if data["known_labels"] and KNOWN not in metric:
        metric += KNOWN
    columns: dict[str, list[str]] = {
        "": [str(row["rank"] or "") for row in data["rows"]],
        "method": [row["title"] + _remark(row) for row in data["rows"]],
        metric: [value(row["metrics"][data["metric"]]) for row in data["rows"]],
        "tuned": [value(row["tuned"]) for row in data["rows"]],
        "gap closed": [_share(row["gap_closed"]) for row in data["rows"]],
        f"against {data['reference']}": [value(row["difference"], sign="+") for row in data["rows"]],
        "p (Holm)": [_p(row["difference"]) for row in data["rows"]],
        "pseudo P": [_known(row, "pseudo P") for row in data["rows"]],
        "pseudo R": [_known(row, "pseudo R") for row in data["rows"]],
        "images/s": [_text(row["cost"]["images_per_second"], "{:.0f}") for row in data["rows"]],
        **cost.columns([row["cost"] for row in data["rows"]]),
        "published": [_text(row["published"], "{:.2f}") for row in data["rows"]],
    }
    shown = {name: cells for name, cells in columns.items() if name in ("method", metric) or set(cells) - {NONE, ""}}
    rows = [list(cells) for cells in zip(*shown.values(), strict=True)]
    return Sheet(_title(data), list(shown), rows, text=("method",))


def _title(data: dict[str, Any]) -> str:
    """What it is a table of, with as many of the changes as have room."""
    title, changes = f"{data['suite']} on {data['dataset']}", data["changes"]
    if not changes:
        return title
    forms = [f"{title} ({', '.join(changes)})"]
    forms += [f"{title} ({', '.join(changes[:n])} and {len(changes) - n} more)" for n in range(len(changes) - 1, 0, -1)]
    return next((form for form in forms if len(form) <= MAX_TITLE), f"{title} ({len(changes)} changes)")


def _remark(row: dict[str, Any]) -> str:
    missing = len(row["seeds"]) < row["seeds_wanted"]
    said = ["adapted"] * bool(row["adapted"]) + [f"{len(row['seeds'])} of {row['seeds_wanted']} seeds"] * missing
    return f" ({', '.join(said)})" if said else ""


def notes(data: dict[str, Any]) -> list[str]:
    """What has to be said below the table."""
    seeds = max(row["seeds_wanted"] for row in data["rows"])
    over = f"mean ± 95 % interval (Student's t) over {seeds} seeds" if seeds > 1 else "one seed, so no interval"
    said = [f"{over}; ranked are methods that are complete and not adapted"]
    if data["grid"]:
        over = over.removeprefix("mean ")
        said = [f"{METRIC_NAMES[data['metric']]}: in each cell the mean over seeds, at the end the mean over columns, {over}"]
    if data["known_labels"]:
        said.append("ranked by known labels, as not all are told: good for comparing, too low as a figure")
    if not _title(data).endswith(f"({', '.join(data['changes'])})") and data["changes"]:
        said.append(f"changed in all rows that have it: {', '.join(data['changes'])}")
    said += _verdict(data) + cost.notes([row["cost"] for row in data["rows"]])
    said += data["notes"]
    adapted = {row["title"].removesuffix(f", {row['column']}"): row["adapted"] for row in data["rows"] if row["adapted"]}
    said += [f"{title}, adapted: {why}" for title, why in adapted.items()]
    if data["source"] and any(row["published"] for row in data["rows"]):
        said.append(f"published: {data['source']}")
    if len(data["commits"]) > 1:
        said.append(f"runs of {len(data['commits'])} states of the code: {', '.join(data['commits'])}")
    said += data["data"]
    for row in data["rows"]:
        said += [f"{row['title']}, seed {one['seed']}: failed: {one['reason']}" for one in row["failures"]]
        said += [f"{row['title']}: not tuned: {row['tuning_failure']}"] if row["tuning_failure"] else []
    return said


def _verdict(data: dict[str, Any]) -> list[str]:
    """`ours` against the reference in one sentence, as far as the seeds allow one."""
    ours = next((row for row in data["rows"] if row["title"] == data["ours"]), None)
    if ours is None or not ours["difference"]:
        return []
    found, pair = ours["difference"], f"{data['ours']} against {data['reference']}"
    if len(found["seeds"]) < SEEDS_TO_CLAIM:
        number = len(found["seeds"])
        return [f"{counted(number, 'seed')}: nothing is claimed of {pair}; take --seeds {SEEDS_TO_CLAIM}"]
    if found["p"] is None:
        return [f"{pair}: {found['mean']:+.2f} for every seed"]
    verdict = "cannot be told apart" if found["p"] >= 0.05 else "better" if found["mean"] > 0 else "worse"
    p = _number(found["p"], "= ")
    chosen = "" if data["reference"] == data["against"] else "; the other was chosen by its mean"
    return [f"{pair}: {verdict}, {found['mean']:+.2f}, p {p} (paired t-test{chosen})"]


def records(data: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows with unrounded numbers, flat, each with the same columns; what is not known is None. For CSV and W&B."""
    parts = [(metric, part) for metric in METRICS.values() for part in ("mean", "half")]
    found = []
    for row in data["rows"]:
        gain, tuned = row["difference"] or {}, row["tuned"] or {}
        found.append({
            "rank": row["rank"], "method": row["title"], "adapted": row["adapted"], "experiment": row["experiment"],
            "config_hash": row["config_hash"], "seeds": " ".join(map(str, row["seeds"])),
            **{f"{metric} {part}": (row["metrics"][metric] or {}).get(part) for metric, part in parts},
            "gap_closed": row["gap_closed"], "difference": gain.get("mean"), "difference_half": gain.get("half"),
            "p": gain.get("p"), "holm": gain.get("holm"), "tuned": tuned.get("mean"), "tuned_half": tuned.get("half"),
            **{name: row["cost"][name] for name in cost.COSTS}, "published": row["published"],
        })  # fmt: skip
    return found


def as_csv(data: dict[str, Any]) -> str:
    """One row a method, with unrounded numbers."""
    flat = records(data)
    rows = grid_records(data["grid"]) if data["grid"] else [list(flat[0]), *(list(row.values()) for row in flat)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([neutral(cell) if isinstance(cell, str) else cell for cell in row] for row in rows)
    return text.getvalue()


def _known(row: dict[str, Any], name: str) -> str:
    found = row["metrics"][METRICS[name]]
    return NONE if found is None or not found["mean"] else value(found)


def _text(number: float | None, form: str) -> str:
    return NONE if number is None else form.format(number)


def _share(percent: float | None) -> str:
    return NONE if percent is None else "below" if percent < -0.5 else f"{abs(percent):.0f} %"


def _p(found: dict[str, Any] | None) -> str:
    told = found is not None and len(found["seeds"]) >= SEEDS_TO_CLAIM and found["p"] is not None
    return _number(found["holm"]) if told and found is not None else NONE


def _number(p: float, equals: str = "") -> str:
    return "< 0.001" if p < 0.001 else f"{equals}{p:.3f}"
