"""Image files: every kind of pixel becomes RGB, and a file that cannot be read is named. Then a run from files."""

import warnings

import numpy as np
import pytest
import torch
from PIL import Image

import aevlp
from aevlp.config.errors import DataError
from aevlp.data.formats.arrays import write_arrays
from aevlp.data.images import ImageFiles
from aevlp.data.loaders import eval_loader
from aevlp.data.protocol import split_train_val

HEIGHT, WIDTH = 20, 30


def ramp():
    """Gray levels 0..255 from left to right, uint8 (H,W)."""
    return np.tile(np.linspace(0, 255, WIDTH).round().astype(np.uint8), (HEIGHT, 1))


def colours():
    """Smooth colours, uint8 (H,W,3)."""
    return np.stack([ramp(), 255 - ramp(), np.full_like(ramp(), 90)], axis=2)


def decode(path, tolerance, expected):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image = ImageFiles(path.parent, [path.name])[0]
    assert image.dtype == torch.uint8
    assert image.shape == (3, HEIGHT, WIDTH)
    assert np.abs(image.permute(1, 2, 0).numpy().astype(int) - expected).max() <= tolerance


@pytest.mark.parametrize(
    ("mode", "suffix", "tolerance"),
    [("RGB", "png", 0), ("P", "png", 0), ("RGBA", "png", 0), ("CMYK", "jpg", 6), ("RGB", "jpg", 6)],
)
def test_colour_images_keep_their_colours(tmp_path, mode, suffix, tolerance):
    path = tmp_path / f"image.{suffix}"
    image = Image.fromarray(colours())
    image = image.quantize(256, dither=Image.Dither.NONE) if mode == "P" else image.convert(mode)
    image.save(path, **({"quality": 100, "subsampling": 0} if suffix == "jpg" else {}))
    assert Image.open(path).mode == mode
    expected = np.asarray(image.convert("RGB")) if mode == "P" else colours()
    decode(path, tolerance, expected.astype(int))


@pytest.mark.parametrize(
    ("kind", "suffix"), [("8 bits", "png"), ("8 bits", "jpg"), ("16 bits", "png"), ("16 bits", "tif"), ("1 bit", "png")]
)
def test_gray_images_become_gray_rgb(tmp_path, kind, suffix):
    path, gray = tmp_path / f"image.{suffix}", ramp()
    if kind == "1 bit":
        gray = np.where(gray > 127, 255, 0).astype(np.uint8)
    pixels = {"8 bits": gray, "16 bits": gray.astype(np.uint16) * 257, "1 bit": gray > 0}[kind]
    Image.fromarray(pixels).save(path)
    decode(path, 2 if suffix == "jpg" else 0, np.repeat(gray[:, :, None], 3, axis=2).astype(int))


def test_a_palette_with_a_transparent_colour_decodes_without_a_warning(tmp_path):
    image = Image.fromarray(ramp()).quantize(16)
    image.save(tmp_path / "image.png", transparency=bytes([0, 255, 128]))
    decode(tmp_path / "image.png", 0, np.asarray(image.convert("RGB")).astype(int))


@pytest.fixture
def root(tmp_path):
    """A dataset of 12 + 4 PNG and JPEG files of several sizes, whose classes are colours."""
    numbers, names, labels = np.random.default_rng(0), [], np.zeros((12, 3))
    (tmp_path / "pictures").mkdir()
    for i in range(12):
        labels[i, numbers.choice(3, size=numbers.integers(1, 4), replace=False)] = 1
        pixels = (numbers.random((20 + i, 30 - i, 3)) * 60 + 190 * labels[i]).astype(np.uint8)
        names.append(f"pictures/{i}.{'png' if i % 2 else 'jpg'}")
        Image.fromarray(pixels).save(tmp_path / names[-1])
    write_arrays(tmp_path, "train", np.array(names), labels)
    write_arrays(tmp_path, "val", np.array(names[:4]), labels[:4])
    (tmp_path / "classes.txt").write_text("red\ngreen\nblue\n")
    return tmp_path


def overrides(root, *more):
    return [
        "dataset=arrays", f"dataset.root={root}", "dataset.image_size=32", "labeler=none", "loss=an", "trainer.epochs=1",
        "trainer.batch_size=4", "trainer.threads=1", "tracking.mode=off", *more,
    ]  # fmt: skip


@pytest.mark.parametrize("workers", [0, 2])
def test_a_dataset_of_files_trains(root, workers):
    result = aevlp.train(aevlp.load_experiment("digits_gpr", overrides(root, f"trainer.num_workers={workers}")))
    assert 0 < result.best_val_map <= 100
    assert 0 < result.test_map <= 100
    assert result.pseudo_labels.shape == (10, 3)
    assert not result.pseudo_labels.any()


def break_file(path, how):
    if how == "absent":
        path.unlink()
    elif how == "truncated":
        path.write_bytes(path.read_bytes()[:-40])
    else:
        path.write_bytes({"HTML": b"<!DOCTYPE html><html><body>404</body></html>", "empty": b""}[how])


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("how", ["absent", "truncated", "HTML", "empty"])
def test_a_file_that_cannot_be_read_is_named_with_its_row_in_the_arrays(root, how, workers):
    row = int(split_train_val(12)[0][7])
    path = root / "pictures" / f"{row}.{'png' if row % 2 else 'jpg'}"
    break_file(path, how)
    config = aevlp.load_experiment("digits_gpr", overrides(root, f"trainer.num_workers={workers}"))
    with pytest.raises(DataError) as caught:
        aevlp.train(config)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert f"row {row}" in message
    assert "\n" not in message
    assert ("no such file" in message) == (how == "absent")


def test_a_validation_file_that_cannot_be_read_is_named_too(root):
    from aevlp.data.formats.arrays import ArraysConfig, build_arrays

    row = int(split_train_val(12)[1][1])
    path = root / "pictures" / f"{row}.{'png' if row % 2 else 'jpg'}"
    break_file(path, "HTML")
    data = build_arrays(ArraysConfig(name="arrays", root=str(root)))
    for workers in (0, 2):
        with pytest.raises(DataError, match=rf"^{path}: listed in row {row}, cannot be read as an image: [^\n]*$"):
            list(eval_loader(data.val, image_size=16, batch_size=2, num_workers=workers))


def test_a_folder_is_no_image(tmp_path):
    (tmp_path / "a.png").mkdir()
    with pytest.raises(DataError, match=r"a\.png: listed in row 0, cannot be read"):
        ImageFiles(tmp_path, ["a.png"])[0]


def test_whatever_a_decoder_raises_is_a_file_that_cannot_be_read(tmp_path, monkeypatch):
    Image.fromarray(colours()).save(tmp_path / "a.png")
    for error in (RuntimeError("Conversion from YUV failed"), EOFError("no more")):  # libavif, and old TIFF

        def fail(image, error=error):
            raise error

        monkeypatch.setattr("aevlp.data.decoding.to_rgb", fail)
        assert ImageFiles(tmp_path, ["a.png"]).problem(0).endswith(f"a.png: listed in row 0, cannot be read as an image: {error}")
