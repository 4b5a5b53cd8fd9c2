"""A trained model, ready to score images; `aevlp.inference.open` reads one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor, nn

from aevlp.config import registry
from aevlp.config.errors import CheckpointError, DataError
from aevlp.config.schema import ExperimentConfig
from aevlp.data.fingerprint import Fingerprint
from aevlp.models._fit import OTHER_MODEL, misfit
from aevlp.models.probe import EXTRACTOR
from aevlp.system import limit_threads

DEFAULT_THRESHOLD = 0.5  # of a class without a positive in validation


@dataclass(frozen=True)
class Trained:
    """A trained model and all that is known of it."""

    source: str
    """Where it comes from, for messages."""
    config: ExperimentConfig
    """The experiment that it is of."""
    weights: dict[str, Tensor]
    """State dict of the best epoch, the average where there was one."""
    class_names: list[str] | None
    """In the order of the outputs; None where neither a run nor an export tells them."""
    thresholds: np.ndarray | None
    """(C,) probabilities, chosen on validation; NaN for a class without a positive there."""
    summary: dict[str, Any]
    """Metrics and identity of the run, as in its summary.json; empty where they are not known."""
    data: Fingerprint | None = None
    """What the run was trained on, where it tells."""
    validated_on: np.ndarray | None = None
    """Labels (N,C) of the validation photos that thresholds were chosen on, where a run has them."""

    @property
    def holds_extractor(self) -> bool:
        """Whether the weights of a backbone that features are of are among its own."""
        return any(name.startswith(EXTRACTOR) for name in self.weights)

    def names(self) -> list[str]:
        """The class names; CheckpointError where neither the run nor the export tells them."""
        if self.class_names is None:
            raise CheckpointError(
                f"{self.source}: does not tell its class names (classes.json, per_class.csv); write classes.json, a JSON list "
                "of them in the order of the dataset, into the folder"
            )
        return self.class_names


class Scorer:
    """The model on its device, in the precision it was evaluated in during training; float32 where none was decided.

    `image_size` is the side of the images that it takes. With `features` of some images it takes features, not images.
    """

    def __init__(self, trained: Trained, num_classes: int, features: Tensor | None = None):
        settings = trained.config.trainer
        limit_threads(settings.threads)
        AcceleratorState._reset_state(reset_partial_state=True)
        self._accelerator = Accelerator(mixed_precision="no" if settings.precision in ("fp32", "auto") else settings.precision)
        self.device = self._accelerator.device
        self._format = torch.channels_last if settings.channels_last else torch.contiguous_format
        model = build_model(trained, num_classes, self.device, features)
        self.model = model.to(self.device).to(memory_format=self._format)
        self.image_size = getattr(self.model, "image_size", trained.config.dataset.image_size)

    def logits(self, images: Tensor) -> Tensor:
        """Logits (B,C) float32, on the CPU, of uint8 images (B,3,S,S), or of features."""
        memory_format = self._format if images.ndim == 4 else torch.contiguous_format
        images = images.to(self.device, non_blocking=True, memory_format=memory_format)
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


def build_model(
    trained: Trained, num_classes: int, device: torch.device | str = "cpu", features: Tensor | None = None
) -> nn.Module:
    """The network with its trained weights, in evaluation mode.

    A model on features comes with what they are computed by, on `device`; with some of its `features` at hand it comes alone.

    Raises:
        CheckpointError: another number of classes, or weights that do not fit the architecture.
    """
    head = trained.weights.get("head.weight")
    if head is not None and head.shape[0] != num_classes:
        raise CheckpointError(f"{trained.source}: a checkpoint of {head.shape[0]} classes, but the dataset has {num_classes}")
    config = trained.config
    of_features = {} if features is None else {"features": features}
    model = registry.build("models", config.model, num_classes=num_classes, image_size=config.dataset.image_size, **of_features)
    weights = {name: tensor for name, tensor in trained.weights.items() if not name.startswith(EXTRACTOR)}
    wrong = misfit(model.state_dict(), weights)
    if wrong is not None:
        advice = (
            "a published checkpoint takes its architecture from --exp and --set model=..."
            if os.path.isfile(trained.source)
            else OTHER_MODEL
        )
        raise CheckpointError(f"{trained.source}: its weights do not fit model {config.model.name}: {wrong}; {advice}")
    model.load_state_dict(weights)
    if features is None and hasattr(model, "on_images"):
        model = model.on_images(device)
        if trained.holds_extractor:
            model.load_kept(trained.weights)
    return model.eval()


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
