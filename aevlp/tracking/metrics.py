"""Metrics that runs log once an epoch, and that a study can therefore be after."""

from __future__ import annotations

from typing import Literal

Direction = Literal["maximize", "minimize"]

_QUALITY = [f"{sign}/{key}" for sign in ("positive", "negative") for key in ("precision", "recall", "f1", "count")]
BY_KNOWN = ("known_recall_1", "known_recall_3", "known_recall_5", "known_rank", "labels_per_image", "agreement")
"""What is told of a split besides mAP: `aevlp.metrics.known_label_quality`."""
LOWER_BOUND, EXACT = "a lower bound, as labels that are not known count as absent", "on the images a class is known of"
"""What mAP by known labels is: the second where unknown labels of no class count as absent (`val/mAP_assumed` is 0)."""
EPOCH_METRICS = (
    "best/val_mAP", "best/val_mAP_observed", "best/epoch", "val/mAP", "val/mAP_observed", "val/mAP_classes", "val/mAP_assumed",
    *(f"{prefix}{name}" for prefix in ("best/val_", "val/") for name in BY_KNOWN), "val/labeler_mAP", "train/loss",
    *(f"{prefix}pseudo/{name}" for prefix in ("", "val/") for name in _QUALITY),
    "labeler/temperature", "labeler/threshold",
    *(f"labeler/forecast_{name}" for name in ("labels_per_image", "recall", "chance", "precision", "f1")),
    "perf/images_per_second", "perf/data_wait", "perf/memory_peak_mb", "perf/gpu_memory_peak_mb",
    "perf/seconds", "perf/cpu_seconds", "perf/clip_images_encoded",
)  # fmt: skip
"""Not all of every run: see docs/results.md for what each takes."""
_SMALL_IS_GOOD = (
    "train/loss", "best/epoch", "val/mAP_assumed", "best/val_known_rank", "val/known_rank", "perf/data_wait",
    "perf/memory_peak_mb", "perf/gpu_memory_peak_mb", "perf/seconds", "perf/cpu_seconds", "perf/clip_images_encoded",
)  # fmt: skip


def preferred_direction(metric: str) -> Direction:
    """What is better for a metric: "maximize" or "minimize"."""
    return "minimize" if metric in _SMALL_IS_GOOD else "maximize"
