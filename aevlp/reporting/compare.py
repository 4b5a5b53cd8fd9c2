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
    "val mAP": "best/val_mAP",
    "pseudo P": "pseudo/positive/precision",
    "pseudo R": "pseudo/positive/recall",
    "labeler": "test/labeler_mAP",
}


def mean_and_interval(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean, and half the width of its 95 % confidence interval (Student's t); None for a single value."""
    if len(values) < 2:
        return float(np.mean(values)), None
    from scipy.stats import t

    return float(np.mean(values)), float(t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / math.sqrt(len(values)))


def compare(paths: list[Path], console: Console | None = None) -> None:
    """Print the table, best test mAP first: test and best validation mAP, pseudo-positives, the labeler's own test mAP."""
    console = console or Console(highlight=False)
    if not console.is_terminal:
        console.width = 160  # a file or a pipe has no width to respect
    runs, unfinished = collect(paths)
    for line in unfinished:
        console.print(f"left out  {line}", style="yellow", soft_wrap=True, markup=False)
    if not runs:
        raise ConfigError("compare: none of these runs has finished")
    table = Table(box=None, pad_edge=False)
    table.add_column("experiment", no_wrap=True)
    for title in ("seed", *COLUMNS):
        table.add_column(title, justify="right", no_wrap=True)
    groups: dict[tuple[str, str], dict[int, FinishedRun]] = {}
    for run in sorted(runs, key=lambda run: run.path.name):
        repeated = groups.setdefault((run.experiment, run.config_hash), {})
        if run.seed in repeated:
            console.print(
                f"left out  {repeated[run.seed].path.name}: a later run has the same settings and seed",
                soft_wrap=True,
                markup=False,
            )
        repeated[run.seed] = run
    names = [experiment for experiment, _ in groups]
    rows = [(experiment, config_hash, list(by_seed.values())) for (experiment, config_hash), by_seed in groups.items()]
    for experiment, config_hash, group in sorted(rows, key=lambda row: -_mean(row[2], "test/mAP")):
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
