"""aevlp: single-positive multi-label learning with vision-language pseudo-labels."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aevlp.config.loading import load_experiment
    from aevlp.training.run import RunResult, train

__version__ = "0.1.0"
__all__ = ["RunResult", "load_experiment", "train"]

_HOME = {"load_experiment": "aevlp.config.loading", "train": "aevlp.training.run", "RunResult": "aevlp.training.run"}
_ROOMS = {
    "config", "data", "inference", "labelers", "losses", "metrics", "models", "reporting", "review", "runs", "suites", "sweeps",
    "tracking", "training", "vision_language",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    # Imported on first use: `import aevlp` costs milliseconds, torch costs seconds.
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    if name in _ROOMS:
        return importlib.import_module(f"aevlp.{name}")
    raise AttributeError(f"module 'aevlp' has no attribute {name!r}")
