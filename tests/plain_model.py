"""A model without batch norm, as a plugin: what it computes for an image does not depend on the rest of the batch."""

from __future__ import annotations

from typing import Any

from torch import nn

from aevlp.config.registry import register
from aevlp.config.schema import ComponentConfig
from aevlp.models._classifier import Classifier


class PlainCNNConfig(ComponentConfig):
    """No settings."""


@register("models", "plain_cnn", config=PlainCNNConfig)
def build_plain_cnn(config: PlainCNNConfig, *, num_classes: int, **_: Any) -> Classifier:
    layers = [nn.Conv2d(3, 16, 5, stride=4), nn.GroupNorm(4, 16), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2), nn.ReLU()]
    return Classifier(nn.Sequential(*layers), 32, num_classes)
