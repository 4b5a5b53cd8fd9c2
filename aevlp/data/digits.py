"""Digit scenes: real handwriting pasted into cluttered colour images, with exact labels.

The handwriting is scikit-learn's `load_digits` (1,797 images of 8x8, values 0..16), so nothing is downloaded.
Handwriting samples are divided among train, validation and test before any scene is drawn: no stroke that a
model saw in training appears in an evaluation scene.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from PIL import Image

from aevlp.data.drawn import SCENE_SIDE, SPLITS, Drawings, Scenes, place, scenes_of

CLASS_NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
HANDWRITING_COUNTS = {"train": 1000, "val": 300, "test": 497}
MAX_OVERLAP = 0.10  # of the smaller box; more would make scenes that a person cannot label either

_COUNTS, _COUNT_SHARES = (1, 2, 3, 4, 5), (0.15, 0.30, 0.30, 0.15, 0.10)
_SIDES, _SIDE_SHARES = (18, 22, 28, 36, 44), (0.25, 0.30, 0.25, 0.15, 0.05)


@cache
def _load_handwriting() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits  # 1.5 s to import: only those who draw scenes pay for it

    digits = load_digits()
    return (digits.images * (255 / 16)).round().astype(np.uint8), digits.target.astype(np.int64)


def handwriting_index(split: str, seed: int = 1200) -> np.ndarray:
    """Rows of `load_digits` that belong to `split`; the three splits are disjoint and cover all 1,797."""
    order = np.random.RandomState(seed).permutation(sum(HANDWRITING_COUNTS.values()))
    start = sum(HANDWRITING_COUNTS[earlier] for earlier in SPLITS[: SPLITS.index(split)])
    return np.sort(order[start : start + HANDWRITING_COUNTS[split]])


def _background(rng: np.random.Generator, side: int) -> np.ndarray:
    field = rng.integers(0, 130, size=(4, 4, 3), dtype=np.uint8)
    smooth = Image.fromarray(field).resize((side, side), Image.Resampling.BICUBIC)
    return np.asarray(smooth, dtype=np.float32) + rng.normal(0, 10, size=(side, side, 3))


def _paste(patch: np.ndarray, stroke: np.ndarray, angle: float, bright: np.ndarray) -> None:
    """Draw a stroke (8,8), enlarged to a square patch of a canvas and turned by `angle` degrees, onto that patch."""
    glyph = Image.fromarray(stroke).resize(patch.shape[:2], Image.Resampling.BICUBIC)
    alpha = np.asarray(glyph.rotate(angle, Image.Resampling.BILINEAR), dtype=np.float32)[:, :, None] / 255
    patch += alpha * (bright - patch)


def _draw_scene(rng: np.random.Generator, strokes: np.ndarray, digits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    canvas = _background(rng, SCENE_SIDE)
    boxes: list[tuple[int, int, int, int]] = []
    for _ in range(rng.choice(_COUNTS, p=_COUNT_SHARES)):
        side = int(rng.choice(_SIDES, p=_SIDE_SHARES))
        sample = int(rng.integers(len(strokes)))
        angle = float(rng.uniform(-15, 15))
        bright = rng.uniform(160, 255, size=3)
        corner = place(rng, side, [box[1:] for box in boxes], MAX_OVERLAP)
        if corner is None:
            continue
        x, y = corner
        _paste(canvas[y : y + side, x : x + side], strokes[sample], angle, bright)
        boxes.append((int(digits[sample]), x, y, side))
    return np.clip(canvas, 0, 255).astype(np.uint8), np.array(boxes, dtype=np.int64)


def draw_scenes(split: str, count: int, seed: int = 1200) -> Scenes:
    """Draw `count` scenes from the handwriting of `split`; scene i depends on (seed, split, i) alone."""
    rows = handwriting_index(split)
    strokes, digits = (part[rows] for part in _load_handwriting())
    return scenes_of(lambda rng: _draw_scene(rng, strokes, digits), split, count, seed, len(CLASS_NAMES))


def draw_crops(split: str, count: int, side: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Pictures (count,side,side,3) uint8 of one handwriting of `split` each, and which digit (count,) it is."""
    rows = handwriting_index(split)
    strokes, digits = (part[rows] for part in _load_handwriting())
    rng = np.random.default_rng([seed, SPLITS.index(split)])
    samples = rng.integers(len(rows), size=count)
    crops = np.empty((count, side, side, 3), dtype=np.uint8)
    for crop, sample in zip(crops, samples, strict=True):
        canvas = _background(rng, side)
        size = int(rng.integers(min(_SIDES), min(max(_SIDES), side) + 1))
        x, y = (int(corner) for corner in rng.integers(side - size + 1, size=2))
        patch = canvas[y : y + size, x : x + size]
        _paste(patch, strokes[sample], float(rng.uniform(-15, 15)), rng.uniform(160, 255, size=3))
        crop[:] = np.clip(canvas, 0, 255)
    return crops, digits[samples]


DRAWINGS = Drawings(CLASS_NAMES, "digit", draw_scenes, draw_crops)
