"""The embedding cache on disk: what is found again, and that nothing wrong is ever read, whatever happens to its files."""

import errno
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from aevlp.vision_language import embedding_store
from aevlp.vision_language.embedding_cache import CachedRows, Family, damage, hash_files, stores

COUNT, VIEWS, WIDTH = 12, 4, 8
FAMILY = {"encoder": "some/clip", "files": "0123", "part": "grid 2", "views": VIEWS}


def identities(count=COUNT, first=0):
    return [f"image {i:<10}".encode() for i in range(first, first + count)]


def values(row, version=0):
    return np.random.default_rng([row, version]).normal(size=(VIEWS, WIDTH)).astype(np.float16)


@pytest.fixture
def said():
    return []


@pytest.fixture
def cached(said):
    """Opens the rows of `images` as a new process would."""

    def build(images=None, borrow=True, **changes):
        return CachedRows(Family(**FAMILY | changes), images or identities(), said.append, borrow=borrow)

    return build


def fill(rows, which=range(COUNT)):
    for row in which:
        rows.write(row, values(row))
    rows.close()


def there(rows, count=COUNT):
    """Rows that are found; each must hold what was written."""
    found_values, found = rows.read(range(count))
    for row in np.flatnonzero(found):
        np.testing.assert_array_equal(found_values[row], values(row))
    return np.flatnonzero(found).tolist()


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
    assert said == ["embedding cache: 1 of 12 images are new or have changed, and are encoded"]
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


@pytest.mark.parametrize("number", range(6))
def test_a_process_that_dies_in_a_write_leaves_the_row_missing(cached, monkeypatch, number):
    """Three rows take six writes, a row and its mark in turn; write `number` stops half way."""
    pwrite, calls = os.pwrite, []

    def dies(descriptor, content, offset):
        calls.append(offset)
        if len(calls) > number:
            pwrite(descriptor, content[: len(content) // 2], offset)
            raise KeyboardInterrupt
        return pwrite(descriptor, content, offset)

    monkeypatch.setattr(os, "pwrite", dies)
    with pytest.raises(KeyboardInterrupt):
        fill(cached(), [0, 1, 2])
    monkeypatch.setattr(os, "pwrite", pwrite)
    assert there(cached()) == list(range(number // 2))
    fill(cached())
    assert there(cached()) == list(range(COUNT))


SCRIPT = textwrap.dedent("""
    import sys
    sys.path.insert(0, {tests!r})
    from unit.test_embedding_cache import FAMILY, CachedRows, Family, identities, values
    rows = CachedRows(Family(**FAMILY), identities({count}), print)
    print("ready", flush=True)
    sys.stdin.readline()
    for row in range({first}, {count}):
        rows.write(row, values(row))
        print(row, flush=True)
""")


def process(count, first=0, before=""):
    tests = Path(__file__).parents[1]
    code = before + SCRIPT.format(tests=str(tests), count=count, first=first)
    started = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=tests.parent
    )
    line = started.stdout.readline()
    while line.strip() != "ready":
        assert line, "the process ended early"
        line = started.stdout.readline()
    return started


def test_after_kill_9_every_row_that_was_written_is_there_and_none_is_wrong(cached):
    count = 5000
    filling = process(count)
    filling.stdin.write("\n")
    filling.stdin.flush()
    for line in filling.stdout:
        if int(line) >= 40:
            break
    filling.send_signal(signal.SIGKILL)
    filling.wait()
    found = there(cached(identities(count)), count)
    assert found[:41] == list(range(41))
    assert len(found) < count
    filling.stdin.close()
    filling.stdout.close()


def test_two_processes_that_fill_one_cache_at_once_do_not_harm_each_other(cached):
    count = 300
    both = [process(count), process(count, first=100)]  # both have found nothing, and make the store at the same time
    for filling in both:
        filling.stdin.write("\n")
        filling.stdin.flush()
    for filling in both:
        out, _ = filling.communicate(timeout=60)
        assert out.split()[-1] == str(count - 1)
    assert there(cached(identities(count)), count) == list(range(count))
    assert [damage(folder) for folder in stores()] == [None]


def test_two_rows_written_into_each_other_are_missing(cached, monkeypatch):
    """Two machines may round differently: the row of one and the mark of the other do not belong together."""
    fill(cached())
    rows = cached()
    content = values(3, version=1).tobytes()
    os.pwrite(rows._store._rows.fileno(), content, rows._store.row_bytes * 3)
    assert there(cached()) == [i for i in range(COUNT) if i != 3]


def full(descriptor, content, offset):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_is_told_once_and_ends_the_caching_not_the_run(cached, said, monkeypatch):
    rows = cached()
    rows.write(0, values(0))
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        for row in range(1, COUNT):
            rows.write(row, values(row))
        patch.setattr(os, "pwrite", lambda descriptor, content, offset: len(content) - 1)  # full to the last byte
        other = cached()
        other.write(1, values(1))
    assert len(said) == 2
    assert "No space left on device; going on without it" in said[0]
    assert not rows.read(range(COUNT))[1].any()
    assert there(cached()) == [0]


def test_a_limit_on_the_size_of_files_is_a_full_disk(cached):
    limited = process(500, before="import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (8000, 8000))\n")
    out, _ = limited.communicate("\n", timeout=60)
    assert "File too large; going on without it" in out
    assert out.split()[-1] == "499"
    assert stores() == []


def test_a_cache_folder_that_cannot_be_made_is_told(cached, said, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("AEVLP_CACHE", str(tmp_path / "file"))
    fill(cached())
    assert len(said) == 1
    assert "Not a directory; going on without it" in said[0]


@pytest.mark.parametrize("name", ["rows", "marks", "identities"])
def test_a_file_cut_short_is_noticed_at_the_next_opening_and_by_verify(cached, said, name):
    fill(cached())
    (folder,) = stores()
    os.truncate(folder / name, (folder / name).stat().st_size - 5)
    assert f"is damaged: {name} has " in damage(folder)
    assert there(cached()) == []
    assert len(said) == 1
    assert f"is damaged: {name} has " in said[0]
    assert said[0].endswith("; encoded anew")
    fill(cached())
    assert there(cached()) == list(range(COUNT))


def test_a_file_cut_short_while_it_is_open_reads_as_missing_rows(cached):
    fill(cached())
    rows = cached()
    os.truncate(rows.folder / "rows", 5 * VIEWS * WIDTH * 2)
    assert there(rows) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("name", ["rows", "marks"])
def test_a_flipped_bit_costs_its_row_and_is_found_by_verify(cached, said, name):
    fill(cached())
    (folder,) = stores()
    content = bytearray((folder / name).read_bytes())
    content[len(content) // COUNT * 2 + 1] ^= 16
    (folder / name).write_bytes(content)
    assert damage(folder) == "has 1 damaged rows"
    assert there(cached()) == [i for i in range(COUNT) if i != 2]
    assert said == [f"embedding cache {folder.name} holds damaged rows; they are encoded again"]
    fill(cached(), [2])
    assert damage(folder) is None


def test_rows_that_claim_to_be_of_other_images_are_not_borrowed(cached, said):
    fill(cached())
    (folder,) = stores()
    (folder / "identities").write_bytes(b"".join(identities(first=1)))
    assert "identities are not those it was made with" in damage(folder)
    assert not cached(identities()[:5]).read(range(5))[1].any()
    assert "identities are not those it was made with; encoded anew" in said[0]


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
