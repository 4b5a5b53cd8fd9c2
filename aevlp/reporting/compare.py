"""Runs side by side on the terminal: one row an experiment, mean and 95 % interval over its seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from aevlp.config.errors import ConfigError
from aevlp.reporting.collect import FinishedRun, collect

COLUMNS = {
    "test mAP": "test/mAP",
    "best val mAP": "best/val_mAP",
    "pseudo precision": "pseudo/positive/precision",
    "pseudo recall": "pseudo/positive/recall",
    "labeler test mAP": "test/labeler_mAP",
}


def mean_and_interval(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean, and half the width of its 95 % confidence interval (Student's t); None for a single value."""
    if len(values) < 2:
        return float(np.mean(values)), None
    from scipy.stats import t

    return float(np.mean(values)), float(t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / math.sqrt(len(values)))


def compare(paths: list[Path], console: Console | None = None) -> None:
    """Print the table, best test mAP first."""
    console = console or Console(highlight=False)
    runs, unfinished = collect(paths)
    for line in unfinished:
        console.print(f"left out  {line}", style="yellow", soft_wrap=True, markup=False)
    if not runs:
        raise ConfigError("compare: none of these runs has finished")
    table = Table(box=None, pad_edge=False)
    table.add_column("experiment")
    for title in ("seeds", *COLUMNS):
        table.add_column(title, justify="right")
    groups: dict[tuple[str, str], list[FinishedRun]] = {}
    for run in runs:
        groups.setdefault((run.experiment, run.config_hash), []).append(run)
    names = [experiment for experiment, _ in groups]
    for (experiment, config_hash), group in sorted(groups.items(), key=lambda item: -_mean(item[1], "test/mAP")):
        # The same experiment with other settings is another row, told apart by the hash of its settings.
        name = experiment if names.count(experiment) == 1 else f"{experiment} ({config_hash[:6]})"
        seeds = ",".join(str(run.seed) for run in sorted(group, key=lambda run: run.seed))
        table.add_row(name, seeds, *(_cell(group, metric) for metric in COLUMNS.values()))
    console.print(table)


def _known(group: list[FinishedRun], metric: str) -> list[float]:
    return [run.summary[metric] for run in group if run.summary.get(metric) is not None]


def _mean(group: list[FinishedRun], metric: str) -> float:
    values = _known(group, metric)
    return float(np.mean(values)) if values else -1.0


def _cell(group: list[FinishedRun], metric: str) -> str:
    values = _known(group, metric)
    if not values:
        return "–"  # noqa: RUF001
    mean, interval = mean_and_interval(values)
    return f"{mean:.1f}" if interval is None else f"{mean:.1f} ± {interval:.1f}"
