"""The suite as a Weights & Biases run of its own: its table, in the group of its runs."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable
from typing import Any

from aevlp.folders import runs_root
from aevlp.runs.folder import RunFolder
from aevlp.suites.cost import COSTS
from aevlp.suites.measure import METRICS
from aevlp.suites.plan import Plan
from aevlp.tracking.wandb_table import log_table

COLUMNS = ("rank", "title", "adapted", "experiment", "gap_closed", "published")
PARTS = [(metric, part) for metric in METRICS.values() for part in ("mean", "half")]


def log_suite(plan: Plan, data: dict[str, Any], notify: Callable[[str], None]) -> None:
    """Log the table; the same command again continues the same W&B run. Never raises for W&B's sake."""
    settings = plan.jobs[0].config.tracking
    if settings.mode == "off":
        return
    folder = RunFolder(runs_root() / "suites" / plan.label)
    folder.path.mkdir(parents=True, exist_ok=True)
    columns = [*COLUMNS, "seeds", *(f"{metric} {part}" for metric, part in PARTS), "difference", "difference half", "p", "tuned"]
    columns += COSTS
    log_table(
        settings, _run_id(plan, folder), folder.path, notify, group=plan.label, job_type="suite-table",
        config={"suite": plan.suite.model_dump(mode="json"), "changes": plan.changes}, name="suite", columns=columns,
        rows=[_cells(row) for row in data["rows"]], summary={},
    )  # fmt: skip


def _run_id(plan: Plan, folder: RunFolder) -> str:
    """One id for the same suite with the same rows, seeds and changes in this runs folder."""
    told = json.dumps([plan.changes, [(line.title, len(line.jobs)) for line in plan.lines]])
    name = f"wandb_id_{hashlib.sha256(told.encode()).hexdigest()[:8]}"
    if not folder.has(name):
        folder.write(name, f"{plan.label}-{secrets.token_hex(3)}".encode())
    return (folder.path / name).read_text(encoding="utf-8")


def _cells(row: dict[str, Any]) -> list[Any]:
    gain, tuned = row["difference"] or {}, row["tuned"] or {}
    return [
        *(row[name] for name in COLUMNS), len(row["seeds"]),
        *((row["metrics"][metric] or {}).get(part) for metric, part in PARTS),
        gain.get("mean"), gain.get("half"), gain.get("p"), tuned.get("mean"),
        *(row["cost"][name] for name in COSTS),
    ]  # fmt: skip
