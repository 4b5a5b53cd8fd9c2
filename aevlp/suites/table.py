"""What a suite came to: a line a method, with intervals over seeds, and what was published beside it. Plain data, then text."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from aevlp.reporting.comparison import difference, summary
from aevlp.reporting.sheets import NONE, Sheet, neutral, value
from aevlp.reporting.statistics import Group
from aevlp.suites.plan import Job, Line, Plan

TEST = "test/mAP"
METRICS = {
    "test mAP": TEST,
    "val mAP": "best/val_mAP",
    "pseudo P": "pseudo/positive/precision",
    "pseudo R": "pseudo/positive/recall",
}
SEEDS_TO_CLAIM = 5
"""Fewer paired seeds are shown, but nothing is said to be better for them."""


def measure(plan: Plan) -> dict[str, Any]:
    """The table as JSON-able data; metrics in percent, `half` is half a 95 % interval. What is not known is None.

    Rows stand in the order of their mean test mAP; `rank` is counted among methods alone: the upper bound and what is
    adapted have none. `difference` is against the best ranked row that is not `ours`, paired over seeds.
    """
    groups = {line.title: _group(line.title, line.jobs) for line in plan.lines}
    suite, decided = plan.suite, _metric(groups)
    ranked = sorted(
        (line for line in plan.lines if _is_ranked(line, plan) and groups[line.title].values(decided)),
        key=lambda line: -groups[line.title].mean(decided),
    )
    others = [line.title for line in ranked if line.title != suite.ours]
    best = others[0] if others else None
    ends = [groups[title].mean(decided) if title in groups else None for title in (suite.lower, suite.upper)]
    rows = []
    for line in sorted(plan.lines, key=lambda line: -groups[line.title].mean(decided)):
        group = groups[line.title]
        rows.append({
            "title": line.title,
            "experiment": line.experiment,
            "set": line.words,
            "config_hash": line.jobs[0].config.hash,
            "rank": next((i + 1 for i, other in enumerate(ranked) if other is line), None),
            "adapted": line.adapted or None,
            "seeds": sorted(group.by_seed),
            "runs": [run.path.name for run in group.by_seed.values()],
            "metrics": {metric: summary(group, metric) for metric in METRICS.values()},
            "difference": None if best in (None, line.title) else difference(group, groups[str(best)], decided),
            "gap_closed": _closed(group.mean(decided), *ends) if line.title not in (suite.lower, suite.upper) else None,
            "cost": _cost(group),
            "published": line.row.published.get(plan.dataset),
            "tuned": summary(_group(line.title, line.tuned), decided) if line.tuned else None,
            "failures": [{"seed": job.config.seed, "reason": job.failure} for job in line.jobs + line.tuned if job.failure],
        })  # fmt: skip
    return {"suite": plan.name, "dataset": plan.dataset, "metric": decided, "best_other": best, "source": suite.source,
            "ours": suite.ours, "lower": suite.lower, "upper": suite.upper, "rows": rows}  # fmt: skip


def _group(title: str, jobs: Sequence[Job]) -> Group:
    runs = {job.config.seed: job.run for job in jobs}
    return Group(title, title, jobs[0].config.hash if jobs else "", {seed: run for seed, run in runs.items() if run is not None})


def _metric(groups: dict[str, Group]) -> str:
    """Test mAP; validation mAP where nothing was tested."""
    return TEST if any(group.values(TEST) for group in groups.values()) else "best/val_mAP"


def _is_ranked(line: Line, plan: Plan) -> bool:
    return line.title != plan.suite.upper and not line.adapted


def _closed(mean: float, low: float | None, high: float | None) -> float | None:
    """Share of the gap between the two ends, in percent."""
    if low is None or high is None or not min(mean, low, high) > float("-inf") or high <= low:
        return None
    return 100 * (mean - low) / (high - low)


def _cost(group: Group) -> dict[str, Any]:
    """Images a second through training (mean over all epochs), and the most views one run had to encode."""
    rates = [row.get("perf/images_per_second") for run in group.by_seed.values() for row in run.epochs]
    known = [float(rate) for rate in rates if isinstance(rate, int | float) and rate > 0]
    views = [run.summary.get("perf/clip_images_encoded") for run in group.by_seed.values()]
    return {
        "images_per_second": sum(known) / len(known) if known else None,
        "views_encoded": max((view for view in views if isinstance(view, int)), default=None),
    }


def sheet(data: dict[str, Any]) -> Sheet:
    """The table as text; columns that would be empty are left out."""
    metric = "test mAP" if data["metric"] == TEST else "val mAP"
    claims = any(row["difference"] and len(row["difference"]["seeds"]) >= SEEDS_TO_CLAIM for row in data["rows"])
    columns: dict[str, list[str]] = {
        "": [str(row["rank"] or "") for row in data["rows"]],
        "method": [row["title"] + (" (adapted)" if row["adapted"] else "") for row in data["rows"]],
        metric: [value(row["metrics"][data["metric"]]) for row in data["rows"]],
        "tuned": [value(row["tuned"]) for row in data["rows"]],
        "gap closed": [_text(row["gap_closed"], "{:.0f} %") for row in data["rows"]],
        f"against {data['best_other']}": [_difference(row) for row in data["rows"]],
        "p": [_p((row["difference"] or {}).get("p")) if claims else NONE for row in data["rows"]],
        "pseudo P": [_known(row, "pseudo P") for row in data["rows"]],
        "pseudo R": [_known(row, "pseudo R") for row in data["rows"]],
        "images/s": [_text(row["cost"]["images_per_second"], "{:.0f}") for row in data["rows"]],
        "published": [_text(row["published"], "{:.2f}") for row in data["rows"]],
    }
    shown = {name: cells for name, cells in columns.items() if name in ("method", metric) or set(cells) - {NONE, ""}}
    rows = [list(cells) for cells in zip(*shown.values(), strict=True)]
    return Sheet(f"{data['suite']} on {data['dataset']}", list(shown), rows, text=("method",))


def notes(data: dict[str, Any]) -> list[str]:
    """What has to be said below the table."""
    seeds = sorted({len(row["seeds"]) for row in data["rows"]})
    said = [f"mean ± 95 % interval (Student's t) over {'/'.join(map(str, seeds))} seeds; rank among methods that are not adapted"]
    ours = next((row for row in data["rows"] if row["title"] == data["ours"]), None)
    if ours is not None and ours["difference"]:
        found = ours["difference"]
        if len(found["seeds"]) < SEEDS_TO_CLAIM:
            said.append(
                f"{len(found['seeds'])} seeds: nothing is claimed of {data['ours']} against {data['best_other']}; take --seeds 5"
            )
        else:
            p = 1.0 if found["p"] is None else found["p"]
            verdict = "differ" if p < 0.05 else "cannot be told apart"
            said.append(f"{data['ours']} and {data['best_other']} {verdict} (paired t-test, p {_p(p, '= ')})")
    said += [f"{row['title']}, adapted: {row['adapted']}" for row in data["rows"] if row["adapted"]]
    if data["source"] and any(row["published"] for row in data["rows"]):
        said.append(f"published: {data['source']}")
    said += [f"{row['title']}, seed {one['seed']}: failed: {one['reason']}" for row in data["rows"] for one in row["failures"]]
    return said


def as_csv(data: dict[str, Any]) -> str:
    """One row a method, with unrounded numbers."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    parts = [(metric, part) for metric in METRICS.values() for part in ("mean", "half")]
    writer.writerow([
        "rank", "method", "adapted", "experiment", "config_hash", "seeds", *(f"{metric} {part}" for metric, part in parts),
        "gap_closed", "difference", "difference_half", "p", "tuned", "tuned_half", "images_per_second", "views_encoded",
        "published",
    ])  # fmt: skip
    for row in data["rows"]:
        difference, tuned = row["difference"] or {}, row["tuned"] or {}
        writer.writerow([
            row["rank"], neutral(row["title"]), neutral(row["adapted"] or ""), row["experiment"], row["config_hash"],
            " ".join(map(str, row["seeds"])), *((row["metrics"][metric] or {}).get(part) for metric, part in parts),
            row["gap_closed"], difference.get("mean"), difference.get("half"), difference.get("p"), tuned.get("mean"),
            tuned.get("half"), row["cost"]["images_per_second"], row["cost"]["views_encoded"], row["published"],
        ])  # fmt: skip
    return text.getvalue()


def _known(row: dict[str, Any], name: str) -> str:
    found = row["metrics"][METRICS[name]]
    return NONE if found is None or not found["mean"] else value(found)


def _difference(row: dict[str, Any]) -> str:
    return value(row["difference"], "+")


def _text(number: float | None, form: str) -> str:
    return NONE if number is None else form.format(number)


def _p(p: float | None, equals: str = "") -> str:
    return NONE if p is None else "< 0.001" if p < 0.001 else f"{equals}{p:.3f}"
