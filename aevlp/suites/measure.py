"""What a suite came to, as plain data: a line a method, with intervals over seeds, tests, and what was published beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aevlp.reporting.comparison import difference, summary
from aevlp.reporting.same_data import data_notes
from aevlp.reporting.statistics import Group
from aevlp.suites.cost import cost
from aevlp.suites.grid import grid
from aevlp.suites.plan import Job, Plan

TEST = "test/mAP"
VAL, VAL_OBSERVED, TEST_OBSERVED = "best/val_mAP", "best/val_mAP_observed", "test/mAP_observed"
METRICS = {
    "test mAP": TEST,
    "val mAP": VAL,
    "test mAP (known labels)": TEST_OBSERVED,
    "val mAP (known labels)": VAL_OBSERVED,
    "pseudo P": "pseudo/positive/precision",
    "pseudo R": "pseudo/positive/recall",
}


def measure(plan: Plan) -> dict[str, Any]:
    """The table as JSON-able data; metrics in percent, `half` is half a 95 % interval. What is not known is None.

    Rows stand in the order of their mean test mAP. `rank` is counted among methods alone, whose every seed is there: the upper
    bound, what is adapted and what is incomplete have none. `difference` is against `reference`: the suite's `against`, or the
    best ranked row that is not `ours`; paired over seeds, with the p of each test, and `holm`, corrected for their number.
    """
    groups = {line.title: _group(line.title, line.jobs) for line in plan.lines}
    suite, by_known = plan.suite, _by_known_labels(plan, groups)
    decided = _metric(groups, by_known)
    complete = {line.title for line in plan.lines if len(groups[line.title].values(decided)) == len(line.jobs)}
    lines = sorted(plan.lines, key=lambda line: -groups[line.title].mean(decided))
    ranked = [line.title for line in lines if line.title in complete and line.title != suite.upper and not line.adapted]
    if suite.columns:  # cells of a row and of a column are not rivals; its rows are ranked by their means
        ranked = []
    others = [title for title in ranked if title != suite.ours]
    reference = suite.against if suite.against in groups else others[0] if others else None
    ends = [groups[title].mean(decided) if title in complete else None for title in (suite.lower, suite.upper)]
    rows: list[dict[str, Any]] = []
    for line in lines:
        group = groups[line.title]
        has_gap = line.title in complete and line.title not in (suite.lower, suite.upper)
        rows.append({
            "title": line.title,
            "column": line.column or None,
            "experiment": line.experiment,
            "set": line.words,
            "config_hash": line.jobs[0].config.hash,
            "data_fingerprint": next((run.data_fingerprint or None for run in group.by_seed.values()), None),
            "rank": ranked.index(line.title) + 1 if line.title in ranked else None,
            "adapted": line.adapted or None,
            "seeds": sorted(group.by_seed),
            "seeds_wanted": len(line.jobs),
            "runs": [run.path.name for run in group.by_seed.values()],
            "metrics": {metric: summary(group, metric) for metric in METRICS.values()},
            "difference": None if reference in (None, line.title) else difference(group, groups[str(reference)], decided),
            "gap_closed": _closed(group.mean(decided), *ends) if has_gap else None,
            "cost": cost([group]),
            "published": line.row.published.get(plan.dataset),
            "tuned": summary(_group(line.title, line.tuned), decided) if line.tuned else None,
            "failures": [{"seed": job.config.seed, "reason": job.failure} for job in line.jobs + line.tuned if job.failure],
            "tuning_failure": line.tuning_failure,
        })  # fmt: skip
    _correct([row["difference"] for row in rows if row["difference"]])
    return {"suite": plan.name, "dataset": plan.dataset, "changes": plan.changes, "metric": decided,
            "known_labels": by_known and decided != TEST, "reference": reference,
            "ours": suite.ours, "against": suite.against, "lower": suite.lower, "upper": suite.upper, "source": suite.source,
            "notes": plan.notes, "commits": _commits(groups), "data": _data(plan, groups), "rows": rows,
            "grid": grid(plan.lines, groups, decided) if suite.columns else None}  # fmt: skip


def _correct(differences: list[dict[str, Any]]) -> None:
    """Holm's correction of p for the number of tests, beside each of them."""
    known = sorted((found for found in differences if found["p"] is not None), key=lambda found: found["p"])
    largest = 0.0
    for i, found in enumerate(known):
        largest = max(largest, min(1.0, found["p"] * (len(known) - i)))
        found["holm"] = largest


def _commits(groups: dict[str, Group]) -> list[str]:
    """Commits of the code that trained the runs, and "uncommitted changes" where there were some."""
    found = set()
    for run in (run for group in groups.values() for run in group.by_seed.values()):
        git = run.environment.get("git")
        if isinstance(git, dict):
            found.add(f"{str(git.get('commit'))[:10]}{' with uncommitted changes' if git.get('dirty') else ''}")
    return sorted(found)


def _data(plan: Plan, groups: dict[str, Group]) -> list[str]:
    """What to tell where not all runs of a column saw the same data; columns may differ in what is known of them."""
    said = []
    for column in dict.fromkeys(line.column for line in plan.lines):
        titles = [line.title for line in plan.lines if line.column == column]
        runs = {f"{title} (seed {seed})": run for title in titles for seed, run in groups[title].by_seed.items()}
        said += data_notes(runs, next(iter(runs))) if runs else []
    return said


def _group(title: str, jobs: Sequence[Job]) -> Group:
    runs = {job.config.seed: job.run for job in jobs}
    finished = {seed: run for seed, run in runs.items() if run is not None}
    return Group(title, title, jobs[0].config.hash if jobs else "", by_seed=finished)


def _metric(groups: dict[str, Group], by_known: bool) -> str:
    """Test mAP; where it is not known validation mAP, and where that is not either, both by known labels."""
    wanted = (TEST, TEST_OBSERVED, VAL_OBSERVED, VAL) if by_known else (TEST, VAL)
    return next((metric for metric in wanted if any(group.values(metric) for group in groups.values())), VAL)


def _by_known_labels(plan: Plan, groups: dict[str, Group]) -> bool:
    """Whether known labels alone choose the epoch of each row; the runs tell it where the data are not at hand."""
    job = plan.jobs[0]
    if job.data is None:
        return job.config.selection.labels == "observed" or any(group.by_known for group in groups.values())
    return job.config.selection.labels == "observed" or job.data.val.targets is None


def _closed(mean: float, low: float | None, high: float | None) -> float | None:
    """Share of the gap between the two ends, in percent."""
    if low is None or high is None or not min(mean, low, high) > float("-inf") or high <= low:
        return None
    return 100 * (mean - low) / (high - low)
