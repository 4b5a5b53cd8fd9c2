"""Modules that have another place than in version 0.1.0, for plugins that import them from the old one."""

from __future__ import annotations

MOVED = {
    "aevlp.config.snapshot": "aevlp.runs.snapshot",
    "aevlp.data.label_file": "aevlp.inference.label_formats",
    "aevlp.reporting.collect": "aevlp.runs.collect",
    "aevlp.reporting.evaluation": "aevlp.inference.evaluate",
    "aevlp.sum_over_ranks": "aevlp.batch_mean",
    "aevlp.sweeps.metrics": "aevlp.tracking.metrics",
    "aevlp.sweeps.owner": "aevlp.owner",
    "aevlp.training.checkpoints": "aevlp.runs.checkpoints",
    "aevlp.training.child": "aevlp.runs.child",
    "aevlp.training.export": "aevlp.inference.export",
    "aevlp.training.labeling": "aevlp.inference.label",
    "aevlp.training.predicting": "aevlp.inference.predict",
    "aevlp.training.published": "aevlp.inference.published",
    "aevlp.training.run_folder": "aevlp.runs.folder",
    "aevlp.training.run_lock": "aevlp.runs.lock",
    "aevlp.training.sources": "aevlp.inference.sources",
    "aevlp.training.trained": "aevlp.inference.trained",
}


def new_place(error: Exception) -> str:
    """What to add to the message of an import that failed: where the module is now; empty where it is none of these."""
    for old, new in MOVED.items():
        package, _, name = old.rpartition(".")
        if isinstance(error, ImportError) and (error.name == old or (error.name == package and f"'{name}'" in str(error))):
            return f"; {old} is now {new}"
    return ""
