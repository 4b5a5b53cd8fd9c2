"""The temperature that a vision-language model was trained with."""

from __future__ import annotations

import math

from torch import Tensor

from aevlp.config.errors import ConfigError
from aevlp.vision_language.encoder import DualEncoder


def own_temperature(encoder: DualEncoder) -> float:
    """1 / exp(logit scale): 0.01 for CLIP, about 0.009 for SigLIP; of ALIGN, which keeps it as it is, its temperature.

    Raises:
        ConfigError: the model has none.
    """
    scale, temperature = (getattr(encoder.model, name, None) for name in ("logit_scale", "temperature"))
    value = 0.0
    if isinstance(scale, Tensor) and scale.numel() == 1:
        value = math.exp(-float(scale))
    elif isinstance(temperature, Tensor) and temperature.numel() == 1:
        value = float(temperature)
    if not 0 < value < math.inf:
        raise ConfigError(
            f"labeler.temperature: encoder takes the logit scale of the model, and {encoder.config.source} has none; "
            "give a number, or let labeler.calibrate find one"
        )
    return value
