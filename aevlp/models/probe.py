"""A linear or small head on features that are computed once and kept: of a vision-language encoder, or of any backbone.

Features are of whole images, float16 in the embedding cache, where the labeler's own are already; those of mirror images take
their place by the coin that flips an image. They are standardised by the mean and spread of the training features, so that
every source of features takes the same learning rate.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import torch
from pydantic import Field, SerializeAsAny, field_validator, model_validator
from torch import Tensor, nn

from aevlp.config import registry
from aevlp.config.registry import register
from aevlp.config.schema import ComponentConfig
from aevlp.models._classifier import BoostConfig
from aevlp.vision_language.encoders import AnyEncoder

EXTRACTOR = "@extractor."
"""How the names of a backbone's weights begin in an export; no attribute of a model can be called so."""


class ProbeConfig(ComponentConfig):
    """Settings of the head, and whose features it is on: `encoder` or `backbone`, else the labeler's own encoder."""

    on_features: ClassVar[bool] = True
    encoder: AnyEncoder | None = None
    """A vision-language model; null takes the labeler's own, whose embeddings it has encoded already."""
    backbone: SerializeAsAny[BoostConfig] | None = None
    """A network of torchvision or timm instead: resnet50, resnet101 or timm:NAME; or a model by name, with its settings."""
    hidden: int | None = Field(None, ge=1, le=65_536)
    """Width of a hidden layer; null is a linear head."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout on what the last layer sees."""

    @field_validator("backbone", mode="before")
    @classmethod
    def _of_this_room(cls, value: Any) -> Any:
        if isinstance(value, str):
            name, _, argument = value.replace("/", ":", 1).partition(":")
            if name in ("resnet50", "resnet101") and not argument:
                value = {"name": "resnet", "depth": int(name.removeprefix("resnet"))}
            elif name == "timm" and argument:
                value = {"name": "timm", "backbone": argument}
            else:
                raise ValueError(f"{value!r} is none of resnet50, resnet101 and timm:NAME")
        return registry.part("backbone", value)

    @model_validator(mode="after")
    def _one_source(self) -> ProbeConfig:
        if self.encoder is not None and self.backbone is not None:
            raise ValueError("takes features of an encoder or of a backbone; set the other one to null")
        # A kind of encoder that never caches has its embeddings at hand.
        if self.encoder is not None and not self.encoder.cache and type(self.encoder).model_fields["cache"].default:
            raise ValueError("learns from features that are kept: labeler.encoder.cache and model.encoder.cache must be on")
        if self.backbone is not None and self.backbone.boost is not None:
            raise ValueError("backbone.boost: BoostLU needs a map of features, and only their mean is kept; set it to null")
        return self

    def with_encoder_of(self, labeler: ComponentConfig) -> ProbeConfig:
        """The same with the labeler's encoder where nothing is named; ValueError where it has none."""
        if self.encoder is not None or self.backbone is not None:
            return self
        encoder = getattr(labeler, "encoder", None)
        if encoder is None:
            raise ValueError(
                f"labeler {labeler.name} has no encoder to take features of; name one as model.encoder.source, or model.backbone"
            )
        return type(self).model_validate(self.model_dump() | {"encoder": encoder.model_dump()})


class Probe(nn.Module):
    """Logits (B,C) of features (B,D). `head` has all that is learnt."""

    mean: Tensor
    scale: Tensor

    def __init__(self, num_features: int, num_classes: int, config: ProbeConfig, extractor: Callable[..., nn.Module]):
        super().__init__()
        layers: list[nn.Module] = []
        if config.hidden is not None:
            layers += [nn.Linear(num_features, config.hidden), nn.ReLU()]
        layers += [nn.Dropout(config.dropout)] if config.dropout else []
        self.head = nn.Sequential(*layers, nn.Linear(config.hidden or num_features, num_classes))
        self.register_buffer("mean", torch.zeros(num_features))
        self.register_buffer("scale", torch.ones(num_features))
        self._extractor = extractor

    def standardize(self, features: Tensor) -> None:
        """Take mean and spread from the features (N,F,D) of the training images and of their mirror images."""
        parts, count = features.flatten(0, 1).split(4096), features.shape[0] * features.shape[1]  # not all at once in float64
        mean = torch.stack([part.double().sum(dim=0) for part in parts]).sum(dim=0) / count
        squares = torch.stack([(part.double() - mean).square().sum(dim=0) for part in parts]).sum(dim=0)
        self.mean.copy_(mean)
        spread = (squares / count).sqrt()
        # A dimension that hardly varies is noise of float16, and stays small; one that does not vary has no scale to learn.
        scale = 1 / spread.clamp(min=1e-3 * float(spread.max()) + 1e-12)
        self.scale.copy_(torch.where(spread > 0, scale, 1.0))

    def forward(self, features: Tensor) -> Tensor:
        """See the class."""
        return self.head((features.float() - self.mean) * self.scale)

    def on_images(self, device: torch.device | str = "cpu") -> OnImages:
        """The same behind what its features come from."""
        return OnImages(self._extractor(torch.device(device)), self)


class OnImages(nn.Module):
    """Logits (B,C) from uint8 images (B,3,image_size,image_size)."""

    def __init__(self, extractor: Any, probe: Probe):
        super().__init__()
        self.extractor, self.probe = extractor, probe
        self.image_size: int = extractor.image_size

    def forward(self, images: Tensor) -> Tensor:
        """See the class."""
        return self.probe(self.extractor(images))

    def in_float32(self) -> None:
        """Compute in float32 from now on, whatever the features of training were computed in."""
        self.extractor.in_float32()

    def load_kept(self, state: dict[str, Tensor]) -> None:
        """Restore what `keep` gave of the extractor."""
        self.extractor.network.load_state_dict({name: state[EXTRACTOR + name] for name in self.extractor.network.state_dict()})

    def keep(self, folder: Path) -> dict[str, Tensor]:
        """What an export holds of it: the state of the head, and of the extractor what is not copied into `folder`."""
        return self.probe.state_dict() | {EXTRACTOR + name: value for name, value in self.extractor.keep(folder).items()}


@register("models", "probe", config=ProbeConfig)
def build_probe(config: ProbeConfig, *, num_classes: int, image_size: int, features: Tensor | None = None) -> Probe:
    """The head alone, fit for `features` (N,F,D); without these, for those that its extractor gives.

    Raises:
        AevlpError: as the encoder or the backbone does.
    """
    from aevlp.models._features import build_extractor

    @cache
    def extractor(device: torch.device) -> Any:
        return build_extractor(config, image_size, device)

    if features is None:
        return Probe(extractor(torch.device("cpu")).num_features, num_classes, config, extractor)
    probe = Probe(features.shape[-1], num_classes, config, extractor)
    probe.standardize(features)
    return probe
