"""How the pixels of a picture become 8-bit RGB.

    8 bits or less      as Pillow converts them; transparency is dropped
    gray of more bits   brightness is value / full scale. A file does not tell how many of its bits are used, so this is the
                        smallest of 255, 1023, 4095, 16383, 65535, ... that holds the largest value of the picture
    gray floats         likewise, but 1 where no value is larger
    colours of 16 bits  the upper 8, which are all that Pillow gives

So 16-bit pictures that use their range, and 8-, 10- or 12-bit ones in 16 bits, are what they were meant to be, and each depends
on nothing but itself. Refused, rather than read as black or white: negative values, NaN and infinity, floats that use less than
a sixteenth of the scale and whole numbers below 16 (those of a mask), 16-bit colours that leave their upper 4 bits empty.
"""

from __future__ import annotations

import math
import struct
import warnings
from collections.abc import Callable
from functools import cache
from typing import BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

VERSION = b"1"
"""Raised with any change of what a file's pixels become; part of what identifies a picture to the caches."""
TURNED, ON_WHITE = "turned upright, as the camera noted", "transparent in parts, which are laid on white"
_INSTEAD = "save the picture with 8 bits"
_SAMPLE_FORMAT, _PHOTOMETRIC = 339, 262  # tags of TIFF
_NOT_READ = ("EPS", "IPTC")
"""Pillow has Ghostscript run the first, which are programs, and the second may hold one."""
HEIC_SUFFIXES = frozenset((".heic", ".heif", ".hif"))
HEIC_NEEDS = "HEIC, as telephones save it, is read with pillow-heif: pip install 'aevlp[photos]'"
_ORIENTATION = 274  # tag of EXIF: where the first row and the first column of the stored pixels lie
_TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
    8: lambda pixels: np.rot90(pixels),
}


warnings.filterwarnings("ignore", "Corrupt EXIF data", module="PIL")  # a line for each such photo, in every epoch


def open_image(file: BinaryIO, suffix: str) -> Image.Image:
    """Open a picture that Pillow decodes itself; ValueError for EPS and IPTC, and for HEIC where pillow-heif is not there."""
    if is_heic(suffix) and not knows_heic():
        raise ValueError(HEIC_NEEDS)
    image = _open(file)
    if image.format in _NOT_READ:
        image.close()
        raise ValueError(f"it is {image.format}, which other programs would have to decode; save it as PNG or JPEG")
    return image


def _open(file: BinaryIO) -> Image.Image:
    try:
        return Image.open(file)
    except UnidentifiedImageError:
        if not knows_heic():  # which is read by its content as well, whatever its name
            raise
        file.seek(0)
        return Image.open(file)


def is_heic(name: str) -> bool:
    """Whether a name ends as HEIC pictures do."""
    return f".{name.rpartition('.')[2].lower()}" in HEIC_SUFFIXES


@cache
def knows_heic() -> bool:
    """Whether HEIC can be read; from then on Pillow opens it."""
    try:
        from pillow_heif import register_heif_opener
    except ModuleNotFoundError:
        return False
    register_heif_opener()
    return True


def as_shown(image: Image.Image) -> tuple[np.ndarray, list[str]]:
    """Pixels (H,W,3) uint8 as a viewer shows the picture, and what was done to those that are stored; errors as of `to_rgb`."""
    pixels, is_on_white = _decode(image, on_white=True)
    changes = [ON_WHITE] if is_on_white else []
    orientation = _orientation(image)  # now: Pillow turns a TIFF by itself, and then takes the note away
    if orientation in _TURNS:
        changes.append(TURNED)
        pixels = np.ascontiguousarray(_TURNS[orientation](pixels))
    return pixels, changes


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except (SyntaxError, ValueError, TypeError, KeyError, IndexError, OverflowError, OSError, struct.error):
        return 1  # notes that are damaged are none


def to_rgb(image: Image.Image) -> np.ndarray:
    """Pixels (H,W,3) uint8 of an opened picture; ValueError where they would come out black or white, though they are not."""
    return _decode(image, on_white=False)[0]


def _decode(image: Image.Image, *, on_white: bool) -> tuple[np.ndarray, bool]:
    if image.mode == "F" or image.mode.startswith("I"):
        return np.repeat(_gray(image)[:, :, None], 3, axis=2), False
    tiles = getattr(image, "tile", None)  # told before it is decoded
    if tiles and ";16" in str(tiles[0][3]):
        _require_upper_bits(image)
    transparent = False
    if on_white and image.has_transparency_data:
        image = image.convert("RGBA")
        transparent = image.getchannel("A").getextrema() != (255, 255)
        if transparent:
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    if image.mode == "P" and "transparency" in image.info:  # Pillow would warn
        image = image.convert("RGBA")
    return np.array(image if image.mode == "RGB" else image.convert("RGB")), transparent


def _gray(image: Image.Image) -> np.ndarray:
    pixels, tags = np.asarray(image), getattr(image, "tag_v2", {_SAMPLE_FORMAT: (2,)})
    if pixels.dtype == np.int32 and tags.get(_SAMPLE_FORMAT, (1,))[0] == 1:
        pixels = pixels.view(np.uint32)  # Pillow knows signed ones only
    low, high = float(pixels.min()), float(pixels.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError(f"holds NaN or infinity; {_INSTEAD}")
    if low < 0:
        raise ValueError(f"holds values down to {low:g}, and below 0 there is no brightness; {_INSTEAD}")
    bits = max(8, math.ceil(high).bit_length())
    full = 1 if pixels.dtype.kind == "f" and high <= 1 else 2 ** (bits + bits % 2) - 1
    if 0 < high < full / 16:
        raise ValueError(f"its values, 0 to {high:g} on a scale of 0 to {full}, would come out black; {_INSTEAD}")
    scaled = np.rint(np.multiply(pixels, 255 / full, dtype=np.float32)).astype(np.uint8)
    return 255 - scaled if tags.get(_PHOTOMETRIC) == 0 else scaled  # 0 is white, which Pillow heeds with 8 bits only


def _require_upper_bits(image: Image.Image) -> None:
    highest = np.atleast_2d(np.array(image.getextrema()))[:, 1]
    if max(high for band, high in zip(image.getbands(), highest, strict=True) if band != "A") < 16:
        raise ValueError(f"its colours use no more than 12 of their 16 bits and would come out black; {_INSTEAD}")
