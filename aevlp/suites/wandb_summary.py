"""The suite as a Weights & Biases run of its own: its table, in the group of its runs."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable
from typing import Any

from aevlp.folders import runs_root
from aevlp.runs.folder import RunFolder
from aevlp.suites.plan import Plan
from aevlp.suites.table import records
from aevlp.tracking.wandb_table import log_table


def log_suite(plan: Plan, data: dict[str, Any], notify: Callable[[str], None]) -> None:
    """Log the table; the same command again continues the same W&B run. Never raises for W&B's sake."""
    settings = plan.jobs[0].config.tracking
    if settings.mode == "off":
        return
    folder = RunFolder(runs_root() / "suites" / plan.label)
    folder.path.mkdir(parents=True, exist_ok=True)
    rows = records(data)
    log_table(
        settings, _run_id(plan, folder), folder.path, notify, group=plan.label, job_type="suite-table",
        config={"suite": plan.suite.model_dump(mode="json"), "changes": plan.changes}, name="suite",
        columns=list(rows[0]), rows=[list(row.values()) for row in rows], summary={},
    )  # fmt: skip


def _run_id(plan: Plan, folder: RunFolder) -> str:
    """One id for the same suite with the same rows, seeds and changes in this runs folder."""
    told = json.dumps([plan.changes, [(line.title, len(line.jobs)) for line in plan.lines]])
    name = f"wandb_id_{hashlib.sha256(told.encode()).hexdigest()[:8]}"
    if not folder.has(name):
        folder.write(name, f"{plan.label}-{secrets.token_hex(3)}".encode())
    return (folder.path / name).read_text(encoding="utf-8")
