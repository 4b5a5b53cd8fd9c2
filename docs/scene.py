"""Make the picture at the top of the README: `python docs/scene.py RUN` (needs chromium and chromedriver, and selenium).

It shows one sample image of a run with DAMP: its tiles, the observed label, what DAMP found, in which tile, and what it missed.
"""

from __future__ import annotations

import base64
import html
import io
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from screens import FOLDER, browser

from aevlp.reporting.details import require_samples
from aevlp.runs.collect import Run, read_run
from aevlp.runs.folder import find_run

WIDTH, HEIGHT, SCALE = 800, 400, 1.5  # of the picture, in CSS pixels, and pixels of the file in each
SIDE = 352  # of the scene
ROWS, COLUMNS = ("top", "middle", "bottom"), ("left", "centre", "right")
KINDS = {
    "observed": "the one label that is given",
    "found": "mean at least {threshold} %, and right",
    "wrong": "mean at least {threshold} %, but not there",
    "missed": "there, but the mean is below {threshold} %",
}


@dataclass(frozen=True)
class Label:
    """A class of the scene, and how sure the encoder is of it, in percent."""

    kind: str
    name: str
    tile: int
    """The one in which it is surest, counted from 0 row by row."""
    in_tile: float
    in_whole: float


@dataclass(frozen=True)
class Scene:
    """A sample image and what DAMP made of it."""

    jpeg: bytes
    labels: list[Label]
    grid: int
    """Tiles a side."""
    threshold: float
    """Mean of tile and whole from which a class becomes a pseudo-label, in percent."""


def scenes(run: Run) -> list[Scene]:
    """All sample images of a run."""
    arrays = require_samples(run.arrays("samples.npz"))
    observed, found, there = arrays["observed"] == 1, arrays["pseudo"] > 0, arrays["targets"] == 1
    masks = {
        "observed": observed, "found": found & there, "wrong": found & ~there, "missed": there & ~found & ~observed,
    }  # fmt: skip
    whole, tiles = 100 * arrays["views"][:, 0].astype(float), 100 * arrays["views"][:, 1:].astype(float)
    grid, threshold = run.config["labeler"]["grid"], 100 * run.config["labeler"]["threshold"]
    jpeg, offsets = arrays["jpeg"].tobytes(), arrays["offsets"]
    result = []
    for i in range(len(arrays["rows"])):
        labels = [
            Label(kind, str(arrays["classes"][j]), int(tiles[i, :, j].argmax()), tiles[i, :, j].max(), whole[i, j])
            for kind, mask in masks.items() for j in np.flatnonzero(mask[i])
        ]  # fmt: skip
        result.append(Scene(jpeg[offsets[i] : offsets[i + 1]], labels, grid, threshold))
    return result


def choose(found: list[Scene]) -> Scene:
    """Of the scenes with labels found and one missed, none of them wrong, that in which DAMP is surest in all."""

    def kinds(scene: Scene) -> list[str]:
        return [label.kind for label in scene.labels]

    fit = [
        scene for scene in found if kinds(scene).count("missed") == 1 and "found" in kinds(scene) and "wrong" not in kinds(scene)
    ]
    return max(fit, key=lambda scene: sum(label.in_tile for label in scene.labels if label.kind == "found"))


def page(scene: Scene) -> str:
    """The picture as HTML: the scene under its grid, and beside it what is known, found and missed."""
    step = SIDE / scene.grid
    tiles = []
    for number in range(scene.grid**2):
        here = [label for label in scene.labels if label.tile == number and label.kind != "observed"]
        kind = here[0].kind if here else ""
        row, column = divmod(number, scene.grid)
        chips = "".join(f"<b>{html.escape(label.name)}</b>" for label in here)
        box = f"left:{column * step:.2f}px;top:{row * step:.2f}px;width:{step:.2f}px;height:{step:.2f}px"
        tiles.append(f'<div class="tile {kind}" style="{box}">{chips}</div>')
    sections = []
    for kind, meaning in KINDS.items():
        labels = [label for label in scene.labels if label.kind == kind]
        if labels:
            lines = "".join(f"<p><b>{html.escape(label.name)}</b>{_where(label, scene.grid)}</p>" for label in labels)
            told = meaning.format(threshold=f"{scene.threshold:.0f}")
            sections.append(f'<section class="{kind}"><h2>{kind} <i>{told}</i></h2>{lines}</section>')
    picture = base64.b64encode(scene.jpeg).decode()
    return TEMPLATE.format(
        width=WIDTH, height=HEIGHT, side=SIDE, picture=picture, tiles="".join(tiles), sections="".join(sections),
        count=scene.grid**2,
    )  # fmt: skip


def _where(label: Label, grid: int) -> str:
    if label.kind == "observed":
        return ""
    row, column = divmod(label.tile, grid)
    place = f"{ROWS[row]} {COLUMNS[column]}" if grid == 3 else f"row {row + 1}, column {column + 1}"
    return f"<span>{label.in_tile:.0f} % in the {place} tile, {label.in_whole:.0f} % in the whole</span>"


TEMPLATE = """<!doctype html><meta charset="utf-8"><style>
body {{ margin: 0; font: 16px/1.4 "DejaVu Sans", sans-serif; color: #e8edf2 }}
main {{ width: {width}px; height: {height}px; box-sizing: border-box; padding: 24px; display: flex; gap: 28px;
  background: #18212b }}
figure {{ margin: 0; position: relative; flex: none; width: {side}px; height: {side}px; border-radius: 8px; overflow: hidden }}
img {{ width: 100%; height: 100%; display: block }}
.tile {{ position: absolute; box-sizing: border-box; border: 1px solid var(--hue, #ffffff59) }}
.tile.found, .tile.wrong, .tile.missed {{ border-width: 4px; border-radius: 4px }}
.tile.missed {{ border-style: dashed }}
.tile b {{ position: absolute; left: 0; top: 0; padding: 1px 8px 3px; font-size: 15px; color: #10161d; border-radius: 0 0 6px 0 }}
.observed {{ --hue: #7cc4ff }} .found {{ --hue: #6fe08d }} .wrong {{ --hue: #ff8f8f }} .missed {{ --hue: #ffc24d }}
.tile b {{ background: var(--hue) }}
aside {{ flex: 1; display: flex; flex-direction: column; justify-content: center; gap: 14px }}
h1 {{ font-size: 17px; line-height: 1.4; margin: 0; font-weight: normal }}
section {{ border-left: 5px solid var(--hue); padding-left: 12px }}
h2 {{ font-size: 15px; margin: 0 0 2px; color: var(--hue) }}
h2 i {{ font-style: normal; font-weight: normal; color: #c3cdd8 }}
p {{ margin: 4px 0 0 }} p b {{ font-size: 18px; display: block; line-height: 1.2 }} p span {{ font-size: 14px; color: #c3cdd8 }}
</style><main><figure><img src="data:image/jpeg;base64,{picture}">{tiles}</figure><aside>
<h1>DAMP asks CLIP what it sees in the whole scene and in each of {count} tiles.</h1>{sections}</aside></main>"""


def main(run: Run) -> None:
    """Write docs/screens/scene.png."""
    with tempfile.TemporaryDirectory() as folder, browser(folder) as driver:
        path = Path(folder) / "scene.html"
        path.write_text(page(choose(scenes(run))), encoding="utf-8")
        size = {"width": WIDTH, "height": HEIGHT, "deviceScaleFactor": SCALE, "mobile": False}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        driver.get(path.as_uri())
        shot = driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})["data"]
    picture = Image.open(io.BytesIO(base64.b64decode(shot))).convert("RGB")
    palette = picture.quantize(256, kmeans=1)  # a page should load quickly: a third of the bytes, and nothing to be seen of it
    picture.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG).save(FOLDER / "scene.png", optimize=True)


if __name__ == "__main__":
    main(read_run(find_run(sys.argv[1] if len(sys.argv) > 1 else "latest")))
