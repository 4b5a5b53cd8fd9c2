"""What tells a picture from all others: its content, and nothing of where it lies, what it is called or when it was written."""

import os
import shutil

import numpy as np
import pytest
from PIL import Image

from aevlp.config.errors import DataError
from aevlp.data import decoding
from aevlp.data.dataset import identities
from aevlp.data.images import ArrayImages, ImageFiles

COUNT = 150  # more than one thread reads at a time


def pixels(seed):
    return np.random.default_rng(seed).integers(0, 256, (16, 20, 3), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path):
    """Bitmaps of equal size and time, and a photo among them."""
    root = tmp_path / "first"
    root.mkdir()
    for i in range(COUNT):
        Image.fromarray(pixels(i)).save(root / f"{i:04d}.bmp")
        os.utime(root / f"{i:04d}.bmp", ns=(0, 10**18))
    Image.fromarray(pixels(COUNT)).save(root / "photo.jpg")
    return root


def known(root):
    return identities(ImageFiles(root, sorted(path.name for path in root.iterdir())))


def test_all_are_told_apart_and_come_in_their_order(folder):
    found = known(folder)
    assert len(set(found)) == COUNT + 1
    assert all(len(value) == 16 for value in found)
    images = ImageFiles(folder, sorted(path.name for path in folder.iterdir()))
    assert found == [images.identity(row) for row in range(len(images))]


def test_equal_names_sizes_and_times_do_not_make_pictures_equal(folder, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    for i in range(COUNT):
        Image.fromarray(pixels(1000 + i)).save(other / f"{i:04d}.bmp")
        os.utime(other / f"{i:04d}.bmp", ns=(0, 10**18))
        here, there = (path / f"{i:04d}.bmp" for path in (folder, other))
        assert (here.stat().st_size, here.stat().st_mtime_ns) == (there.stat().st_size, there.stat().st_mtime_ns)
    assert not set(known(folder)) & set(known(other))


@pytest.mark.parametrize("how", ["moved", "copied without times", "touched", "renamed one by one"])
def test_the_same_pictures_elsewhere_later_or_under_other_names_are_the_same(folder, tmp_path, how):
    before, root = known(folder), tmp_path / "second"
    if how == "moved":
        folder.rename(root)
    elif how == "touched":
        root = folder
        for path in folder.iterdir():
            os.utime(path)
    else:
        shutil.copytree(folder, root, copy_function=shutil.copyfile)
    if how == "renamed one by one":
        for path in sorted(root.iterdir()):
            path.rename(path.with_name(f"a {path.name}"))
    assert known(root) == before


@pytest.mark.parametrize("name", ["0003.bmp", "photo.jpg"])
@pytest.mark.parametrize("place", [0.0, 0.5, 0.999])
def test_one_changed_byte_makes_another_picture_even_of_the_same_time(folder, name, place):
    images, path = ImageFiles(folder, [name]), folder / name
    before, time = images.identity(0), path.stat().st_mtime_ns
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(time, time))
    assert images.identity(0) != before


def test_another_way_to_decode_makes_other_pictures(folder, monkeypatch):
    before = known(folder)
    monkeypatch.setattr(decoding, "VERSION", decoding.VERSION + b"1")
    assert not set(known(folder)) & set(before)


def test_an_absent_file_and_a_stop_end_the_reading(folder):
    images = ImageFiles(folder, [*(f"{i:04d}.bmp" for i in range(COUNT)), "absent.bmp"])
    with pytest.raises(DataError, match=rf"absent\.bmp: listed in row {COUNT}, but there is no such file"):
        identities(images)
    calls = []

    def stop():
        calls.append(0)
        raise InterruptedError

    with pytest.raises(InterruptedError):
        identities(images, stop)
    assert len(calls) == 1


def test_a_source_that_does_not_say_has_none():
    class Plain(ArrayImages):
        identity = None

    assert identities(Plain(np.stack([pixels(0)]))) == [None]
    assert identities(ArrayImages(np.zeros((0, 4, 4, 3), np.uint8))) == []
