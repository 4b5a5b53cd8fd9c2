"""A trained model, ready to score images: from a run's folder, an exported folder, or a published checkpoint file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor, nn

from aevlp.config import registry
from aevlp.config.errors import CheckpointError, DataError
from aevlp.config.loading import load_experiment, read_mapping
from aevlp.config.schema import ExperimentConfig
from aevlp.data.fingerprint import Fingerprint
from aevlp.data.npz import read_npz, require
from aevlp.metrics.thresholds import best_thresholds, sigmoid
from aevlp.reading import read_json, read_table
from aevlp.runs.checkpoints import CheckpointStore
from aevlp.runs.folder import RunFolder
from aevlp.system import limit_threads
from aevlp.training.precision import read_decision
from aevlp.inference.sources import DESCRIPTION, find_trained


@dataclass(frozen=True)
class Trained:
    """Where a trained model comes from, and all that is known of it. `class_names` in the order of the outputs."""

    source: str
    config: ExperimentConfig
    weights: dict[str, Tensor]
    class_names: list[str] | None
    thresholds: np.ndarray | None
    """(C,) probabilities, chosen on validation; NaN for a class without a positive there."""
    summary: dict[str, Any]
    """Metrics and identity of the run, as in its summary.json; empty where they are not known."""
    data: Fingerprint | None = None
    """What the run was trained on, where it tells."""

    def names(self) -> list[str]:
        """The class names; CheckpointError where neither the run nor the export tells them."""
        if self.class_names is None:
            raise CheckpointError(
                f"{self.source}: does not tell its class names (classes.json, per_class.csv); write classes.json, a JSON list "
                "of them in the order of the dataset, into the folder"
            )
        return self.class_names


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
    path = find_trained(source, overrides, experiment)
    if path.is_file():
        from aevlp.inference.published import open_published

        return open_published(path, experiment, overrides)
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
    validation = read_validation(folder)
    return Trained(
        str(folder), config, weights, _class_names(folder),
        None if validation is None else best_thresholds(validation[1], sigmoid(validation[0])), _summary(folder),
        RunFolder(folder).read_fingerprint(),
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
    return Trained(str(folder), _resolved(folder / "config.yaml", overrides), weights, class_names, thresholds, summary)


def _resolved(path: Path, overrides: Iterable[str]) -> ExperimentConfig:
    """The configuration in a folder; its initial weights may have gone since, and are not needed."""
    model = read_mapping(path)[0].get("model")
    without = ["model.weights=none"] if isinstance(model, dict) and "weights" in model else []
    return load_experiment(path, [*overrides, *without])


def read_validation(folder: Path) -> tuple[np.ndarray, np.ndarray] | None:
    """Logits and labels (N,C) of the run's best epoch on validation: full labels where they are known; None if not there."""
    path = folder / "val_scores.npz"
    if not os.path.lexists(path):
        return None
    try:
        arrays = read_npz(path)
        labels = "targets" if "targets" in arrays else "observed"
        require(arrays, {"logits": "f NC", labels: "biuf NC"})
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


class Scorer:
    """The model on its device, in the precision it was evaluated in during training; float32 where none was decided."""

    def __init__(self, trained: Trained, num_classes: int):
        settings = trained.config.trainer
        limit_threads(settings.threads)
        AcceleratorState._reset_state(reset_partial_state=True)
        self._accelerator = Accelerator(mixed_precision="no" if settings.precision in ("fp32", "auto") else settings.precision)
        self.device = self._accelerator.device
        self._format = torch.channels_last if settings.channels_last else torch.contiguous_format
        self.model = build_model(trained, num_classes).to(self.device).to(memory_format=self._format)

    def logits(self, images: Tensor) -> Tensor:
        """Logits (B,C) float32, on the CPU, of uint8 images (B,3,S,S)."""
        images = images.to(self.device, non_blocking=True, memory_format=self._format)
        with torch.inference_mode(), self._accelerator.autocast():
            logits = self.model(images).float().cpu()
        if not logits.isfinite().all():
            raise DataError("the model's outputs are not finite: its weights are damaged, or trainer.precision is too coarse")
        return logits

    def all_logits(self, batches: Iterator[Tensor], progress: Callable[[int], None]) -> np.ndarray:
        """Logits (N,C) float32 of all batches; `progress` is called with the number of images done, and may raise."""
        chunks: list[Tensor] = []
        done = 0
        for images in batches:
            chunks.append(self.logits(images))
            done += len(images)
            progress(done)
        return torch.cat(chunks).numpy()


def build_model(trained: Trained, num_classes: int) -> nn.Module:
    """The network with its trained weights, in evaluation mode.

    Raises:
        CheckpointError: another number of classes, or weights that do not fit the architecture.
    """
    head = trained.weights.get("head.weight")
    if head is not None and head.shape[0] != num_classes:
        raise CheckpointError(f"{trained.source}: a checkpoint of {head.shape[0]} classes, but the dataset has {num_classes}")
    config = trained.config
    model = registry.build("models", config.model, num_classes=num_classes, image_size=config.dataset.image_size)
    expected = model.state_dict()
    missing, extra = [name for name in expected if name not in trained.weights], set(trained.weights) - set(expected)
    wrong = [name for name in expected if name in trained.weights and expected[name].shape != trained.weights[name].shape]
    if missing or extra or wrong:
        found = (("missing", missing), ("unexpected", sorted(extra)), ("of another shape", wrong))
        parts = [f"{len(names)} {what} ({_some(names)})" for what, names in found if names]
        raise CheckpointError(
            f"{trained.source}: its weights do not fit model {config.model.name}: {'; '.join(parts)}; "
            "a published checkpoint takes its architecture from --exp and --set model=..."
        )
    model.load_state_dict(trained.weights)
    return model.eval()


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def with_data_names(trained: Trained, class_names: list[str]) -> Trained:
    """The same, with the names of the dataset; CheckpointError where the model was trained on other classes."""
    if trained.class_names is not None and trained.class_names != class_names:
        if len(trained.class_names) != len(class_names):
            raise CheckpointError(
                f"{trained.source}: a model of {len(trained.class_names)} classes, but the dataset has {len(class_names)}"
            )
        j = next(j for j, name in enumerate(class_names) if name != trained.class_names[j])
        raise CheckpointError(
            f"{trained.source}: class {j} is {trained.class_names[j]!r}, but {class_names[j]!r} in the dataset (dataset.classes)"
        )
    return replace(trained, class_names=class_names)
