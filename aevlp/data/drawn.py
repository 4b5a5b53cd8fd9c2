"""What drawn data sets share: scenes of 96 pixels, divided into three parts, each scene from its own number."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

SPLITS = ("train", "val", "test")
SCENE_SIDE = 96


@dataclass(frozen=True)
class Scenes:
    """`images` (N,96,96,3) uint8, `targets` (N,C) uint8 in {0,1}, `boxes` one (objects,4) array of class, x, y, side."""

    images: np.ndarray
    targets: np.ndarray
    boxes: list[np.ndarray]


@dataclass(frozen=True)
class Drawings:
    """A data set's own way to draw: what its weights are trained on."""

    class_names: Sequence[str]
    noun: str
    """What one of its objects is called in prompts."""
    draw_scenes: Callable[[str, int, int], Scenes]
    """Scenes of (split, count, seed)."""
    draw_crops: Callable[[str, int, int, int], tuple[np.ndarray, np.ndarray]]
    """Pictures (count,side,side,3) uint8 of one object each, and its class (count,), of (split, count, side, seed)."""


def place(rng: np.random.Generator, side: int, taken: Iterable[tuple[int, int, int]], most: float) -> tuple[int, int] | None:
    """A corner for a box of `side` that overlaps any of `taken` by at most `most` of the smaller; None after 20 tries."""
    for _ in range(20):
        x, y = (int(v) for v in rng.integers(0, SCENE_SIDE - side + 1, size=2))
        overlaps = (
            max(0, min(x + side, u + other) - max(x, u)) * max(0, min(y + side, v + other) - max(y, v)) / min(side, other) ** 2
            for u, v, other in taken
        )
        if all(overlap <= most for overlap in overlaps):
            return x, y
    return None


def scenes_of(
    draw: Callable[[np.random.Generator], tuple[np.ndarray, np.ndarray]], split: str, count: int, seed: int, num_classes: int
) -> Scenes:
    """`count` scenes as `draw` makes them, image and boxes; scene i depends on (seed, split, i) alone."""
    images = np.empty((count, SCENE_SIDE, SCENE_SIDE, 3), dtype=np.uint8)
    targets = np.zeros((count, num_classes), dtype=np.uint8)
    boxes = []
    for i in range(count):
        images[i], scene_boxes = draw(np.random.default_rng([seed, SPLITS.index(split), i]))
        targets[i, scene_boxes[:, 0]] = 1
        boxes.append(scene_boxes)
    return Scenes(images, targets, boxes)
