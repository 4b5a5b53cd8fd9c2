"""One cache filled by several processes: each image is encoded by one of them, and what a dead one had is done by another."""

import json
import os
import signal
import socket
import time

import numpy as np
import pytest
import torch

from aevlp.data.images import ArrayImages
from aevlp.folders import cache_root
from aevlp.owner import LOST_SECONDS, _process, is_dead, this_process
from aevlp.vision_language import embedder as embedding
from aevlp.vision_language.claims import Claims
from aevlp.vision_language.embedder import Embedder
from aevlp.vision_language.encoders import Encoder, EncoderConfig
from aevlp.vision_language.shards import ROWS

BATCH, VIEWS = 10, 2 * 5


@pytest.fixture
def dead(tmp_path):
    """Who a process was that has ended."""
    process = os.fork()
    if not process:
        (tmp_path / "owner").write_text(json.dumps(this_process()))
        os._exit(0)
    os.waitpid(process, 0)
    return json.loads((tmp_path / "owner").read_text())


def claim(owner, chunk="0.0", age=0.0):
    path = cache_root() / "claims" / "store" / chunk
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(owner if isinstance(owner, str) else json.dumps(owner))
    os.utime(path, (time.time() - age,) * 2)
    return path


def left():
    return sorted(str(path.relative_to(cache_root())) for path in (cache_root() / "claims").rglob("*"))


def test_a_chunk_is_of_one_and_free_once_it_is_given_back():
    first, second = Claims("store"), Claims("store")
    assert first.take(0)
    assert not second.take(0)
    assert second.take(64)
    assert Claims("other").take(0)
    first.release(0)
    assert second.take(0)
    second.close(range(128))
    assert "claims/store" not in left()


def test_a_claim_of_a_process_that_ended_on_this_machine_is_dead_at_once(dead):
    claim(dead)
    claims = Claims("store")
    assert claims.take(0)
    assert left() == ["claims/store", "claims/store/0.0", "claims/store/0.1"]
    assert not Claims("store").take(0)
    claims.release(0)
    claims.close(range(64))
    assert left() == []


@pytest.mark.parametrize("age", [0, LOST_SECONDS + 30])
def test_a_claim_of_another_container_of_this_machine_is_not_looked_up_among_our_own_processes(tmp_path, age):
    """It has a host name and a boot as ours; its process id says nothing here."""
    process = os.fork()
    if not process:
        os.readlink = lambda *_: "pid:[1]"
        (tmp_path / "owner").write_text(json.dumps(this_process()))
        os._exit(0)
    os.waitpid(process, 0)
    owner = json.loads((tmp_path / "owner").read_text())
    assert owner["boot"] == this_process()["boot"]
    claim(owner, age=age)
    assert Claims("store").take(0) == (age > LOST_SECONDS)


def test_without_proc_a_process_is_known_all_the_same(monkeypatch):
    def refuse(*_):
        raise FileNotFoundError

    monkeypatch.setattr(os, "readlink", refuse)
    _process.cache_clear()
    try:
        assert this_process()["host"] == socket.gethostname()
        assert not is_dead(this_process(), time.time())
    finally:
        _process.cache_clear()


@pytest.mark.parametrize("where", ["another machine", "this one, stopped", "unreadable"])
def test_a_claim_that_cannot_be_looked_into_is_dead_after_a_time_of_silence(where):
    owner = "" if where == "unreadable" else this_process() | ({"host": "elsewhere"} if where == "another machine" else {})
    claim(owner, age=LOST_SECONDS - 30)
    assert not Claims("store").take(0)
    claim(owner, age=LOST_SECONDS + 30)
    assert Claims("store").take(0)


def test_whoever_works_on_keeps_its_claims(monkeypatch):
    claims = Claims("store")
    claims.take(0)
    path = claim(this_process(), age=LOST_SECONDS + 30)
    claims.keep()
    assert time.time() - path.stat().st_mtime > LOST_SECONDS  # not with every batch
    monkeypatch.setattr(claims, "_kept", time.monotonic() - 60)
    claims.keep()
    assert time.time() - path.stat().st_mtime < 60


def test_claims_of_the_dead_on_chunks_that_are_done_are_removed_and_others_stay(dead):
    claim(dead, "0.0")
    claim(dead, "64.0")
    claim(this_process() | {"host": "elsewhere"}, "0.1")
    Claims("store").close(range(64))
    assert left() == ["claims/store", "claims/store/0.1", "claims/store/64.0"]


def test_where_no_claim_can_be_made_everything_is_free(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("AEVLP_CACHE", str(tmp_path / "file"))
    claims = Claims("store")
    assert claims.take(0)
    assert claims.take(0)
    claims.release(0)
    claims.close(range(64))


class Counting(Encoder):
    """Stands for an encoder: a fixed projection of the pixels. A line for each batch goes to a file of its process."""

    title, image_size, folder = "counting", 8, None

    def fingerprint(self):
        return "0123"

    def __init__(self):
        self.projection = torch.randn(3 * 8 * 8, 16, generator=torch.Generator().manual_seed(5))

    def encode_images(self, views):
        count = int((views.flatten(1) > 0).any(dim=1).sum())
        with (self.folder / str(os.getpid())).open("a") as file:
            file.write(f"{count}\n")
        time.sleep(0.02)
        return torch.nn.functional.normalize((views.flatten(1).float() - 128) @ self.projection, dim=1)


@pytest.fixture
def embed(tmp_path, monkeypatch):
    """A function that fills the cache with `count` images, and gives all embeddings in row order."""
    monkeypatch.setattr(Counting, "folder", tmp_path / "batches")
    monkeypatch.setattr(embedding, "WAIT_SECONDS", 0.02)
    Counting.folder.mkdir()

    def embed(count, cached=True, progress=None, said=None):
        images = ArrayImages(np.random.default_rng(0).integers(1, 256, (count, 16, 16, 3), dtype=np.uint8))
        config = EncoderConfig(batch_size=BATCH, workers=1)
        embedder = Embedder(config, "cpu", (said if said is not None else []).append, Counting())
        parts = dict(embedder.embed(images, 2, True, progress, cached))
        return torch.cat([parts[rows] for rows in sorted(parts, key=lambda rows: rows.start)])

    return embed


def encoded(process=None):
    return sum(int(line) for path in Counting.folder.iterdir() if process in (None, int(path.name)) for line in path.open())


def forked(work):
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        signal.alarm(120)
        torch.set_num_threads(1)
        work()
        code = 0
    finally:
        os._exit(code)


def wait_for(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_four_processes_fill_one_cache_two_are_killed_and_each_view_is_encoded_once_but_for_batches_under_way(embed):
    count = 8 * ROWS
    processes = [forked(lambda: embed(count)) for _ in range(4)]
    killed = processes[:2]
    for process in killed:
        wait_for(lambda process=process: encoded(process) > ROWS * VIEWS // 3)
        os.kill(process, signal.SIGKILL)
    codes = [os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in processes]
    assert codes == [-signal.SIGKILL] * 2 + [0] * 2
    done = count * VIEWS
    assert done <= encoded() <= done + 2 * (BATCH + VIEWS)
    assert all(encoded(process) > ROWS * VIEWS // 3 for process in processes)
    assert left() == []
    before = encoded()
    warm = embed(count)
    assert encoded() == before
    assert torch.equal(warm, embed(count, cached=False))


def test_who_is_left_waits_for_the_others_tells_so_and_counts_what_they_have_done(embed):
    """The other one is stopped in its chunk, and goes on once it is waited for."""
    said, reports = [], []
    other = forked(lambda: embed(2 * ROWS))
    wait_for(lambda: encoded(other) > 100)
    os.kill(other, signal.SIGSTOP)

    def progress(done, total):
        reports.append(done)
        if said:
            os.kill(other, signal.SIGCONT)

    embed(2 * ROWS, progress=progress, said=said)
    assert os.waitpid(other, 0)[1] == 0
    assert said == ["all images but those that other processes are encoding are done: waits for them"]
    assert encoded() == 2 * ROWS * VIEWS
    assert reports == sorted(reports)
    assert reports[-1] == 2 * ROWS


def test_a_stop_while_waiting_ends_the_work(embed):
    other = forked(lambda: embed(ROWS))
    wait_for(lambda: encoded(other) > 100)
    os.kill(other, signal.SIGSTOP)
    said = []

    def stop(done, total):
        if said:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        embed(ROWS, progress=stop, said=said)
    assert left() != []  # the other one's
    os.kill(other, signal.SIGKILL)
    os.waitpid(other, 0)
    embed(ROWS)
    assert left() == []
