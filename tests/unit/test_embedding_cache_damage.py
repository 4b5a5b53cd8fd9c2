"""The embedding cache under kill -9, full disks and damaged files: nothing wrong is ever read, and no run ends by it."""

import errno
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from cached_rows import COUNT, FAMILY, VIEWS, WIDTH, fill, identities, there, values

from aevlp.vision_language.embedding_cache import CachedRows, Family, damage, stores


@pytest.fixture
def said():
    return []


@pytest.fixture
def cached(said):
    """Opens the rows of `images` as a new process would."""

    def build(images=None, borrow=True, **changes):
        return CachedRows(Family(**FAMILY | changes), images or identities(), said.append, borrow=borrow)

    return build


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


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 0.0])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_a_row_that_is_no_embedding_counts_as_damaged_whoever_wrote_it(cached, said, value, dtype):
    rows = cached(dtype=dtype)
    fill(rows, [row for row in range(COUNT) if row != 4])
    wrong = values(4)
    if value == 0:
        wrong[2] = value  # one of its views
        wrong[2, ::2] = -value
    else:
        wrong[2, 5] = value
    fill_one = cached(dtype=dtype)
    fill_one.write(4, wrong)
    fill_one.close()
    assert there(cached(dtype=dtype)) == [row for row in range(COUNT) if row != 4]
    assert "holds damaged rows; they are encoded again" in said[0]
    assert damage(stores()[0]) == "has 1 damaged rows"


SCRIPT = textwrap.dedent("""
    import sys
    sys.path.insert(0, {tests!r})
    from cached_rows import FAMILY, identities, values
    from aevlp.vision_language.embedding_cache import CachedRows, Family
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


def full(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_is_told_once_and_ends_the_writing_not_the_reading(cached, said, monkeypatch):
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
    assert "cannot be written: No space left on device; going on with what is there" in said[0]
    assert there(rows) == there(cached()) == [0]
    assert np.flatnonzero(rows.there()).tolist() == [0]
    rows.write(2, values(2))  # what has failed once is not tried for every row
    assert there(cached()) == [0]


def test_who_cannot_write_goes_on_to_read_what_others_write_and_what_it_borrows(cached, said, monkeypatch):
    fill(cached(identities()[:3]), range(3))
    rows = cached()
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        rows.write(5, values(5))
    assert there(rows) == [0, 1, 2]
    fill(cached(), [5, 6])
    assert there(rows) == [0, 1, 2, 5, 6]
    assert sum("cannot be" in line for line in said) == 1


def test_who_cannot_read_neither_reads_nor_writes(cached, said, monkeypatch):
    fill(cached(), [0])
    rows = cached()
    with monkeypatch.context() as patch:
        patch.setattr(os, "preadv", full)
        assert there(rows) == []
    rows.write(1, values(1))
    assert there(rows) == []
    assert there(cached()) == [0]
    assert len(said) == 1
    assert said[0].endswith("No space left on device; going on without it")


def test_a_limit_on_the_size_of_files_is_a_full_disk(cached):
    limited = process(500, before="import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (8000, 8000))\n")
    out, _ = limited.communicate("\n", timeout=60)
    assert "File too large; going on with what is there" in out
    assert out.split()[-1] == "499"
    assert stores() == []


def test_a_cache_folder_that_cannot_be_made_is_told(cached, said, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("AEVLP_CACHE", str(tmp_path / "file"))
    fill(cached())
    assert len(said) == 1
    assert "Not a directory; going on with" in said[0]


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
