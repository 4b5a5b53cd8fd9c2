"""What the embedded datasets share: how many scenes there are, and how they become data."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pydantic import Field

from aevlp.config.schema import DatasetConfig
from aevlp.data.dataset import Split, SPMLData, make_split
from aevlp.data.drawn import Scenes
from aevlp.data.images import ArrayImages


class DrawnConfig(DatasetConfig):
    """Settings of drawn scenes."""

    drawn = True
    image_size: int = Field(96, ge=8, le=2048)
    """Side in pixels to which images are squashed for the classifier; scenes are 96 pixels wide."""
    num_train: int = Field(3000, ge=1, le=1_000_000)
    """Training scenes."""
    num_val: int = Field(600, ge=1, le=1_000_000)
    """Validation scenes."""
    num_test: int = Field(1000, ge=1, le=1_000_000)
    """Test scenes."""


def drawn_data(config: DrawnConfig, class_names: Sequence[str], draw_scenes: Callable[[str, int], Scenes]) -> SPMLData:
    """The data of `draw_scenes`, given split and count."""

    def split(name: str, count: int, train_labels: str = "single") -> Split:
        scenes = draw_scenes(name, count)
        images = ArrayImages(scenes.images)
        return make_split(images, scenes.targets, train_labels, class_names=class_names, known=config.known, draw=config.draw)

    return SPMLData(
        class_names=list(class_names),
        prompt_names=list(class_names),
        train=split("train", config.num_train, config.train_labels),
        val=split("val", config.num_val),
        test=split("test", config.num_test),
    )
