"""What the runs of a row took, as they told it themselves: beside what they reached."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from aevlp.layout import NONE
from aevlp.reading import number
from aevlp.reporting.statistics import Group

COSTS = ("images_per_second", "views_encoded", "cpu_seconds", "seconds", "memory_peak_mb", "gpu_memory_peak_mb")
_COLUMNS = {"CPU s": "cpu_seconds", "peak MB": "memory_peak_mb", "GPU MB": "gpu_memory_peak_mb"}


def cost(groups: Iterable[Group]) -> dict[str, Any]:
    """Of all runs of a row; None where no run tells it.

    Images a second through training (mean over all epochs); seconds of a run, CPU and by the clock (means); the most views that
    one run had to encode, and the most memory that one took, in MB.
    """
    runs = [run for group in groups for run in group.by_seed.values()]
    rates = [row.get("perf/images_per_second") for run in runs for row in run.epochs]
    known = [float(rate) for rate in rates if isinstance(rate, int | float) and rate > 0]

    def told(name: str) -> list[float]:
        return [value for run in runs if (value := number(run.summary.get(f"perf/{name}"))) is not None]

    views = max(told("clip_images_encoded"), default=None)
    return {
        "images_per_second": _mean(known), "views_encoded": None if views is None else int(views),
        **{name: _mean(told(name)) for name in ("cpu_seconds", "seconds")},
        **{name: max(told(name), default=None) for name in ("memory_peak_mb", "gpu_memory_peak_mb")},
    }  # fmt: skip


def columns(costs: Sequence[dict[str, Any]]) -> dict[str, list[str]]:
    """Columns of a table; those that no row tells are left out."""
    found = {title: [one[name] for one in costs] for title, name in _COLUMNS.items()}
    return {
        title: [NONE if value is None else f"{value:.0f}" for value in values]
        for title, values in found.items() if any(value is not None for value in values)
    }  # fmt: skip


def notes(costs: Sequence[dict[str, Any]]) -> list[str]:
    """What the columns are, and what does not tell one method from another."""
    passed = [one["seconds"] for one in costs if one["seconds"] is not None]
    said = []
    if passed:
        clock = " to ".join(dict.fromkeys(f"{value:.0f}" for value in (min(passed), max(passed))))
        said.append(
            f"CPU s: of all processes of a run until its last epoch, mean; by the clock that was {clock} s, which depends on "
            "what else runs"
        )
    if any(one["memory_peak_mb"] is not None for one in costs):
        said.append("peak MB: the most memory that the processes of a run took")
    return said


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
