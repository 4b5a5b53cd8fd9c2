"""Backbone, global average pool, linear head; takes uint8 images and normalises them itself.

With BoostLU (Kim et al., CVPR 2023) the head is a 1x1 convolution in front of the pool, whose class maps have their positive
values multiplied by `boost`, in training and inference alike. A boost of 1 is the linear head again.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from aevlp.config import registry
from aevlp.config.errors import ConfigError, UnavailableError
from aevlp.config.schema import ComponentConfig
from aevlp.data.images import IMAGENET_MEAN, IMAGENET_STD
from aevlp.folders import user_path
from aevlp.models._fit import misfit
from aevlp.tensor_file import load_tensors


class Classifier(nn.Module):
    """Logits (B,C) from uint8 images (B,3,S,S). `backbone` and `head` get learning rates of their own.

    Without BoostLU it takes features (B,F) of images as well: what the head sees of them.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, backbone: nn.Module, num_features: int, num_classes: int,
        mean: Sequence[float] = IMAGENET_MEAN, std: Sequence[float] = IMAGENET_STD, boost: float | None = None,
    ):  # fmt: skip
        super().__init__()
        self.backbone, self.num_features, self.boost = backbone, num_features, boost
        self.head = nn.Linear(num_features, num_classes) if boost is None else nn.Conv2d(num_features, num_classes, 1)
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1) * 255, persistent=False)

    def features(self, images: Tensor) -> Tensor:
        """What a linear head sees (B,F); the backbone returns a map (B,F,H,W), which is averaged, or features."""
        features = self.backbone((images.float() - self.mean) / self.std)
        return features.mean(dim=(2, 3)) if features.ndim == 4 else features

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        if self.boost is None:
            return self.head(self.features(images) if images.ndim == 4 else images.float())
        features = self.backbone((images.float() - self.mean) / self.std)
        _require_map(features.shape, self.num_features, "the model")
        maps = self.head(features).float()
        return torch.where(maps > 0, self.boost * maps, maps).mean(dim=(2, 3))


class BoostConfig(ComponentConfig):
    """Of models whose backbone gives a map of features."""

    boost: float | None = Field(None, ge=1)
    """Factor of BoostLU on the positive values of the class maps (5 as published); null is a linear head on the pooled map."""


def check_map(backbone: nn.Module, num_features: int, image_size: int, name: str) -> None:
    """ConfigError unless the backbone gives a map (B,F,H,W), which BoostLU needs."""
    training = backbone.training
    with torch.inference_mode():
        shape = backbone.eval()(torch.zeros(1, 3, image_size, image_size)).shape
    backbone.train(training)
    _require_map(shape, num_features, name)


def _require_map(shape: Sequence[int], num_features: int, name: str) -> None:
    if len(shape) != 4 or shape[1] != num_features:
        given = ", ".join(["B", *map(str, shape[1:])])
        raise ConfigError(
            f"model.boost: BoostLU needs a map of features (B,{num_features},H,W), but {name} gives ({given}); "
            "set model.boost=null, or take a convolutional network such as timm/resnet18"
        )


def build_backbone(settings: BoostConfig, *, num_classes: int, image_size: int) -> Classifier:
    """A model that is a part of another: its errors name its settings as those of `model.backbone`."""
    try:
        model: Classifier = registry.build("models", settings, num_classes=num_classes, image_size=image_size)
    except (ConfigError, UnavailableError) as error:  # which knows its settings as those of the whole model
        raise type(error)(re.sub(r"(?<!\S)model\.(?=(weights|backbone)\b)", "model.backbone.", str(error))) from error
    return model


def check_weights(weights: str, names: Sequence[str]) -> str:
    """`weights` if it is one of `names`, or the whole path if it is a file; ValueError otherwise."""
    if weights in names:
        return weights
    path = user_path(weights).absolute()
    if not path.is_file():
        raise ValueError(f"{weights!r} is neither {', '.join(names)} nor a file")
    return str(path)


def load_weight_file(module: nn.Module, path: Path, ignore: Sequence[str] = ()) -> None:
    """Load a .safetensors or .pt/.pth state dict; keys beginning with one of `ignore` are left out.

    Raises:
        ConfigError: unreadable, not a plain state dict, or of another architecture.
    """
    try:
        state: Any
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state = load_file(path)
        else:
            state = load_tensors(path)
    except Exception as error:  # torch and safetensors raise a dozen types; all mean that the file cannot be used
        # Not the words of torch, which recommend to load the file with the check for pickled code switched off.
        raise ConfigError(f"model.weights: {path} cannot be read as weights ({type(error).__name__})") from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ConfigError(f"model.weights: {path} must hold a plain state dict, names to tensors")
    state = {key: value for key, value in state.items() if not key.startswith(tuple(ignore))}
    wrong = misfit(module.state_dict(), state)
    if wrong is not None:
        raise ConfigError(f"model.weights: {path} does not fit the model: {wrong}")
    module.load_state_dict(state)
