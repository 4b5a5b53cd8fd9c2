"""The trackers of a run: metrics.jsonl always, the console always, Weights & Biases unless it is off."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from aevlp.command import COMMAND
from aevlp.config.schema import TrackingConfig
from aevlp.tracking.base import Tracker, Trackers, shown_path
from aevlp.tracking.console import ConsoleTracker
from aevlp.tracking.jsonl import JsonlTracker
from aevlp.tracking.wandb import WandbTracker


def build_trackers(config: TrackingConfig, run_dir: Path, more: Sequence[Tracker] = ()) -> Trackers:
    """Trackers for the run in `run_dir`, and `more` of the caller's."""
    name = shlex.quote(shown_path(run_dir))

    def next_steps(state: str) -> list[tuple[str, str]]:
        if state == "finished":
            return [("compare", f"{COMMAND} compare {name} OTHER_RUN")]
        return [("resume", f"{COMMAND} --resume {name}")]

    trackers: list[Tracker] = [JsonlTracker(), ConsoleTracker(next_steps), *more]
    if config.mode != "off":
        trackers.append(WandbTracker(
            config.mode, config.project, config.entity, tuple(config.tags), config.group, config.job_type,
            name=config.name, notes=config.notes, alert=config.alert,
        ))  # fmt: skip
    return Trackers(trackers)
