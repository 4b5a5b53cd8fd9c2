"""The second embedded dataset: scenes of everyday things, drawn in seconds from icons. See `aevlp.data.scenes`."""

from __future__ import annotations

from aevlp.config.registry import register
from aevlp.data.dataset import SPMLData
from aevlp.data.formats._drawn import DrawnConfig, drawn_data
from aevlp.data.scenes import CLASS_NAMES, draw_scenes


class ScenesConfig(DrawnConfig):
    """Settings of the scenes of everyday things."""

    flip: bool = False
    """Off: things are mirrored as they are drawn, and a labeler would look at each scene twice."""


@register("datasets", "scenes", config=ScenesConfig)
def build_scenes(config: ScenesConfig) -> SPMLData:
    """Draw the scenes; the same ones whatever the seed of the run."""
    return drawn_data(config, CLASS_NAMES, draw_scenes)
