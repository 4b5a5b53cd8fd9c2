"""A suite with columns, such as shares of known labels: methods as rows, the mean over columns last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aevlp.layout import NONE, Sheet
from aevlp.reporting.sheets import value
from aevlp.reporting.statistics import Group, mean_and_interval
from aevlp.suites.cost import COSTS, columns, cost
from aevlp.suites.plan import Line


def grid(lines: Sequence[Line], groups: dict[str, Group], metric: str) -> list[dict[str, Any]]:
    """A row a method, best mean first: the mean over seeds in each column, None where no run has finished.

    `mean` is of the seeds that every column has, each averaged over columns first; `rank` counts rows that lack none and are not
    adapted.
    """
    rows: dict[str, list[Line]] = {}
    for line in lines:
        rows.setdefault(line.title.removesuffix(f", {line.column}"), []).append(line)
    found: list[dict[str, Any]] = []
    for title, parts in rows.items():
        values = [groups[line.title].values(metric) for line in parts]
        seeds = sorted(set.intersection(*map(set, values)))
        means = [sum(part[seed] for part in values) / len(values) for seed in seeds]
        found.append({
            "title": title,
            "cells": {
                line.column: sum(part.values()) / len(part) if part else None
                for line, part in zip(parts, values, strict=True)
            },
            "mean": dict(zip(("mean", "half"), mean_and_interval(means), strict=True)) if means else None,
            "seeds": seeds, "complete": len(seeds) == len(parts[0].jobs), "adapted": parts[0].adapted or None,
            "cost": cost(groups[line.title] for line in parts),
        })  # fmt: skip
    found.sort(key=lambda row: -row["mean"]["mean"] if row["mean"] else float("inf"))
    ranked = [row["title"] for row in found if row["complete"] and not row["adapted"]]
    return [row | {"rank": ranked.index(row["title"]) + 1 if row["title"] in ranked else None} for row in found]


def grid_sheet(data: dict[str, Any], title: str) -> Sheet:
    """The table as text."""
    rows = data["grid"]
    costs = columns([row["cost"] for row in rows])
    cells = [
        [str(row["rank"] or ""), row["title"] + _remark(row),
         *(NONE if cell is None else f"{cell:.1f}" for cell in row["cells"].values()), value(row["mean"]),
         *(cells[i] for cells in costs.values())]
        for i, row in enumerate(rows)
    ]  # fmt: skip
    return Sheet(title, ["", "method", *rows[0]["cells"], "mean", *costs], cells, text=("method",))


def grid_records(rows: list[dict[str, Any]]) -> list[list[Any]]:
    """The table with unrounded numbers, header first."""
    header = ["rank", "method", "adapted", "seeds", *rows[0]["cells"], "mean", "half", *COSTS]
    return [header] + [
        [row["rank"], row["title"], row["adapted"], " ".join(map(str, row["seeds"])),
         *row["cells"].values(), *((row["mean"] or {}).get(part) for part in ("mean", "half")),
         *(row["cost"][name] for name in COSTS)]
        for row in rows
    ]  # fmt: skip


def _remark(row: dict[str, Any]) -> str:
    said = ["adapted"] * bool(row["adapted"]) + ["incomplete"] * (not row["complete"])
    return f" ({', '.join(said)})" if said else ""
