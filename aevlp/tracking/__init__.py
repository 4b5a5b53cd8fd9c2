"""Where a run's numbers go: ``metrics.jsonl`` (the truth), the terminal, Weights & Biases."""

from aevlp.tracking.base import RunInfo, Tracker, Trackers
from aevlp.tracking.console import ConsoleTracker
from aevlp.tracking.jsonl import JsonlTracker, read_metrics
from aevlp.tracking.wandb import WandbTracker

__all__ = ["ConsoleTracker", "JsonlTracker", "RunInfo", "Tracker", "Trackers", "WandbTracker", "read_metrics"]
