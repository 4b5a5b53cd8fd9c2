"""The trackers of a run: metrics.jsonl always, the console always, Weights & Biases unless it is off."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from aevlp.command import COMMAND
from aevlp.config.schema import TrackingConfig
from aevlp.tracking.base import Tracker, Trackers, shown_run
from aevlp.tracking.console import ConsoleTracker
from aevlp.tracking.jsonl import JsonlTracker
from aevlp.tracking.wandb import WandbTracker


def build_trackers(config: TrackingConfig, run_dir: Path, more: Sequence[Tracker] = (), *, photos: str | None = None) -> Trackers:
    """Trackers for the run in `run_dir`, and `more` of the caller's; `photos` is a folder that its model may be tried on."""
    name = shlex.quote(shown_run(run_dir))

    def next_steps(state: str) -> list[tuple[str, str]]:
        if state != "finished":
            return [("resume", f"{COMMAND} --resume {name}")]
        predict = [] if photos is None else [("predict", f"{COMMAND} predict {name} {shlex.quote(photos)} -o scores.csv")]
        return [("report", f"{COMMAND} report {name} -o report.html"), *predict]

    trackers: list[Tracker] = [JsonlTracker(), ConsoleTracker(next_steps), *more]
    if config.mode != "off":
        trackers.append(WandbTracker(config))
    return Trackers(trackers)
