"""The suite as a Weights & Biases run of its own: its table, in the group of its runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aevlp.suites.plan import Plan
from aevlp.suites.table import METRICS
from aevlp.tracking.base import RunInfo
from aevlp.tracking.wandb import WandbTracker
from aevlp.training.run_folder import runs_root

COLUMNS = ("rank", "title", "adapted", "experiment", "gap_closed", "published")


def log_suite(plan: Plan, data: dict[str, Any], notify: Callable[[str], None]) -> None:
    """Log the table. Never raises for W&B's sake."""
    settings = plan.jobs[0].config.tracking
    if settings.mode == "off":
        return
    tracker = WandbTracker(
        settings.mode, settings.project, settings.entity, settings.tags, group=plan.label, job_type="suite-table"
    )
    tracker.notify = notify
    folder = runs_root() / "suites" / plan.label
    folder.mkdir(parents=True, exist_ok=True)
    tracker.start(RunInfo(
        run_id=f"{plan.label}-table", experiment=plan.label, run_dir=folder, config={"suite": plan.suite.model_dump(mode="json")},
        num_epochs=0, steps_per_epoch=0, resumed_step=None, class_names=[],
    ))  # fmt: skip
    columns = [*COLUMNS, "seeds", *(f"{metric} {part}" for metric in METRICS.values() for part in ("mean", "half"))]
    rows = [[
        *(row[name] for name in COLUMNS), len(row["seeds"]),
        *((row["metrics"][metric] or {}).get(part) for metric in METRICS.values() for part in ("mean", "half")),
    ] for row in data["rows"]]  # fmt: skip
    tracker.table("suite", columns, rows)
    tracker.finish("finished", {})
    for label, text in tracker.closing_lines():
        notify(f"{label:<6} {text}")
