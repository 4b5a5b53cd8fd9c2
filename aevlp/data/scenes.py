"""Scenes of everyday things: icons of forty nouns, drawn by thirteen hands, in kinds of places, with clutter and occlusion.

A hand is an icon family with its own designers. Whole hands are divided among train, validation and test: no drawing of
an evaluation scene, and nothing else by its hand, is seen in training. Sources and licences: aevlp/assets/scenes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from aevlp.data.drawn import SCENE_SIDE, SPLITS, Drawings, Scenes, place, scenes_of

HANDS = {
    "train": ("material design icons", "font awesome", "fluent", "google", "remix", "ionicons", "symbola"),
    "val": ("lucide", "bootstrap", "iconoir"),
    "test": ("phosphor", "tabler", "noto color emoji"),
}
# Kinds of scenes, each with its share, and its things from common to rare: the one at rank r comes 1/r as often as the first.
KINDS = {
    "room": (0.22, ("sofa", "lamp", "television", "book", "clock", "bed", "cat", "glass", "key")),
    "street": (0.22, ("car", "house", "bicycle", "tree", "bus", "truck", "traffic light", "train", "umbrella", "dog")),
    "kitchen": (0.20, ("cup", "fork", "apple", "glass", "egg", "pizza", "fish", "cake", "scissors")),
    "office": (0.14, ("laptop", "book", "pencil", "cup", "envelope", "lamp", "printer", "clock", "scissors", "key")),
    "garden": (0.11, ("tree", "flower", "bird", "dog", "house", "cat", "bug", "sun", "bicycle")),
    "shore": (0.06, ("boat", "sun", "bird", "fish", "umbrella", "airplane")),
    "workshop": (0.03, ("hammer", "wrench", "pencil", "truck", "key")),
    "party": (0.02, ("gift", "cake", "glass", "flower")),
}  # fmt: skip
CLASS_NAMES = tuple(dict.fromkeys(name for _, things in KINDS.values() for name in things))
STRAY = 0.15  # share of things that belong to no kind: any class, as likely as any other
MAX_OVERLAP = 0.3  # of the smaller box: what lies below stays more than half visible

_COUNTS, _COUNT_SHARES = (1, 2, 3, 4, 5, 6), (0.10, 0.20, 0.25, 0.20, 0.15, 0.10)
_SIDES, _SIDE_SHARES = (18, 24, 32, 44), (0.25, 0.35, 0.25, 0.15)
_DRAWINGS = Path(__file__).resolve().parents[1] / "assets" / "scenes" / "drawings.npz"


@dataclass(frozen=True)
class Icons:
    """`masks` (N,48,48,3) uint8: where the ink is, all that the drawing covers, nothing; `classes` (N,), `hands` (N,)."""

    masks: np.ndarray
    classes: np.ndarray
    hands: np.ndarray


@cache
def load_icons() -> Icons:
    """All drawings of all hands."""
    with np.load(_DRAWINGS) as stored:
        masks, names = stored["masks"], stored["names"]
    return Icons(_as_rgb(masks), np.array([CLASS_NAMES.index(name) for name in names[:, 0]]), names[:, 1])


def _as_rgb(masks: np.ndarray) -> np.ndarray:
    """Masks (N,2,48,48) as Pillow turns and resizes them at once, (N,48,48,3)."""
    return np.concatenate([masks, np.zeros_like(masks[:, :1])], axis=1).transpose(0, 2, 3, 1).copy()


def _icons_by_class(split: str) -> list[np.ndarray]:
    icons = load_icons()
    mine = np.isin(icons.hands, HANDS[split])
    return [icons.masks[mine & (icons.classes == c)] for c in range(len(CLASS_NAMES))]


@cache
def _clutter() -> np.ndarray:
    """Shapes that are no class, as masks (N,48,48,3)."""
    outlines = (
        [(4, 20), (44, 20), (44, 28), (4, 28)],  # bar
        [(24, 6), (44, 42), (4, 42)],  # triangle
        [(24, 4), (44, 24), (24, 44), (4, 24)],  # diamond
        [(6, 6), (42, 6), (42, 42), (6, 42)],  # square
        [(14, 4), (34, 4), (44, 24), (34, 44), (14, 44), (4, 24)],  # hexagon
        [(6, 6), (18, 6), (42, 24), (18, 42), (6, 42), (30, 24)],  # chevron
        [(18, 4), (30, 4), (30, 18), (44, 18), (44, 30), (30, 30), (30, 44), (18, 44), (18, 30), (4, 30), (4, 18), (18, 18)],
    )  # fmt: skip
    shapes = []
    for outline in outlines:
        for width in (0, 4):  # filled, and as a line
            ink, cover = Image.new("L", (48, 48)), Image.new("L", (48, 48))
            ImageDraw.Draw(cover).polygon(outline, fill=255, outline=255, width=2)
            ImageDraw.Draw(ink).polygon(outline, fill=None if width else 255, outline=255, width=width or 1)
            shapes.append(np.stack([np.asarray(ink), np.asarray(cover)]))
    return _as_rgb(np.stack(shapes))


def _background(rng: np.random.Generator, side: int) -> np.ndarray:
    field = rng.integers(20, 150, size=(4, 4, 3), dtype=np.uint8)
    smooth = Image.fromarray(field).resize((side, side), Image.Resampling.BICUBIC)
    return np.asarray(smooth, dtype=np.int32) + rng.integers(-14, 15, size=(side, side, 3), dtype=np.int32)


def _paste(patch: np.ndarray, masks: np.ndarray, rng: np.random.Generator) -> None:
    """Draw masks (48,48,3), turned, perhaps mirrored, dark ink on a light cover, onto a square patch of a canvas."""
    angle, mirror = int(rng.integers(-12, 13)), rng.random() < 0.5
    dark, light = rng.integers(0, 90, size=3), rng.integers(160, 256, size=3)
    turned = Image.fromarray(masks[:, ::-1] if mirror else masks).rotate(angle, Image.Resampling.BILINEAR)
    ink, cover, _ = np.asarray(turned.resize(patch.shape[:2], Image.Resampling.BILINEAR), dtype=np.int32).transpose(2, 0, 1)
    for alpha, colour in ((cover, light), (ink, dark)):
        patch += alpha[:, :, None] * (colour - patch) // 255  # in integers: the same on every processor


def _class_shares(kind: str, stray: float) -> np.ndarray:
    shares = np.full(len(CLASS_NAMES), stray / len(CLASS_NAMES))
    things = KINDS[kind][1]
    ranks = 1 / np.arange(1, len(things) + 1)
    shares[[CLASS_NAMES.index(name) for name in things]] += (1 - stray) * ranks / ranks.sum()
    return shares


def _draw_scene(rng: np.random.Generator, icons: list[np.ndarray], shares: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    canvas = _background(rng, SCENE_SIDE)
    kind = rng.choice(len(KINDS), p=[share for share, _ in KINDS.values()])
    boxes: list[tuple[int, int, int, int]] = []
    behind, front = int(rng.integers(1, 5)), int(rng.random() < 0.3)
    things = rng.choice(len(CLASS_NAMES), size=rng.choice(_COUNTS, p=_COUNT_SHARES), p=shares[kind])
    for number, thing in enumerate([-1] * behind + things.tolist() + [-1] * front):
        side = int(rng.choice(_SIDES, p=_SIDE_SHARES))
        masks = _clutter() if thing < 0 else icons[thing]
        drawing = masks[rng.integers(len(masks))]
        corner = place(rng, side, [box[1:] for box in boxes], MAX_OVERLAP)
        if corner is None:
            continue
        x, y = corner
        _paste(canvas[y : y + side, x : x + side], drawing, rng)
        if number >= behind:  # what comes later may hide of clutter what it likes
            boxes.append((int(thing), x, y, side))
    shown = [box for box in boxes if box[0] >= 0]
    return np.clip(canvas, 0, 255).astype(np.uint8), np.array(shown, dtype=np.int64).reshape(-1, 4)


def draw_scenes(split: str, count: int, seed: int = 1200, stray: float = STRAY) -> Scenes:
    """Draw `count` scenes by the hands of `split`; scene i depends on (seed, split, i) alone.

    With `stray` of 1 there are no kinds of scenes, and all classes are equally likely.
    """
    icons, shares = _icons_by_class(split), [_class_shares(kind, stray) for kind in KINDS]
    return scenes_of(lambda rng: _draw_scene(rng, icons, shares), split, count, seed, len(CLASS_NAMES))


def draw_crops(split: str, count: int, side: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Pictures (count,side,side,3) uint8 of one drawing of `split` each, clutter behind it, and its class (count,).

    Classes are equally likely. Sides reach from two thirds of the smallest thing of a scene to the largest.
    """
    icons = _icons_by_class(split)
    rng = np.random.default_rng([seed, SPLITS.index(split)])
    classes = rng.integers(len(CLASS_NAMES), size=count)
    crops = np.empty((count, side, side, 3), dtype=np.uint8)
    for crop, thing in zip(crops, classes, strict=True):
        canvas = _background(rng, side)
        clutter = [(_clutter(), 30)] * int(rng.integers(3))
        for masks, largest in [*clutter, (icons[thing], min(max(_SIDES), side))]:
            size = int(rng.integers(12, largest + 1))
            x, y = (int(corner) for corner in rng.integers(side - size + 1, size=2))
            _paste(canvas[y : y + size, x : x + size], masks[rng.integers(len(masks))], rng)
        crop[:] = np.clip(canvas, 0, 255)
    return crops, classes


DRAWINGS = Drawings(CLASS_NAMES, "thing", partial(draw_scenes, stray=1.0), draw_crops)
