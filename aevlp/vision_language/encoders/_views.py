"""What a folder of transformers says of the views that its model was trained on."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class ViewSettings:
    """Side in pixels, and mean and standard deviation of the values between 0 and 1."""

    size: int
    mean: list[float]
    std: list[float]


def view_settings(folder: Path, config: Any) -> ViewSettings:
    """Read from the image processor's file, which transformers 5 may have saved within the processor's, and the model's config.

    Raises:
        ValueError: they are not those of square views of three colours.
        OSError, KeyError, TypeError: they cannot be read.
    """
    path = folder / "preprocessor_config.json"
    settings = json.loads((path if path.is_file() else folder / "processor_config.json").read_text(encoding="utf-8"))
    settings = settings.get("image_processor", settings)
    mean, std = _statistics(settings)
    if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
        raise ValueError(f"image_mean {mean} and image_std {std} must be three numbers each, the latter above 0")
    return ViewSettings(_side(config, settings), mean, std)


def _statistics(settings: dict[str, Any]) -> tuple[list[float], list[float]]:
    """Of values between 0 and 1, which the processor may scale otherwise (ALIGN: from -1 to 1) and leave at that (TIPSv2)."""
    mean, std = [0.0] * 3, [1.0] * 3
    if settings.get("do_normalize", True):
        mean, std = ([float(value) for value in settings[name]] for name in ("image_mean", "image_std"))
    scale = round(255 * float(settings.get("rescale_factor", 1 / 255)), 6)  # 1 to the last bit where it is 1 / 255
    offset = 1.0 if settings.get("rescale_offset") else 0.0
    return [(value + offset) / scale for value in mean], [value / scale for value in std]


def _side(config: Any, settings: dict[str, Any]) -> int:
    tower = getattr(config, "vision_config", None) or config.image_config  # the latter in FLAVA
    if hasattr(tower, "num_patches") and not hasattr(tower, "image_size"):  # SigLIP 2 takes any shape; this is the trained one
        return math.isqrt(tower.num_patches) * int(tower.patch_size)
    size: Any = getattr(tower, "image_size", None)
    if not hasattr(tower, "patch_size"):  # convolutions take any size: that to which the processor crops counts
        size = settings.get("crop_size") or settings.get("size") or size
    sides = set(size.values() if isinstance(size, dict) else size if isinstance(size, list | tuple) else [size])
    if len(sides) != 1:
        raise ValueError(f"its views of {size} are not square")
    return int(sides.pop())
