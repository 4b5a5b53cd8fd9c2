"""The image cache: the same images to the bit, each decoded once, within its budget, and never a stale or torn one."""

from __future__ import annotations

import errno
import logging
import os
from pathlib import Path

import numpy as np
import pytest
import small_runs as runs
import torch
from PIL import Image

import aevlp
from aevlp.config import registry
from aevlp.data import image_cache
from aevlp.data.dataset import Split
from aevlp.data.image_cache import cache_images
from aevlp.data.images import ArrayImages, ImageFiles, resize
from aevlp.data.loaders import TrainLoader

ROW = 3 * 32 * 32 + 4


@pytest.fixture(autouse=True)
def _cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("AEVLP_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def reads(monkeypatch):
    """Rows that were decoded."""
    rows: list[int] = []
    read = ArrayImages.__getitem__
    monkeypatch.setattr(ArrayImages, "__getitem__", lambda self, row: rows.append(int(row)) or read(self, row))
    return rows


def data_for(*words: str):
    config = runs.config(*words)
    data = registry.build("datasets", config.dataset)
    return data, config, *cache_images(data, config)


def all_of(split: Split) -> torch.Tensor:
    return torch.stack([resize(split.images[row][None], 32)[0] for row in range(len(split))])


@pytest.mark.parametrize("kind", ["ram", "disk"])
def test_images_are_the_same_to_the_bit_and_decoded_once(reads, kind):
    data, _, cached, notes = data_for(f"trainer.image_cache={kind}", "dataset.flip=true")
    assert notes == []
    expected = all_of(data.train)
    reads.clear()
    assert torch.equal(all_of(cached.train), expected)
    assert len(reads) == 48
    assert torch.equal(all_of(cached.train), expected)
    assert len(reads) == 48
    assert cached.test is data.test
    assert torch.equal(all_of(cached.val), all_of(data.val))


@pytest.mark.parametrize("kind", ["ram", "disk"])
def test_what_the_labeler_has_decoded_is_not_decoded_again(reads, kind, monkeypatch):
    monkeypatch.setattr("aevlp.training.run.write_samples", lambda trainer: None)  # which shows some photos once more
    words = ("labeler=damp", "labeler.encoder.source=bundled", "labeler.encoder.cache=false", "labeler.label_graph.enabled=false",
             "labeler.grid=2", "trainer.evaluate_labeler=true")  # fmt: skip
    plain = runs.newest(aevlp.train(runs.config(*words)).run_dir).weights("model")
    reads.clear()
    found = runs.newest(aevlp.train(runs.config(*words, f"trainer.image_cache={kind}")).run_dir).weights("model")
    # Three are looked at when the data are checked, test images once by the labeler and once by the classifier.
    assert len(reads) == 3 + 48 + 40 + 2 * 40
    assert runs.differences(found, plain) == []


@pytest.mark.parametrize("kind", ["ram", "disk"])
def test_a_run_is_the_same_with_and_without(kind):
    words = ("dataset.flip=true", "trainer.epochs=2")
    plain = runs.outcome(aevlp.train(runs.config(*words)).run_dir)
    found = runs.outcome(aevlp.train(runs.config(*words, f"trainer.image_cache={kind}", "trainer.num_workers=2")).run_dir)
    assert runs.differences(found, plain) == []


@pytest.mark.parametrize("kind", ["ram", "disk"])
def test_workers_fill_the_cache_for_each_other_and_for_the_main_process(reads, kind):
    data, _, cached, _ = data_for(f"trainer.image_cache={kind}")
    loader = TrainLoader(cached.train, image_size=32, flip=False, batch_size=16, num_workers=2, seed=0)
    list(loader.epoch(1))
    reads.clear()
    assert torch.equal(all_of(cached.train), all_of(data.train))
    assert len(reads) == 48  # those of the right-hand side


def test_what_does_not_fit_the_budget_is_decoded_and_said(monkeypatch, reads):
    monkeypatch.setattr(image_cache, "_row_bytes", lambda size: 2**20 // 30)  # 30 images in a budget of 1 MB
    data, _, cached, notes = data_for("trainer.image_cache=ram", "trainer.image_cache_mb=1")
    assert notes == [
        "image cache: room for 30 of 48 train images, the others are decoded every epoch",
        "image cache: room for 0 of 40 val images, the others are decoded every epoch",
    ]
    all_of(cached.train)
    reads.clear()
    assert torch.equal(all_of(cached.train), all_of(data.train))
    assert reads[:18] != list(range(18))
    assert len(reads) == 18 + 48


def cache_file() -> Path:
    return max(Path(os.environ["AEVLP_CACHE"]).glob("images/*"), key=lambda path: path.stat().st_size)


def test_a_file_serves_the_next_run_and_a_torn_or_truncated_row_is_decoded_again(reads):
    data, config, cached, _ = data_for("trainer.image_cache=disk")
    expected = all_of(cached.train)
    path = cache_file()
    content = bytearray(path.read_bytes())
    assert len(content) == 48 * ROW
    content[5 * ROW + 100] ^= 255  # one changed byte in row 5
    content[7 * ROW : 7 * ROW + 4] = bytes(4)  # row 7 was written, but not yet marked
    path.write_bytes(content[: 46 * ROW + 200])  # the end is missing, in the middle of row 46
    reads.clear()
    again = cache_images(data, config)[0]
    assert torch.equal(all_of(again.train), expected)
    assert sorted(reads) == [5, 7, 46, 47]
    reads.clear()
    assert torch.equal(all_of(cache_images(data, config)[0].train), expected)
    assert reads == []


def test_a_changed_photo_another_size_and_another_array_are_never_read_as_current(tmp_path, reads):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 40, 40, 3), dtype=np.uint8)
    for row in range(2):
        Image.fromarray(pixels[row]).save(tmp_path / f"{row}.png")

    def read(size: int = 32) -> torch.Tensor:
        images = ImageFiles(tmp_path, ["0.png", "1.png"])
        store, note = image_cache._on_disk(images, size, 2**30)
        assert store is not None, note
        return torch.stack([image_cache.CachedImages(images, size, store)[row] for row in range(2)])

    first = read()
    assert torch.equal(read(), first)
    assert read(16).shape == (2, 3, 16, 16)
    Image.fromarray(pixels[0]).save(tmp_path / "1.png")
    assert torch.equal(read()[1], first[0])
    assert ArrayImages(pixels).identity(0) != ArrayImages(pixels[::-1]).identity(0)


def test_a_full_disk_is_said_once_and_training_goes_on(monkeypatch, caplog):
    data, _, cached, _ = data_for("trainer.image_cache=disk")

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)
    with caplog.at_level(logging.WARNING, "aevlp"):
        assert torch.equal(all_of(cached.train), all_of(data.train))
    assert [message.count("no space left; training goes on") for message in caplog.messages] == [1]


def test_a_folder_that_cannot_be_written_and_images_without_an_identity_are_said(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("AEVLP_CACHE", str(tmp_path / "file"))
    data, config, cached, notes = data_for("trainer.image_cache=disk")
    assert cached.train is data.train
    assert all("Not a directory; set AEVLP_CACHE to a folder that can be written" in note for note in notes)
    monkeypatch.delattr(ArrayImages, "identity")
    assert "ArrayImages has no identity()" in cache_images(data, config)[1][0]
