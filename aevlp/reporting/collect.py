"""Runs as their folders tell of them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aevlp.config.errors import ConfigError
from aevlp.training.run_folder import find_run


@dataclass(frozen=True)
class FinishedRun:
    """A run that has ended, and its flat summary."""

    path: Path
    experiment: str
    seed: int
    config_hash: str
    summary: dict[str, Any]


def collect(paths: list[Path]) -> tuple[list[FinishedRun], list[str]]:
    """Finished runs, and a line for each run that has not finished. A path is a run, a run id, or a folder of runs."""
    finished, unfinished = [], []
    for path in paths:
        inside = sorted(config.parent for config in path.glob("*/config.yaml"))
        for folder in inside or [find_run(str(path))]:
            summary = _read_summary(folder)
            if summary is None:
                unfinished.append(f"{folder.name}: not finished")
            else:
                finished.append(FinishedRun(folder, summary["experiment"], summary["seed"], summary["config_hash"], summary))
    return finished, unfinished


def _read_summary(folder: Path) -> dict[str, Any] | None:
    path = folder / "summary.json"
    if not path.is_file():
        return None
    try:
        summary = json.loads(path.read_text())
    except ValueError as error:
        raise ConfigError(f"{path}: not valid JSON: {error}") from error
    return summary if isinstance(summary, dict) and summary.get("state") == "finished" else None
