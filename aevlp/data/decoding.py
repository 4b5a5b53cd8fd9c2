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

import numpy as np
from PIL import Image

VERSION = b"1"
"""Raised with any change of what a file's pixels become; part of what identifies a picture to the caches."""
_INSTEAD = "save the picture with 8 bits"
_SAMPLE_FORMAT, _PHOTOMETRIC = 339, 262  # tags of TIFF


def to_rgb(image: Image.Image) -> np.ndarray:
    """Pixels (H,W,3) uint8 of an opened picture; ValueError where they would come out black or white, though they are not."""
    if image.mode == "F" or image.mode.startswith("I"):
        return np.repeat(_gray(image)[:, :, None], 3, axis=2)
    tiles = getattr(image, "tile", None)  # told before it is decoded
    if tiles and ";16" in str(tiles[0][3]):
        _require_upper_bits(image)
    if image.mode == "P" and "transparency" in image.info:  # Pillow would warn
        image = image.convert("RGBA")
    return np.array(image if image.mode == "RGB" else image.convert("RGB"))


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
