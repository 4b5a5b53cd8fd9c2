"""What MIME and SMILE share: a transformer asks the feature map for each class, whose features give a latent Gaussian.

Map with sine positions -> one encoder layer -> two decoder layers, in which learned class queries attend to the map but not to
each other -> features of each class -> mean and spread of its latent vector. Norms follow each residual, as in DETR.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from pydantic import Field, SerializeAsAny, field_validator
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from aevlp.config import registry
from aevlp.config.errors import ConfigError
from aevlp.config.schema import ComponentConfig
from aevlp.models._classifier import BoostConfig, Classifier, build_backbone
from aevlp.models.resnet import ResNetConfig

_LARGEST_LOG_STD = 6.0


class LabelEncoderConfig(ComponentConfig):
    """Settings of the label encoder. Defaults: those of MIME's released script."""

    backbone: SerializeAsAny[BoostConfig] = ResNetConfig(name="resnet")
    """A model of this room that gives a map of features: resnet, small_cnn or timm, with its settings."""
    freeze: bool = True
    """Keep batch norm, and the stem and first stage of a ResNet, as they are; false for a network trained from the start."""
    heads: int = Field(4, ge=1)
    """Attention heads; must divide the width, which is that of the feature map."""
    latent: int = Field(256, ge=1)
    """Size of the latent vector of a class."""
    dropout: float = Field(0.1, ge=0, lt=1)
    """Dropout in the transformer."""

    @field_validator("backbone", mode="before")
    @classmethod
    def _of_this_room(cls, value: Any) -> Any:
        return registry.part("backbone", value)

    @field_validator("backbone")
    @classmethod
    def _not_boosted(cls, backbone: BoostConfig) -> BoostConfig:
        if backbone.boost is not None:
            raise ValueError("boost has no effect here: the label encoder takes the map as it is")
        return backbone

    def trunk(self, num_classes: int, image_size: int) -> Classifier:
        """The backbone's own model, with its map not pooled; ConfigError where there is no map or `heads` does not divide it."""
        backbone = self.backbone.model_copy(update={"boost": 1.0})
        trunk = build_backbone(backbone, num_classes=num_classes, image_size=image_size)
        if trunk.num_features % self.heads:
            raise ConfigError(f"model.heads: {self.heads} must divide the {trunk.num_features} channels of the feature map")
        return trunk


def sine_positions(height: int, width: int, channels: int) -> Tensor:
    """(H*W, channels): the first half of the channels tells the row, the second the column, by sines of falling frequency."""
    half = channels // 2
    exponent = torch.arange(half) // 2 * 2 / half
    result = torch.zeros(height, width, channels)
    for axis, length in ((0, height), (1, width)):
        angle = (torch.arange(1, length + 1) / length * 2 * math.pi)[:, None] / 10_000**exponent
        wave = torch.where(torch.arange(half) % 2 == 0, angle.sin(), angle.cos())
        result[:, :, axis * half : (axis + 1) * half] = wave[:, None] if axis == 0 else wave[None]
    return result.flatten(0, 1)


class _Layer(nn.Module):
    """Attention and a two-layer network, each with dropout, residual and norm."""

    def __init__(self, width: int, heads: int, dropout: float):
        super().__init__()
        self.attention = nn.MultiheadAttention(width, heads, dropout, batch_first=True)
        self.network = nn.Sequential(nn.Linear(width, 4 * width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(4 * width, width))
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.dropout = nn.Dropout(dropout)

    def forward(self, asking: Tensor, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        found = self.attention(query, key, value, need_weights=False)[0]
        asking = self.norms[0](asking + self.dropout(found))
        return self.norms[1](asking + self.dropout(self.network(asking)))


class PerClass(nn.Module):
    """One linear unit a class on vectors of its own: (B,C) from (B,C,latent)."""

    def __init__(self, num_classes: int, latent: int):
        super().__init__()
        bound = latent**-0.5
        self.weight = nn.Parameter(torch.empty(num_classes, latent).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(num_classes))

    def forward(self, vectors: Tensor) -> Tensor:
        """See the class."""
        return (vectors * self.weight).sum(-1) + self.bias


class LabelEncoder(nn.Module):
    """Features of each class, (B,C,F) float32, from a map (B,F,H,W)."""

    def __init__(self, width: int, num_classes: int, config: LabelEncoderConfig):
        super().__init__()
        self.encoder = _Layer(width, config.heads, config.dropout)
        self.decoder = nn.ModuleList([_Layer(width, config.heads, config.dropout) for _ in range(2)])
        self.queries = nn.Parameter(torch.randn(num_classes, width))
        self.statistics = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 2 * config.latent))

    def forward(self, features: Tensor) -> Tensor:
        """See the class."""
        positions = sine_positions(features.shape[2], features.shape[3], features.shape[1])
        positions = positions.to(features.device, non_blocking=True)  # else a GPU is waited for in every step
        tokens = features.flatten(2).transpose(1, 2)
        placed = tokens + positions
        tokens = self.encoder(tokens, placed, placed, tokens)
        placed, classes = tokens + positions, self.queries.expand(len(tokens), -1, -1)
        for layer in self.decoder:
            classes = layer(classes, classes, placed, tokens)
        return classes.float()

    def gaussian(self, classes: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log of the standard deviation, both (B,C,latent) float32, from features of classes (B,C,F)."""
        mean, spread = self.statistics(classes).float().chunk(2, dim=-1)
        return mean, (spread / 2).clamp(-_LARGEST_LOG_STD, _LARGEST_LOG_STD)


class Trunk(nn.Module):
    """Backbone of a classifier and its normalisation; frozen as the configuration says."""

    mean: Tensor
    std: Tensor

    def __init__(self, trunk: Classifier, config: LabelEncoderConfig):
        super().__init__()
        self.backbone, self.freeze = trunk.backbone, config.freeze
        self.register_buffer("mean", trunk.mean, persistent=False)
        self.register_buffer("std", trunk.std, persistent=False)
        if self.freeze:
            still = self._batch_norms()
            still += list(self.backbone.children())[:5] if isinstance(config.backbone, ResNetConfig) else []
            for module in still:
                module.requires_grad_(False)

    def _batch_norms(self) -> list[nn.Module]:
        return [module for module in self.backbone.modules() if isinstance(module, _BatchNorm)]  # synchronised as well

    def train(self, mode: bool = True) -> Trunk:
        """Training mode, in which frozen batch norm stays in evaluation mode."""
        super().train(mode)
        if self.freeze:
            for module in self._batch_norms():
                module.eval()
        return self

    def features(self, images: Tensor) -> Tensor:
        """Map (B,F,H,W) of uint8 images (B,3,S,S)."""
        return self.backbone((images.float() - self.mean) / self.std)
