"""Opens a trained model: from a run's folder, an exported folder, or the file of a published checkpoint."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from aevlp.config.errors import CheckpointError, ConfigError
from aevlp.config.loading import load_experiment, read_mapping
from aevlp.config.schema import ExperimentConfig
from aevlp.data.npz import read_npz, require
from aevlp.inference.published import open_published
from aevlp.inference.sources import DESCRIPTION, find_trained
from aevlp.inference.trained import Trained
from aevlp.metrics.thresholds import best_thresholds, sigmoid
from aevlp.models._features import ENCODER
from aevlp.models.probe import EXTRACTOR
from aevlp.reading import read_json, read_table
from aevlp.runs.checkpoints import CheckpointStore
from aevlp.runs.folder import RunFolder
from aevlp.runs.plugins import load_kept
from aevlp.training.labels_worth import read_figures
from aevlp.training.precision import read_decision


def open_trained(source: str, overrides: Iterable[str] = (), experiment: str | None = None) -> Trained:
    """Read a trained model by run folder, run id, `latest`, exported folder, or the file of a published checkpoint.

    Args:
        source: what to read.
        overrides: --set words; of a run or an export, only those that concern the data and how they are evaluated.
        experiment: for a published checkpoint, the experiment whose model and dataset are meant.

    Raises:
        ConfigError: there is no such thing, or an override changes what was trained.
        CheckpointError: it is there, but cannot be used.
    """
    overrides = list(overrides)
    path = find_trained(source, overrides, experiment)
    if path.is_file():
        return open_published(path, experiment, overrides)
    load_kept(path)
    return _open_export(path, overrides) if (path / DESCRIPTION).is_file() else _open_run(path, overrides)


def _open_run(folder: Path, overrides: Iterable[str]) -> Trained:
    config = _resolved(folder / "config.yaml", overrides)
    decision = read_decision(folder)
    if config.trainer.precision == "auto" and decision is not None:
        config = _resolved(folder / "config.yaml", [*overrides, f"trainer.precision={decision[0]}"])
    store = CheckpointStore(folder / "checkpoints", lambda _: None)
    best = store.best()
    if best is None:
        raise CheckpointError(f"{folder}: has no complete checkpoint with a validated epoch; --resume {folder} trains on")
    weights = best.weights("ema" if best.has("ema") else "model")
    validation = read_validation(folder, int(best.folder.name.split("-")[1]))
    return Trained(
        str(folder), config, weights, _class_names(folder),
        None if validation is None else best_thresholds(validation[1], sigmoid(validation[0])),
        (read_figures(folder) or {}) | _summary(folder),
        RunFolder(folder).read_fingerprint(), None if validation is None else validation[1],
    )  # fmt: skip


def _open_export(folder: Path, overrides: Iterable[str]) -> Trained:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        about = read_json(folder / DESCRIPTION)
        thresholds = about["thresholds"]
        class_names = _words(about["class_names"])
        if thresholds is not None:
            thresholds = np.array([np.nan if value is None else value for value in thresholds], dtype=np.float64)
            if thresholds.shape != (len(class_names),):
                raise ValueError(f"{thresholds.size} thresholds for {len(class_names)} classes")
        weights = load_file(folder / "model.safetensors")
        summary = dict(about["metrics"]) | {"run_id": about["run_id"], "config_hash": about["config_hash"]}
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise CheckpointError(f"{folder}: not a whole export ({type(error).__name__}: {error}); export the run again") from error
    return Trained(str(folder), _resolved(folder / "config.yaml", [*overrides, *_kept(folder, weights)]), weights, class_names,
                   thresholds, summary, RunFolder(folder).read_fingerprint())  # fmt: skip


def _kept(folder: Path, weights: dict[str, Tensor]) -> list[str]:
    """Where an export holds what features are computed by; see `aevlp.models._features.Extractor.keep`."""
    if any(name.startswith(EXTRACTOR) for name in weights):
        return ["model.backbone.weights=none"]
    return [f"model.encoder.source={json.dumps(str(folder.absolute() / ENCODER))}"] if (folder / ENCODER).is_dir() else []


def _resolved(path: Path, overrides: Iterable[str]) -> ExperimentConfig:
    """The configuration in a folder; its initial weights may have gone since, and are not needed."""
    model = read_mapping(path)[0].get("model")
    if isinstance(model, dict) and "weights" in model:
        with contextlib.suppress(ConfigError):  # a model of others may have a setting of that name which is no word
            return load_experiment(path, [*overrides, "model.weights=none"])
    return load_experiment(path, overrides)


def read_validation(folder: Path, epoch: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Logits and labels (N,C) of an epoch on validation: full labels where they are known; None if not there.

    Scores of a later epoch are there where the disk had no room for its checkpoint.
    """
    path = folder / "val_scores.npz"
    if not os.path.lexists(path):
        return None
    try:
        arrays = read_npz(path)
        labels = "targets" if "targets" in arrays else "observed"
        require(arrays, {"logits": "f NC", labels: "biuf NC"})
        if arrays.get("epoch", np.array(epoch)).tolist() != epoch:
            return None
    except ValueError as error:
        raise CheckpointError(f"{path}: cannot be read ({error}); remove it, and --resume the run") from error
    return arrays["logits"], arrays[labels]


def _class_names(folder: Path) -> list[str] | None:
    try:
        if os.path.lexists(folder / "classes.json"):
            return _words(read_json(folder / "classes.json"))
        if os.path.lexists(folder / "per_class.csv"):  # runs from before classes.json
            return [row["class"] for row in read_table(folder / "per_class.csv")]
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"{folder}: its class names cannot be read: {error}") from error
    return None


def _words(names: Any) -> list[str]:
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise ValueError("class names must be a list of words")
    return names


def _summary(folder: Path) -> dict[str, Any]:
    path = folder / "summary.json"
    try:
        summary = read_json(path) if os.path.lexists(path) else {}
        if not isinstance(summary, dict) or any(isinstance(value, dict | list) for value in summary.values()):
            raise ValueError("must be flat, names to numbers and words")
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read: {error}") from error
    return summary
