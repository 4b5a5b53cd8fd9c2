"""SMILE's classifier and label enhancement (Xu et al., NeurIPS 2022), for images.

A label encoder gives features of each class, and a linear unit on them its logit. In training two more units give the
concentrations of a Beta distribution, of which a sample is the class's soft label, and the features a latent Gaussian.

adapted: the public code of SMILE covers tables only; this is the network for images that MIME's authors, the same group, left
unused in their code. Concentrations are at least .1, which keeps samples finite (theirs: 1e-6); the spread of the Gaussian, which
nothing but its prior sees, is MIME's.
"""

from __future__ import annotations

from typing import Any, ClassVar

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
        units = ("classifier", "label_for", "label_against")
        self.head = nn.ModuleDict({
            "encoder": LabelEncoder(trunk.num_features, num_classes, config),
            **{name: PerClass(num_classes, trunk.num_features) for name in units},
        })  # fmt: skip

    def forward(self, images: Tensor) -> Any:
        """Logits, in training with the further outputs."""
        encoder: Any = self.head["encoder"]
        classes = encoder(self.features(images))
        logits = self.head["classifier"](classes)
        if not self.training:
            return logits
        label_for, label_against = (
            softplus(self.head[name](classes)) + _SMALLEST_CONCENTRATION for name in ("label_for", "label_against")
        )
        label = Beta(label_for, label_against, validate_args=False).rsample()
        outputs = (*encoder.gaussian(classes), label_for, label_against, label)
        return logits, dict(zip(SMILEConfig.gives_outputs, outputs, strict=True))


@register("models", "smile", config=SMILEConfig)
def build_smile(config: SMILEConfig, *, num_classes: int, image_size: int, **_: Any) -> SMILE:
    """SMILE's classifier on a backbone.

    Raises:
        ConfigError: the backbone gives no map of features, or as the backbone's own model raises.
    """
    return SMILE(config.trunk(num_classes, image_size), num_classes, config)
