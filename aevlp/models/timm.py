"""Any backbone of timm: `--set model=timm/NAME`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, field_validator

from aevlp.config.errors import ConfigError, UnavailableError, suggest
from aevlp.config.registry import register
from aevlp.models._classifier import BoostConfig, Classifier, check_map, check_weights, load_weight_file
from aevlp.network import require_reachable

_INSTEAD = "set model.weights to a file, or to none"


class TimmConfig(BoostConfig):
    """Settings of a timm backbone."""

    backbone: str = Field(min_length=1)
    """Name of the model in timm."""
    weights: str = "pretrained"
    """`pretrained`, `none`, or a file with a state dict."""

    @field_validator("weights")
    @classmethod
    def _exist(cls, weights: str) -> str:
        return check_weights(weights, ["pretrained", "none"])


@register("models", "timm", config=TimmConfig)
def build_timm(config: TimmConfig, *, num_classes: int, image_size: int, **_: Any) -> Classifier:
    """The backbone with timm's own pooling (none with BoostLU), normalisation and no head.

    Raises:
        ConfigError: unknown name, a weight file that does not fit, or BoostLU on a backbone without a map of features.
        UnavailableError: pretrained weights are neither cached nor reachable.
    """
    import timm  # imports torchvision: 7 s

    architecture = config.backbone.partition(".")[0]
    known = timm.is_model(architecture)
    try:
        pretrained = timm.get_pretrained_cfg(config.backbone)
    except RuntimeError:  # the architecture exists, but not with this tag
        known, pretrained = False, None
    if not known:
        names = timm.list_models(f"{architecture}.*", pretrained=True) or timm.list_models()
        raise ConfigError(f"model.backbone: timm has no model {config.backbone!r}{suggest(config.backbone, names)}")
    if config.weights == "pretrained":
        _require_weights(config.backbone, pretrained)
    # Vision transformers must be told the image size; convolutional networks do not know the word.
    size = {"img_size": image_size} if pretrained is not None and pretrained.fixed_input_size else {}
    pool = {} if config.boost is None else {"global_pool": ""}
    try:
        backbone = timm.create_model(config.backbone, pretrained=config.weights == "pretrained", num_classes=0, **size, **pool)
    except OSError as error:
        raise UnavailableError(f"pretrained timm/{config.backbone} could not be loaded ({error}); {_INSTEAD}") from error
    except (AssertionError, TypeError) as error:
        if config.boost is None:
            raise
        raise ConfigError(
            f"model.boost: BoostLU needs a map of features, but timm/{config.backbone} gives none ({error}); set model.boost=null"
        ) from error
    if config.weights not in ("pretrained", "none"):
        heads = backbone.pretrained_cfg.get("classifier") or ()
        ignore = [f"{head}." for head in ([heads] if isinstance(heads, str) else heads)]
        load_weight_file(backbone, Path(config.weights), ignore=ignore)
    num_features = backbone.head_hidden_size
    if config.boost is not None:
        check_map(backbone, num_features, image_size, f"timm/{config.backbone}")
    data = timm.data.resolve_data_config({}, model=backbone)
    return Classifier(backbone, num_features, num_classes, data["mean"], data["std"], config.boost)


def _require_weights(name: str, pretrained: Any) -> None:
    from huggingface_hub import constants, try_to_load_from_cache

    if pretrained is None or not pretrained.has_weights:
        raise ConfigError(f"model.weights: timm has no pretrained weights for {name}; {_INSTEAD}")
    files = ("model.safetensors", "pytorch_model.bin")
    cached = pretrained.hf_hub_id and any(isinstance(try_to_load_from_cache(pretrained.hf_hub_id, file), str) for file in files)
    if not cached:
        require_reachable(pretrained.url or constants.ENDPOINT, f"pretrained timm/{name}", _INSTEAD)
