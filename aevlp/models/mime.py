"""MIME's classifier (Liu et al., ICML 2023): a label encoder whose latent Gaussian of each class gives the logit.

In training the logit is a linear unit on the mean of `samples` latent samples.

adapted: evaluation takes the latent mean, where the released script draws samples again, so that its predictions differ from call
to call; and the public record does not settle where the norms of the transformer stand.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from aevlp.config.registry import register
from aevlp.models._classifier import Classifier
from aevlp.models._label_encoder import LabelEncoder, LabelEncoderConfig, PerClass, Trunk


class MIMEConfig(LabelEncoderConfig):
    """Settings of MIME's classifier. Defaults: those of the released script."""

    gives_outputs: ClassVar[tuple[str, ...]] = ("latent_mean", "latent_log_std")
    samples: int = Field(10, ge=1)
    """Latent samples that are averaged in training."""


class MIME(Trunk):
    """Logits (B,C) from uint8 images; in training also the outputs `latent_mean` and `latent_log_std`, both (B,C,latent)."""

    def __init__(self, trunk: Classifier, num_classes: int, config: MIMEConfig):
        super().__init__(trunk, config)
        self.samples = config.samples
        self.head = nn.ModuleDict({
            "encoder": LabelEncoder(trunk.num_features, num_classes, config), "classifier": PerClass(num_classes, config.latent),
        })  # fmt: skip

    def forward(self, images: Tensor) -> Any:
        """Logits, in training with the further outputs."""
        encoder: Any = self.head["encoder"]
        mean, log_std = encoder.gaussian(encoder(self.features(images)))
        if not self.training:
            return self.head["classifier"](mean)
        # The mean of n samples has 1/n of the variance of one.
        latent = mean + log_std.exp() * torch.randn_like(mean) / self.samples**0.5
        return self.head["classifier"](latent), {"latent_mean": mean, "latent_log_std": log_std}


@register("models", "mime", config=MIMEConfig)
def build_mime(config: MIMEConfig, *, num_classes: int, image_size: int, **_: Any) -> MIME:
    """MIME's classifier on a backbone.

    Raises:
        ConfigError: the backbone gives no map of features, or as the backbone's own model raises.
    """
    return MIME(config.trunk(num_classes, image_size), num_classes, config)
