"""The embedded dataset: digit scenes, drawn in seconds from real handwriting. See `aevlp.data.digits`."""

from __future__ import annotations

from aevlp.config.registry import register
from aevlp.data.dataset import SPMLData
from aevlp.data.digits import CLASS_NAMES, draw_scenes
from aevlp.data.formats._drawn import DrawnConfig, drawn_data


class DigitsConfig(DrawnConfig):
    """Settings of the digit scenes."""

    flip: bool = False
    """Off: a mirrored digit is no longer that digit."""


@register("datasets", "digits", config=DigitsConfig)
def build_digits(config: DigitsConfig) -> SPMLData:
    """Draw the scenes; the same ones whatever the seed of the run."""
    return drawn_data(config, CLASS_NAMES, draw_scenes)
