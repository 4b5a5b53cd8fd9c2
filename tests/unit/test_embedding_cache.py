"""The embedding cache on disk: what is found again, and what is not."""

import os
from pathlib import Path

import numpy as np
import pytest
from cached_rows import COUNT, FAMILY, fill, identities, there, values

from aevlp.vision_language import embedding_store
from aevlp.vision_language.embedding_cache import CachedRows, Family, hash_files, stores


@pytest.fixture
def said():
    return []


@pytest.fixture
def cached(said):
    """Opens the rows of `images` as a new process would."""

    def build(images=None, borrow=True, **changes):
        return CachedRows(Family(**FAMILY | changes), images or identities(), said.append, borrow=borrow)

    return build


def test_rows_are_found_by_whoever_opens_the_cache_next(cached, said):
    assert there(cached()) == []
    fill(cached(), [3, 7, 11])
    assert there(cached()) == [3, 7, 11]
    found, mask = cached().read(range(6, 9))
    assert mask.tolist() == [False, True, False]
    np.testing.assert_array_equal(found[1], values(7))
    fill(cached(), range(5))
    assert there(cached()) == [0, 1, 2, 3, 4, 7, 11]
    assert said == []


@pytest.mark.parametrize(
    "change", [{"files": "0124"}, {"part": "grid 3"}, {"mirrored": True}, {"precision": "bf16"}, {"normalization": "imagenet"}]
)
def test_rows_of_another_encoder_part_or_arithmetic_lie_beside_and_are_never_read(cached, change):
    fill(cached())
    assert there(cached(**change)) == []
    fill(cached(**change), [1])
    assert there(cached()) == list(range(COUNT))
    assert there(cached(**change)) == [1]
    assert len(stores()) == 2


def test_the_name_of_the_encoder_does_not_matter_but_its_files_do(cached):
    fill(cached())
    assert there(cached(encoder="/moved/clip")) == list(range(COUNT))


def test_a_changed_image_is_encoded_again_and_the_others_are_not(cached, said):
    fill(cached())
    images = identities()
    images[5] = b"changed".ljust(16)
    assert there(cached(images)) == [i for i in range(COUNT) if i != 5]
    assert said == ["embedding cache: 1 of 12 images are not cached yet, and are encoded"]
    fill(cached(images), [5])
    assert there(cached(images)) == list(range(COUNT))


def test_a_part_of_the_images_in_another_order_finds_its_rows(cached, said):
    fill(cached())
    order = [4, 9, 2]
    found, mask = cached([identities()[i] for i in order]).read(range(3))
    assert mask.all()
    np.testing.assert_array_equal(found, np.stack([values(i) for i in order]))
    assert len(stores()) == 1  # nothing was copied
    assert said == []


def test_rows_that_must_be_of_one_run_are_not_borrowed(cached):
    fill(cached())
    assert not cached(identities()[:3], borrow=False).read(range(3))[1].any()


@pytest.mark.parametrize("meta", ['{"version": 0}', "{", "[]", '{"version": 1}', ""])
def test_a_cache_of_another_version_or_without_description_is_encoded_anew_and_said_so(cached, said, meta):
    fill(cached())
    (folder,) = stores()
    (folder / "meta.json").write_text(meta)
    assert there(cached()) == []
    expected = "was written by another version of aevlp" if "0" in meta else "has a damaged meta.json"
    assert expected in said[0]
    assert said[0].endswith("; encoded anew")
    fill(cached())
    assert there(cached()) == list(range(COUNT))


def test_a_new_version_reads_nothing_of_an_older_one(cached, monkeypatch, said):
    fill(cached())
    monkeypatch.setattr(embedding_store, "VERSION", embedding_store.VERSION + 1)
    assert there(cached()) == []
    assert "another version" in said[0]


def test_large_files_are_read_once_until_they_change(tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"a" * 100)
    monkeypatch.setattr("aevlp.vision_language.embedding_cache._REMEMBERED_BYTES", 50)
    os.utime(path, (1, 1))
    first = hash_files([path])
    read, opened = Path.open, []
    monkeypatch.setattr(Path, "open", lambda self, *words, **named: opened.append(self) or read(self, *words, **named))
    assert hash_files([path]) == first
    assert path not in opened
    path.write_bytes(b"b" * 100)
    assert hash_files([path]) != first
