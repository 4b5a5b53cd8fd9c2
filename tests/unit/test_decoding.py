"""Pictures of more than 8 bits: scaled by what they hold or refused by name, never black or white where they are neither."""

import io
import struct
import subprocess
import zlib

import numpy as np
import pytest
from PIL import Image

from aevlp.config.errors import DataError
from aevlp.data.images import ImageFiles, Photos

GRAY = np.tile(np.linspace(0, 255, 30).round().astype(np.uint8), (20, 1))
SAMPLE_FORMAT, PHOTOMETRIC = 339, 262


def decoded(path):
    return ImageFiles(path.parent, [path.name])[0].permute(1, 2, 0).numpy()


def save(path, pixels, **tags):
    """A TIFF or PNG of one channel; `tags` are numbers of TIFF that Pillow does not let one choose, with (its, ours)."""
    Image.fromarray(pixels).save(path)
    content = path.read_bytes()
    for tag, (there, wanted) in tags.items():
        entries = [struct.pack("<HHIHH", int(tag), 3, 1, value, 0) for value in (there, wanted)]
        assert content.count(entries[0]) == 1
        content = content.replace(*entries)
    path.write_bytes(content)
    return path


def scaled(full, kind):
    return np.rint(GRAY / 255.0 * full).astype(kind)


@pytest.mark.parametrize(
    ("name", "pixels", "expected"),
    [
        ("16 bits.png", scaled(65535, "u2"), GRAY),
        ("16 bits.tif", scaled(65535, "u2"), GRAY),
        ("big endian.tif", scaled(65535, ">u2"), GRAY),
        ("14 in 16 bits.tif", scaled(16383, "u2"), GRAY),
        ("12 in 16 bits.tif", scaled(4095, "u2"), GRAY),
        ("10 in 16 bits.png", scaled(1023, "u2"), GRAY),
        ("8 in 16 bits.png", scaled(255, "u2"), GRAY),
        ("8 in 32 bits.tif", scaled(255, "i4"), GRAY),
        ("16 in 32 bits.tif", scaled(65535, "i4"), GRAY),
        ("24 in 32 bits.tif", scaled(2**24 - 1, "i4"), GRAY),
        ("20 in 32 bits.tif", scaled(2**20 - 1, "i4"), GRAY),
        ("floats to 1.tif", (GRAY / 255).astype("f4"), GRAY),
        ("floats to 255.tif", GRAY.astype("f4"), GRAY),
        ("floats to 65535.tif", scaled(65535, "f4"), GRAY),
        ("all of one gray.tif", np.full((20, 30), 0.5, "f4"), np.full((20, 30), 128)),
        ("black.tif", np.zeros((20, 30), "f4"), np.zeros((20, 30))),
        ("black.png", np.zeros((20, 30), "u2"), np.zeros((20, 30))),
        ("white.png", np.full((20, 30), 65535, "u2"), np.full((20, 30), 255)),
    ],
)
def test_gray_of_more_than_8_bits_is_scaled_by_what_it_holds(tmp_path, name, pixels, expected):
    found = decoded(save(tmp_path / name, pixels))
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, np.repeat(np.asarray(expected, dtype=int)[:, :, None], 3, axis=2))


def test_whole_numbers_of_32_bits_without_a_sign_keep_their_upper_half(tmp_path):
    pixels = scaled(2**32 - 1, np.uint32).view(np.int32)
    path = save(tmp_path / "a.tif", pixels, **{str(SAMPLE_FORMAT): (2, 1)})
    np.testing.assert_array_equal(decoded(path)[:, :, 0], GRAY)
    told = struct.pack("<HHIHH", SAMPLE_FORMAT, 3, 1, 1, 0)
    path.write_bytes(path.read_bytes().replace(told, struct.pack("<HHIHH", 65_000, 3, 1, 1, 0)))  # nothing told means the same
    np.testing.assert_array_equal(decoded(path)[:, :, 0], GRAY)


def test_a_picture_whose_0_is_white_is_turned_round(tmp_path):
    path = save(tmp_path / "a.tif", scaled(65535, "u2"), **{str(PHOTOMETRIC): (1, 0)})
    np.testing.assert_array_equal(decoded(path)[:, :, 0], 255 - GRAY)


def with_one(value):
    pixels = (GRAY / 255).astype("f4")
    pixels[3, 4] = value
    return pixels


@pytest.mark.parametrize(
    ("name", "pixels", "reason"),
    [
        ("nan.tif", with_one(np.nan), "holds NaN or infinity"),
        ("infinity.tif", with_one(np.inf), "holds NaN or infinity"),
        ("negative.tif", with_one(-0.5), "holds values down to -0.5, and below 0 there is no brightness"),
        ("signed.tif", scaled(4095, "i4") - 1024, "holds values down to -1024, and below 0 there is no brightness"),
        ("mask.png", (GRAY // 30).astype("u2"), "its values, 0 to 8 on a scale of 0 to 255, would come out black"),
        ("radiance.tif", (GRAY / 85).astype("f4"), "its values, 0 to 3 on a scale of 0 to 255, would come out black"),
        ("dark.tif", (GRAY / 8192).astype("f4"), "on a scale of 0 to 1, would come out black"),
    ],
)
def test_what_has_no_brightness_is_refused_by_name(tmp_path, name, pixels, reason):
    path = save(tmp_path / name, pixels)
    with pytest.raises(DataError) as caught:
        decoded(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: listed in row 0, cannot be read as an image: ")
    assert reason in message
    assert message.endswith("; save the picture with 8 bits")


def png_of_16_bits(path, pixels):
    """A PNG of (H,W,3 or 4) uint16, which Pillow cannot write."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    height, width, channels = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 16, {2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
    return path


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_colours_of_16_bits_are_read_if_they_use_them_and_refused_otherwise(tmp_path, channels):
    pixels = np.repeat(GRAY[:, :, None].astype("u2"), channels, axis=2)
    path = png_of_16_bits(tmp_path / "a.png", pixels * 257)
    np.testing.assert_array_equal(decoded(path), np.repeat(GRAY[:, :, None], 3, axis=2))
    pixels *= 16
    pixels[:, :, 3:] = 65535
    if channels == 2:
        pixels[:, :, 1] = 65535
    with pytest.raises(DataError, match=r"a\.png: .* its colours use no more than 12 of their 16 bits"):
        decoded(png_of_16_bits(path, pixels))


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_photos_are_what_pillow_makes_of_them_to_the_bit(tmp_path, mode):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    path = tmp_path / "a.jpg"
    Image.fromarray(pixels).convert(mode).save(path)
    np.testing.assert_array_equal(decoded(path), np.asarray(Image.open(path).convert("RGB")))


def iptc(content):
    """IPTC with a picture in it, of which one band is read."""
    fields = ((3, 20, b"\0\x1e"), (3, 30, b"\0\x14"), (3, 60, b"\1\0"), (3, 120, b"\5"), (8, 10, content))
    return b"".join(struct.pack(">BBBH", 0x1C, *tag, len(data)) + data for *tag, data in fields)


@pytest.mark.parametrize("kind", ["EPS", "IPTC"])
def test_no_other_program_decodes_a_picture(tmp_path, monkeypatch, kind):
    written = io.BytesIO()
    Image.fromarray(GRAY).save(written, "EPS")
    content = written.getvalue()
    (tmp_path / "one.jpg").write_bytes(content if kind == "EPS" else iptc(content))
    with Image.open(tmp_path / "one.jpg") as image:
        assert image.format == kind
    ran = []
    monkeypatch.setattr(subprocess, "check_call", lambda *words, **_: ran.append(words))
    for images in (ImageFiles(tmp_path, ["one.jpg"]), Photos(tmp_path, ["one.jpg"])):
        message = f"cannot be read as an image: it is {kind}, which other programs would have to decode; save it as PNG or JPEG"
        assert images.problem(0).endswith(message)
    assert not ran


@pytest.mark.parametrize("number", [float("inf"), float("nan")])
def test_a_way_up_that_is_no_number_is_none(tmp_path, number):
    tiff = b"II*\0" + struct.pack("<IHHHIfI", 8, 1, 274, 11, 1, number, 0)
    Image.fromarray(GRAY).save(tmp_path / "a.jpg", exif=b"Exif\0\0" + tiff)
    assert Photos(tmp_path, ["a.jpg"])[0].shape == (3, *GRAY.shape)
