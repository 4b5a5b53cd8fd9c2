"""SMILE's classifier and label enhancement (Xu et al., NeurIPS 2022), for images.

A linear head on the pooled map classifies, in evaluation alone. In training a label encoder beside it gives each class a latent
Gaussian; a latent sample gives the two concentrations of a Beta distribution, and a sample of that is the class's soft label.

adapted: the public code of SMILE covers tables only, and its image loss came without a model. Filled in are the label encoder
(MIME's, by the same group), the head on the pooled map, and softplus concentrations of at least .1, which keep samples finite.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Beta
from torch.nn.functional import softplus

from aevlp.config.registry import register
from aevlp.models._classifier import Classifier
from aevlp.models._label_encoder import LabelEncoder, LabelEncoderConfig, PerClass, Trunk

_SMALLEST_CONCENTRATION = 0.1


class SMILEConfig(LabelEncoderConfig):
    """Settings of SMILE's classifier."""

    gives_outputs: ClassVar[tuple[str, ...]] = ("latent_mean", "latent_log_std", "label_for", "label_against", "label")


class SMILE(Trunk):
    """Logits (B,C) from uint8 images; in training also the outputs below.

    `latent_mean`, `latent_log_std` (B,C,latent); `label_for`, `label_against` (B,C) concentrations of the Beta distribution of
    the soft labels; `label` (B,C) in [0,1] a sample of it, which carries gradient.
    """

    def __init__(self, trunk: Classifier, num_classes: int, config: SMILEConfig):
        super().__init__(trunk, config)
        self.head = nn.ModuleDict({
            "classifier": nn.Linear(trunk.num_features, num_classes),
            "encoder": LabelEncoder(trunk.num_features, num_classes, config),
            "label_for": PerClass(num_classes, config.latent), "label_against": PerClass(num_classes, config.latent),
        })  # fmt: skip

    def forward(self, images: Tensor) -> Any:
        """Logits, in training with the further outputs."""
        features = self.features(images)
        logits = self.head["classifier"](features.mean(dim=(2, 3)))
        if not self.training:
            return logits
        mean, log_std = self.head["encoder"](features)
        latent = mean + log_std.exp() * torch.randn_like(mean)
        label_for, label_against = (
            softplus(self.head[name](latent)) + _SMALLEST_CONCENTRATION for name in ("label_for", "label_against")
        )
        label = Beta(label_for, label_against, validate_args=False).rsample()
        return logits, dict(zip(SMILEConfig.gives_outputs, (mean, log_std, label_for, label_against, label), strict=True))


@register("models", "smile", config=SMILEConfig)
def build_smile(config: SMILEConfig, *, num_classes: int, image_size: int, **_: Any) -> SMILE:
    """SMILE's classifier on a backbone.

    Raises:
        ConfigError: the backbone gives no map of features, or as the backbone's own model raises.
    """
    return SMILE(config.trunk(num_classes, image_size), num_classes, config)
