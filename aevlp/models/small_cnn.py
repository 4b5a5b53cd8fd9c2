"""A plain convolutional network of 0.14 M parameters for drawn scenes: trains in minutes on a laptop."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import field_validator
from torch import nn

from aevlp.config.registry import register
from aevlp.models._classifier import BoostConfig, Classifier, check_weights, load_weight_file

_ASSETS = Path(str(resources.files("aevlp"))) / "assets"
BUNDLED = {
    "bundled": _ASSETS / "small_cnn" / "model.safetensors",
    "bundled_scenes": _ASSETS / "small_cnn_scenes" / "model.safetensors",
}
# (channels, stride); strided convolutions instead of a max-pool stem, which costs 6 mAP on small digits.
# The maximum over positions, not the mean: a digit covers few of the 12x12 positions, and from random weights the mean reaches 85
# validation mAP after 4 epochs with full labels, the maximum 92.
_LAYERS = ((16, 2), (24, 2), (48, 1), (96, 2), (96, 1))


class SmallCNNConfig(BoostConfig):
    """Settings of the small network."""

    weights: str = "none"
    """`bundled` or `bundled_scenes`, pretrained on pictures of one digit or of one thing of `scenes`; `none`; or a state dict."""

    @field_validator("weights")
    @classmethod
    def _exist(cls, weights: str) -> str:
        return check_weights(weights, [*BUNDLED, "none"])


@register("models", "small_cnn", config=SmallCNNConfig)
def build_small_cnn(config: SmallCNNConfig, *, num_classes: int, **_: Any) -> Classifier:
    """Five 3x3 convolutions with batch norm and ReLU, and the maximum over positions; with BoostLU, its mean of class maps.

    A head on the maximum begins at zero. A maximum makes large features: the head as torch draws it begins with mean logits of -6
    to 6 on digits and -8 to 4 on scenes, by class, and a class far below zero gets next to no gradient from losses that forgive
    negatives. Features of ResNet-50 are means, and small. So are BoostLU's here (-.4 to 1.8), whose head stays as drawn: from
    zero all class maps fall below zero at first, where nothing is boosted (LL-R on digits, seed 0: 83 validation mAP).

    Raises:
        ConfigError: a weight file that does not fit.
    """
    model = with_drawn_head(config, num_classes)
    if config.boost is None:
        for parameter in model.head.parameters():
            nn.init.zeros_(parameter)
    return model


def with_drawn_head(config: SmallCNNConfig, num_classes: int) -> Classifier:
    """The network with its head as torch draws it, which pretraining begins from."""
    layers: list[nn.Module] = []
    channels = 3
    for width, stride in _LAYERS:
        layers += [nn.Conv2d(channels, width, 3, stride, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
        channels = width
    if config.boost is None:
        layers += [nn.AdaptiveMaxPool2d(1), nn.Flatten()]
    backbone = nn.Sequential(*layers)
    if config.weights != "none":
        load_weight_file(backbone, BUNDLED.get(config.weights) or Path(config.weights))
    return Classifier(backbone, channels, num_classes, boost=config.boost)
