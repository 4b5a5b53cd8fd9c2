"""A table as a Weights & Biases run of its own: what a study or a suite came to, in the group of its runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from aevlp.config.schema import TrackingConfig
from aevlp.tracking.base import RunInfo
from aevlp.tracking.wandb import WandbTracker


def log_table(
    settings: TrackingConfig, run_id: str, folder: Path, notify: Callable[[str], None], *,
    group: str, job_type: str, config: dict[str, Any], name: str, columns: list[str], rows: list[list[Any]],
    summary: dict[str, Any],
) -> None:  # fmt: skip
    """Log it and say where it is; a run of this id is continued. Never raises for W&B's sake."""
    own = {"group": group, "job_type": job_type, "name": None, "notes": None, "alert": False}
    tracker = WandbTracker(settings.model_copy(update=own))
    tracker.notify = notify
    tracker.start(RunInfo(
        run_id=run_id, experiment=group, run_dir=folder, config=config,
        num_epochs=0, steps_per_epoch=0, resumed_step=None, class_names=[],
    ))  # fmt: skip
    tracker.table(name, columns, rows)
    tracker.finish("finished", summary)
    for label, text in tracker.closing_lines():
        notify(f"{label:<6} {text}")
