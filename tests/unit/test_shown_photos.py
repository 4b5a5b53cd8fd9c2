"""Photos of people come as a viewer shows them; those of the benchmarks as they are stored."""

from __future__ import annotations

import io
import sys

import numpy as np
import pytest
from PIL import Image, ImageOps

from aevlp.config import registry
from aevlp.config.errors import DataError
from aevlp.data import decoding
from aevlp.data.images import ImageFiles, Photos
from aevlp.data.prepare import prepare
from aevlp.inference.predict import find_images

SIZE = (40, 24)


def picture(mode="RGB"):
    """Every corner of another brightness."""
    x, y = np.meshgrid(np.linspace(0, 200, SIZE[0]), np.linspace(0, 55, SIZE[1]))
    return Image.fromarray((x + y).astype(np.uint8)).convert(mode)


def save(path, orientation, image=None):
    exif = Image.Exif()
    exif[274] = orientation
    (image or picture()).save(path, exif=exif, quality=95)
    return path


def pixels(images, row=0):
    return images[row].permute(1, 2, 0).numpy()


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "avif"])
@pytest.mark.parametrize("orientation", [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
def test_a_photo_is_turned_as_its_camera_noted(tmp_path, orientation, suffix):
    path = save(tmp_path / f"x.{suffix}", orientation)
    photos = Photos(tmp_path, [path.name])
    with Image.open(path) as image:
        expected = np.array(ImageOps.exif_transpose(image).convert("RGB"))
    np.testing.assert_array_equal(pixels(photos), expected)
    assert photos.changes[decoding.TURNED] == (1 < orientation < 9 and suffix != "tif")
    if suffix != "tif":  # which Pillow turns by itself
        assert pixels(ImageFiles(tmp_path, [path.name])).shape[:2] == SIZE[::-1]


@pytest.mark.parametrize("mode", ["I;16", "F"])
def test_so_is_one_of_more_bits(tmp_path, mode):
    gray = np.asarray(picture("L"))
    image = Image.fromarray(gray.astype(np.uint16) * 257 if mode == "I;16" else gray.astype(np.float32) / 255)
    path = save(tmp_path / "x.tif", 6, image)
    shown = pixels(Photos(tmp_path, [path.name]))
    assert shown.shape[:2] == SIZE
    np.testing.assert_array_equal(shown[:, :, 0], np.rot90(gray, -1))


@pytest.mark.parametrize(
    "exif", [b"", b"Exif\x00\x00", b"Exif\x00\x00II*\x00\xff\xff\xff\xff", b"Exif\x00\x00MM\x00*" + bytes(60)]
)
def test_damaged_notes_of_a_camera_are_none(tmp_path, exif):
    buffer = io.BytesIO()
    picture().save(buffer, "JPEG", quality=95, exif=exif)
    (tmp_path / "x.jpg").write_bytes(buffer.getvalue())
    np.testing.assert_array_equal(*(pixels(kind(tmp_path, ["x.jpg"])) for kind in (Photos, ImageFiles)))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_pixels_are_laid_on_white(tmp_path, mode):
    image = picture("RGBA")
    alpha = np.full(SIZE[::-1], 255, dtype=np.uint8)
    alpha[:, :10] = 0
    image.putalpha(Image.fromarray(alpha))
    image = image.convert("LA") if mode == "LA" else image
    (image.quantize() if mode == "P" else image).save(tmp_path / "x.png")
    photos = Photos(tmp_path, ["x.png"])
    shown = pixels(photos)
    assert (shown[:, :9] == 255).all()
    assert shown[0, 20].max() < 255
    assert photos.changes == {decoding.ON_WHITE: 1}


def test_a_picture_with_an_alpha_channel_and_nothing_transparent_is_unchanged(tmp_path):
    picture("RGBA").save(tmp_path / "x.png")
    photos = Photos(tmp_path, ["x.png"])
    np.testing.assert_array_equal(pixels(photos), np.array(picture()))
    assert not photos.changes


def test_the_caches_tell_a_photo_as_shown_from_the_stored_one(tmp_path):
    save(tmp_path / "x.jpg", 1)
    assert Photos(tmp_path, ["x.jpg"]).identity(0) != ImageFiles(tmp_path, ["x.jpg"]).identity(0)


def test_folders_and_predict_show_photos_and_prepare_counts_them(tmp_path, capsys):
    for i in range(10):
        save(tmp_path / f"{i}.jpg", 6 if i < 3 else 1)
    image = picture("RGBA")
    image.putalpha(100)
    image.save(tmp_path / "9.png")
    (tmp_path / "9.jpg").unlink()
    names = [*(f"{i}.jpg" for i in range(9)), "9.png"]
    lines = [f"{name},{'cat' if i % 2 else 'dog'}" for i, name in enumerate(names)]
    (tmp_path / "labels.csv").write_text("\n".join(["image,label", *lines]))
    prepare("folder", tmp_path)
    output = capsys.readouterr().out
    assert "3 are turned upright, as the camera noted" in output
    assert "1 is transparent in parts, which are laid on white" in output
    data = registry.build("datasets", registry.get("datasets", "folder").config(name="folder", root=str(tmp_path)))
    for images in (data.train.images, data.val.images, find_images([str(tmp_path)]).images):
        assert isinstance(images, Photos)


def test_heic_is_read_by_its_content_whatever_its_name_and_whatever_was_read_before(tmp_path, monkeypatch):
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.from_pillow(picture()).save(tmp_path / "x.heic", quality=95)
    (tmp_path / "x.heic").rename(tmp_path / "x.jpg")
    decoding.knows_heic()  # so that Pillow knows it once this is over
    Image.init()  # which adds kinds to the list once, and would add them to the patched one
    monkeypatch.setattr(Image, "ID", [kind for kind in Image.ID if kind not in ("HEIF", "HEIC")])
    decoding.knows_heic.cache_clear()
    assert Photos(tmp_path, ["x.jpg"]).problem(0) is None


def test_heic_is_read_with_its_package_and_named_without(tmp_path, monkeypatch):
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.from_pillow(picture()).save(tmp_path / "x.HEIC", quality=95)
    assert np.abs(pixels(Photos(tmp_path, ["x.HEIC"])).astype(int) - np.array(picture())).mean() < 4
    assert find_images([str(tmp_path)]).images.name(0).endswith("x.HEIC")
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    decoding.knows_heic.cache_clear()
    with pytest.raises(DataError, match=r"x\.HEIC: cannot be read as an image: HEIC.* pip install 'aevlp\[photos\]'"):
        Photos(tmp_path, ["x.HEIC"])[0]
    decoding.knows_heic.cache_clear()
