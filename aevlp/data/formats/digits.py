"""The embedded dataset: digit scenes, drawn in seconds from real handwriting. See `aevlp.data.digits`."""

from __future__ import annotations

from pydantic import Field

from aevlp.config.registry import register
from aevlp.config.schema import DatasetConfig
from aevlp.data.dataset import Split, SPMLData, make_split
from aevlp.data.digits import CLASS_NAMES, draw_scenes
from aevlp.data.images import ArrayImages


class DigitsConfig(DatasetConfig):
    """Settings of the digit scenes."""

    drawn = True
    image_size: int = Field(96, ge=8, le=2048)
    """Side in pixels to which images are squashed for the classifier; scenes are 96 pixels wide."""
    flip: bool = False
    """Off: a mirrored digit is no longer that digit."""
    num_train: int = Field(3000, ge=1, le=1_000_000)
    """Training scenes."""
    num_val: int = Field(600, ge=1, le=1_000_000)
    """Validation scenes."""
    num_test: int = Field(1000, ge=1, le=1_000_000)
    """Test scenes."""


@register("datasets", "digits", config=DigitsConfig)
def build_digits(config: DigitsConfig) -> SPMLData:
    """Draw the scenes; the same ones whatever the seed of the run."""

    def split(name: str, count: int, train_labels: str = "single") -> Split:
        scenes = draw_scenes(name, count)
        images = ArrayImages(scenes.images)
        return make_split(images, scenes.targets, train_labels, class_names=CLASS_NAMES, known=config.known, draw=config.draw)

    return SPMLData(
        class_names=list(CLASS_NAMES),
        prompt_names=list(CLASS_NAMES),
        train=split("train", config.num_train, config.train_labels),
        val=split("val", config.num_val),
        test=split("test", config.num_test),
    )
