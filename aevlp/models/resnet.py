"""ResNet-50 and ResNet-101 from torchvision, as the whole single-positive literature uses them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import field_validator
from torch import nn

from aevlp.config.errors import UnavailableError
from aevlp.config.registry import register
from aevlp.models._classifier import BoostConfig, Classifier, check_weights, load_weight_file
from aevlp.network import require_reachable


class ResNetConfig(BoostConfig):
    """Settings of the ResNet."""

    depth: Literal[50, 101] = 50
    """Layers."""
    weights: str = "V1"
    """ImageNet weights of torchvision, `V1` (as the published results) or `V2`; `none`; or a file with a state dict."""

    @field_validator("weights")
    @classmethod
    def _exist(cls, weights: str) -> str:
        return check_weights(weights, ["V1", "V2", "none"])


@register("models", "resnet", config=ResNetConfig)
def build_resnet(config: ResNetConfig, *, num_classes: int, **_: Any) -> Classifier:
    """ResNet without its pooling and ImageNet head.

    Raises:
        ConfigError: the weights are neither a known name nor a file that fits.
        UnavailableError: torchvision's weights are neither cached nor reachable.
    """
    from torchvision import models  # 6 s to import

    network = getattr(models, f"resnet{config.depth}")(weights=None)
    if config.weights in ("V1", "V2"):
        weights = getattr(models, f"ResNet{config.depth}_Weights")[f"IMAGENET1K_{config.weights}"]
        network.load_state_dict(_torchvision_state(weights))
    elif config.weights != "none":
        network.fc = nn.Identity()
        load_weight_file(network, Path(config.weights), ignore=["fc."])
    return Classifier(nn.Sequential(*list(network.children())[:-2]), 2048, num_classes, boost=config.boost)


def _torchvision_state(weights: Any) -> dict[str, Any]:
    import torch

    cached = Path(torch.hub.get_dir()) / "checkpoints" / weights.url.rpartition("/")[2]
    what = f"{weights} of torchvision"
    instead = f"set model.weights to a file, or to none, or place the file at {cached}"
    if not cached.is_file():
        require_reachable(weights.url, what, instead)
    try:
        return weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except Exception as error:  # a broken download and a damaged file in the cache raise a dozen types
        raise UnavailableError(f"{what} could not be loaded ({type(error).__name__}); {instead}") from error
