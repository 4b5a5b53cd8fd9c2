"""What a report shows of a single run: threshold curves, co-occurrence, pseudo-positives by class, sample images."""

from __future__ import annotations

import base64
import itertools
from typing import Any

import numpy as np

from aevlp.data.npz import require
from aevlp.metrics.mistakes import judge
from aevlp.metrics.thresholds import sigmoid
from aevlp.reporting.html import jpeg_uri
from aevlp.runs.collect import Run

THRESHOLDS = np.round(np.arange(51) / 50, 2)  # 0, 0.02, ..., 1
MAX_CLASSES = 40  # of a co-occurrence matrix: more cannot be read
MAX_EPOCHS = 12  # of pseudo-positives by class
SCALE = 200  # scores travel as bytes, in steps of half a percent


def packed(array: np.ndarray, dtype: str) -> str:
    """Little-endian base64 of an array."""
    return base64.b64encode(np.ascontiguousarray(array, dtype=np.dtype(dtype).newbyteorder("<")).tobytes()).decode()


def validation(run: Run) -> tuple[np.ndarray, np.ndarray] | None:
    """Probabilities and true labels (N,C) of the validation images, from val_scores.npz; None where they are not there."""
    arrays = run.arrays("val_scores.npz")
    try:
        if not arrays or "targets" not in arrays:
            return None
        require(arrays, {"logits": "f NC", "targets": "biuf NC"})
    except ValueError as error:
        run.say(f"val_scores.npz: {error}")
        return None
    logits, targets = arrays["logits"], arrays["targets"]
    return (sigmoid(logits), targets == 1) if logits.size else None


def threshold_counts(probabilities: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """True and false positives (C,T) of predicting a class where its probability is at least each of THRESHOLDS."""
    num_classes, num_edges = targets.shape[1], len(THRESHOLDS)
    edge = np.searchsorted(THRESHOLDS, probabilities, side="right") - 1  # index of the highest threshold that is reached
    flat = (edge + np.arange(num_classes) * num_edges).ravel()
    counts = [
        np.bincount(flat[mask.ravel()], minlength=num_classes * num_edges).reshape(num_classes, num_edges)
        for mask in (targets, ~targets)
    ]
    true, false = (count[:, ::-1].cumsum(axis=1)[:, ::-1] for count in counts)
    return true, false


def best_from_counts(true: np.ndarray, false: np.ndarray, positives: np.ndarray) -> np.ndarray:
    """Index (C,) into THRESHOLDS of the best F1 of each class; of equal ones that nearest to 0.5."""
    f1 = 2 * true / np.maximum(true + false + positives[:, None], 1)
    order = np.argsort(np.abs(THRESHOLDS - 0.5), kind="stable")
    return order[np.argmax(f1[:, order], axis=1)]


def scored(run: Run) -> dict[str, Any] | None:
    """Threshold curves and co-occurrence on the validation images, both from the best epoch's scores."""
    found = validation(run)
    if found is None:
        return None
    probabilities, targets = found
    true, false = threshold_counts(probabilities, targets)
    positives = targets.sum(axis=0)
    best = best_from_counts(true, false, positives)
    shown = np.sort(np.argsort(-positives, kind="stable")[:MAX_CLASSES])
    actual, predicted = targets[:, shown].astype(np.float32), (probabilities >= THRESHOLDS[best])[:, shown].astype(np.float32)
    return {
        "images": len(targets),
        "positives": positives.tolist(),
        "true": packed(true, "u4"),
        "false": packed(false, "u4"),
        "best": best.tolist(),
        "shown": shown.tolist(),
        "together": (actual.T @ actual).astype(int).tolist(),
        "predicted": (actual.T @ predicted).astype(int).tolist(),
    }


def pseudo_positives(run: Run) -> dict[str, Any] | None:
    """Pseudo-positives of a run by epoch and class; at most MAX_EPOCHS epochs, with both ends.

    Without full labels only those of the last epoch are counted, and `correct` and `actual` are None.
    """
    counts: dict[tuple[int, str], tuple[int, int, int]] = {}
    try:
        for row in run.table("pseudo_per_class.csv"):
            counts[int(row["epoch"]), row["class"]] = (int(row["assigned"]), int(row["correct"]), int(row["actual"]))
    except (KeyError, ValueError):
        run.say("pseudo_per_class.csv has other columns than expected, or no numbers there")
    epochs = sorted({epoch for epoch, _ in counts})
    if not epochs:
        return _assigned(run)
    epochs = [epochs[i] for i in np.unique(np.linspace(0, len(epochs) - 1, MAX_EPOCHS).round().astype(int))]
    classes = list(dict.fromkeys(name for _, name in counts))
    rows = [[counts.get((epoch, name), (0, 0, 0)) for name in classes] for epoch in epochs]
    return {"epochs": epochs, "classes": classes} | {
        key: [[cell[i] for cell in row] for row in rows] for i, key in enumerate(("assigned", "correct", "actual"))
    }


def _assigned(run: Run) -> dict[str, Any] | None:
    pseudo = pseudo_labels(run)
    if pseudo is None or not (pseudo > 0).any():
        return None
    arrays = {name: array for name, array in run.arrays("samples.npz").items() if name == "classes"} | {"pseudo": pseudo}
    try:
        require(arrays, {"pseudo": "i NC", "classes": "U C"})
    except ValueError:
        return None  # `samples` says it
    last = {"epochs": [0], "classes": arrays["classes"].tolist(), "assigned": [(pseudo > 0).sum(axis=0).tolist()]}
    return last | {"correct": None, "actual": None}


def pseudo_labels(run: Run) -> np.ndarray | None:
    """Pseudo-labels (N,C) of the last epoch; None where there are none, or others than they should be, which `run` then says."""
    arrays = run.arrays("pseudo_labels.npz")
    try:
        require(arrays, {"pseudo": "i NC"} if arrays else {})
    except ValueError as error:
        run.say(f"pseudo_labels.npz: {error}")
        return None
    return arrays.get("pseudo")


def samples(run: Run, arrays: dict[str, np.ndarray], images: Images) -> dict[str, Any] | None:
    """The sample images of a run, given samples.npz, with their labels and scores.

    Pictures go to `images`, where equal ones are kept once.
    """
    try:
        if not arrays or not len(require_samples(arrays)["rows"]):
            return None
        offsets, jpeg = arrays["offsets"].tolist(), arrays["jpeg"].astype(np.uint8).tobytes()
        pictures = [images.add(jpeg[first:last]) for first, last in itertools.pairwise(offsets)]
        targets, views = arrays.get("targets"), arrays.get("views")
        return {
            "pictures": pictures,
            "names": arrays["names"].tolist(),
            "classes": arrays["classes"].tolist(),
            "observed": _indices(arrays["observed"] == 1),
            "positive": _indices(arrays["pseudo"] > 0),
            "negative": [len(found) for found in _indices(arrays["pseudo"] < 0)],
            "targets": None if targets is None else _indices(targets == 1),
            "scores": packed(_steps(arrays["scores"]), "u1"),
            "views": None if views is None else packed(_steps(views), "u1"),
            "tiles": 0 if views is None else views.shape[1] - 1,
        }
    except ValueError as error:
        run.say(f"samples.npz is incomplete: {error}")
        return None


def mistakes(run: Run, arrays: dict[str, np.ndarray], images: Images) -> dict[str, Any] | None:
    """The validation images that samples.npz holds, with what the best epoch says of them rightly, falsely, and not at all."""
    scores = run.arrays("val_scores.npz") if "val_rows" in arrays else {}
    if not scores:
        return None
    try:
        require(scores, {"logits": "f NC", "observed": "biu NC", "targets": "biu NC?"})
        require(arrays, {"classes": "U C", "val_rows": "iu N", "val_names": "U N", "val_jpeg": "u J", "val_offsets": "iu O"})
        rows, offsets = arrays["val_rows"].astype(np.int64), arrays["val_offsets"].astype(np.int64)
        _require_offsets(offsets, len(rows), len(arrays["val_jpeg"]))
        if scores["logits"].shape[1] != len(arrays["classes"]) or ((rows < 0) | (rows >= len(scores["logits"]))).any():
            raise ValueError("val_rows are not those of val_scores.npz")
        probabilities, jpeg = sigmoid(scores["logits"]), arrays["val_jpeg"].astype(np.uint8).tobytes()
        verdict = judge(probabilities, scores["observed"].astype(np.int8), scores.get("targets"))
        return {
            "pictures": [images.add(jpeg[first:last]) for first, last in itertools.pairwise(offsets.tolist())],
            "names": arrays["val_names"].tolist(),
            "classes": arrays["classes"].tolist(),
            "full": "targets" in scores,
            **{kind: _indices(getattr(verdict, kind)[rows]) for kind in ("right", "false", "missed", "unknown")},
            "scores": packed(_steps(probabilities[rows]), "u1"),
        }
    except ValueError as error:
        run.say(f"samples.npz: {error}")
        return None


def require_samples(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays of samples.npz as `write_samples` describes them; ValueError where they are something else."""
    require(arrays, {
        "rows": "iu N", "names": "U N", "classes": "U C", "observed": "biu NC", "pseudo": "biu NC", "targets": "biu NC?",
        "scores": "f NC", "views": "f NVC?", "jpeg": "u J", "offsets": "iu O",
    })  # fmt: skip
    _require_offsets(arrays["offsets"].astype(np.int64), len(arrays["rows"]), len(arrays["jpeg"]))
    return arrays


def _require_offsets(offsets: np.ndarray, count: int, size: int) -> None:
    if len(offsets) != count + 1 or (np.diff(offsets) < 0).any() or offsets[0] < 0 or offsets[-1] > size:
        raise ValueError("offsets are not those of its pictures")


class Images:
    """JPEG files as data URIs, each once, known by number."""

    def __init__(self) -> None:
        self.uris: list[str] = []
        self._known: dict[bytes, int] = {}

    def add(self, jpeg: bytes) -> int:
        """Number of the picture; ValueError for anything but a JPEG file."""
        if not jpeg.startswith(b"\xff\xd8"):
            raise ValueError("a picture is no JPEG file")
        if jpeg not in self._known:
            self._known[jpeg] = len(self.uris)
            self.uris.append(jpeg_uri(jpeg))
        return self._known[jpeg]

    def forget(self, count: int) -> None:
        """Keep only the first `count` pictures."""
        del self.uris[count:]
        self._known = {jpeg: number for jpeg, number in self._known.items() if number < count}


def _indices(mask: np.ndarray) -> list[list[int]]:
    return [np.flatnonzero(row).tolist() for row in mask]


def _steps(scores: np.ndarray) -> np.ndarray:
    return np.round(np.nan_to_num(scores.astype(np.float32)).clip(0, 1) * SCALE).astype(np.uint8)
