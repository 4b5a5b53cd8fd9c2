"""Draw again what aevlp/assets/scenes/drawings.npz holds: `python docs/drawings.py NOTO.ttf SYMBOLA.ttf OUT.npz`.

Needs cairosvg, and the packages that the card there names, in the versions it names; the two fonts are Debian's. Which glyphs are
drawn is read from the file itself.
"""

from __future__ import annotations

import io
import json
import re
import sys
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

STORED = Path(__file__).parents[1] / "aevlp/assets/scenes/drawings.npz"
SIDE, LARGE = 48, 192
# Package, map of glyphs, font, and what a glyph is called there, with # for a size.
FONTS = {
    ("material design icons", "filled"): (
        "ttkbootstrap_icons_mat", "glyphmap.json", "fonts/materialdesignicons-webfont.ttf", "{}",
    ),
    ("material design icons", "outline"): (
        "ttkbootstrap_icons_mat", "glyphmap.json", "fonts/materialdesignicons-webfont.ttf", "{}-outline",
    ),
    ("font awesome", "solid"): ("ttkbootstrap_icons_fa", "glyphmap-solid.json", "fonts/fa-solid-900.ttf", "{}"),
    ("fluent", "filled"): (
        "tkinter_icons_fluent", "glyphmap-filled.json", "fonts/FluentSystemIcons-Filled.ttf", "ic-fluent-{}-#-filled",
    ),
    ("fluent", "regular"): (
        "tkinter_icons_fluent", "glyphmap-regular.json", "fonts/FluentSystemIcons-Regular.ttf", "ic-fluent-{}-#-regular",
    ),
    ("lucide", "line"): ("tkinter_icons_lucide", "glyphmap.json", "fonts/lucide.ttf", "icon-{}"),
    ("remix", "fill"): ("tkinter_icons_remix", "glyphmap.json", "fonts/remixicon.ttf", "{}-fill"),
    ("remix", "line"): ("tkinter_icons_remix", "glyphmap.json", "fonts/remixicon.ttf", "{}-line"),
    ("google", "baseline"): ("ttkbootstrap_icons_gmi", "glyphmap-baseline.json", "fonts/MaterialIcons-Regular.ttf", "{}"),
    ("google", "outlined"): ("ttkbootstrap_icons_gmi", "glyphmap-outlined.json", "fonts/MaterialIconsOutlined-Regular.otf", "{}"),
    ("bootstrap", "fill"): ("tkinter_icons_bs", "assets/glyphmap.json", "assets/bootstrap.ttf", "{}-fill"),
    ("bootstrap", "line"): ("tkinter_icons_bs", "assets/glyphmap.json", "assets/bootstrap.ttf", "{}"),
    ("ionicons", "filled"): ("tkinter_icons_ion", "glyphmap.json", "fonts/ionicons.ttf", "{}"),
    ("ionicons", "outline"): ("tkinter_icons_ion", "glyphmap.json", "fonts/ionicons.ttf", "{}-outline"),
}  # fmt: skip
FILES = {
    ("phosphor", "fill"): "py_phosphor_icons/svgs/flat/fill/{}-fill.svg",
    ("phosphor", "regular"): "py_phosphor_icons/svgs/flat/regular/{}.svg",
    ("tabler", "outline"): "pytablericons/**/outline/{}.svg",
    ("tabler", "filled"): "pytablericons/**/filled/{}.svg",
    ("iconoir", "regular"): "flet_iconoir/icons/regular/{}.svg",
    ("iconoir", "solid"): "flet_iconoir/icons/solid/{}.svg",
}


@cache
def packages() -> Path:
    """Where packages are installed."""
    return next(Path(folder) for folder in sys.path if (Path(folder) / "pytablericons").is_dir())


@cache
def glyphs(package: str, path: str) -> dict[str, int]:
    """Code points by name, with - for _."""
    found = json.loads((packages() / package / path).read_text())
    return {name.replace("_", "-"): code if isinstance(code, int) else int(code, 16) for name, code in found.items()}


def ink_of(hand: str, style: str, name: str) -> Image.Image:
    """A glyph of a family, large."""
    if (hand, style) in FILES:
        import cairosvg

        pattern = FILES[hand, style]
        file = sorted(path for spelt in {name, name.replace("-", "_")} for path in packages().glob(pattern.format(spelt)))[0]
        picture = cairosvg.svg2png(url=str(file), output_width=LARGE, output_height=LARGE)
        return Image.open(io.BytesIO(picture)).getchannel("A")
    package, codes, font, pattern = FONTS[hand, style]
    called = re.compile(re.escape(pattern.format(name)).replace(r"\#", r"(\d+)"))
    sizes = {
        int((match.groups() or ("0",))[0]): code
        for one, code in glyphs(package, codes).items()
        if (match := called.fullmatch(one))
    }
    return text(packages() / package / font, sizes[max(sizes)])


def text(font: Path, code: int) -> Image.Image:
    """A character of a font, large."""
    picture = Image.new("L", (3 * LARGE, 3 * LARGE))
    ImageDraw.Draw(picture).text((LARGE, LARGE), chr(code), font=ImageFont.truetype(font, LARGE), fill=255)
    return picture


def squared(part: Image.Image, *others: Image.Image) -> list[Image.Image]:
    """Pictures cut to what is drawn on the first, in a square with a margin of a twelfth."""
    left, top, right, bottom = part.getbbox()
    half = max(right - left, bottom - top) * (1 / 2 + 1 / 12)
    x, y = (left + right) / 2, (top + bottom) / 2
    return [one.crop((round(x - half), round(y - half), round(x + half), round(y + half))) for one in (part, *others)]


def wider(mask: Image.Image) -> Image.Image:
    """A forty-eighth of the side wider."""
    return mask.filter(ImageFilter.MaxFilter(2 * round(mask.width / SIDE) + 1))


def in_black(ink: Image.Image) -> list[Image.Image]:
    """Ink and cover of a glyph: the cover is all that cannot be reached from outside."""
    ink = squared(ink)[0].resize((LARGE, LARGE), Image.Resampling.LANCZOS)
    free = Image.new("L", (LARGE + 2, LARGE + 2), 255)
    free.paste(ink.point(lambda value: 255 if value < 96 else 0), (1, 1))
    ImageDraw.floodfill(free, (0, 0), 128)
    return [ink, wider(free.point(lambda value: 0 if value == 128 else 255).crop((1, 1, LARGE + 1, LARGE + 1)))]


def in_colour(font: Path, code: int) -> list[Image.Image]:
    """Ink and cover of an emoji in colour: ink is what is dark."""
    picture = Image.new("RGBA", (160, 160))
    drawing = ImageDraw.Draw(picture)
    drawing.text((10, 20), chr(code), font=ImageFont.truetype(font, 109), embedded_color=True)
    alpha, light = squared(picture.getchannel("A"), picture.convert("RGB").convert("L"))
    values = np.asarray(light).astype(int)
    low, high = np.percentile(values[np.asarray(alpha) > 200], (3, 97))
    ink = np.clip((high - values) / max(high - low, 1), 0, 1) * np.asarray(alpha)
    return [Image.fromarray(ink.astype(np.uint8)), wider(alpha.point(lambda value: 255 if value > 96 else 0))]


def main(noto: str, symbola: str, out: str) -> None:
    """Draw all, and tell how many are as stored."""
    with np.load(STORED) as stored:
        masks, names = stored["masks"], stored["names"]
    drawn = np.empty_like(masks)
    for row, (_, hand, style, name) in enumerate(names.tolist()):
        if hand == "noto color emoji":
            parts = in_colour(Path(noto), int(name[2:], 16))
        else:
            parts = in_black(text(Path(symbola), int(name[2:], 16)) if hand == "symbola" else ink_of(hand, style, name))
        drawn[row] = [np.asarray(part.resize((SIDE, SIDE), Image.Resampling.BOX)) for part in parts]
    print(f"{(drawn == masks).all(axis=(1, 2, 3)).sum()} of {len(masks)} are as stored")
    np.savez_compressed(out, masks=drawn, names=names)


if __name__ == "__main__":
    main(*sys.argv[1:])
