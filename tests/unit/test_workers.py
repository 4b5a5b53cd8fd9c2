"""Processes that decode images: any start method gives the same batches, and what goes wrong with them is one line."""

from __future__ import annotations

import io
import multiprocessing
import multiprocessing.forkserver
import multiprocessing.resource_tracker
import multiprocessing.spawn
import multiprocessing.util
import os
import pickle
import runpy
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import small_runs as runs
import torch

import aevlp
from aevlp.cli import main
from aevlp.config import registry
from aevlp.config.errors import WORKER_DIED, ConfigError, DataError, WorkerDiedError
from aevlp.data import image_cache, workers
from aevlp.data.dataset import Split
from aevlp.data.image_cache import cache_images
from aevlp.data.images import ArrayImages
from aevlp.data.loaders import TrainLoader, _TrainSet
from aevlp.runs import child
from aevlp.training.signals import StopFlag

ROOT = Path(__file__).parents[2]
COMMAND = ["--exp", "digits_gpr", "--set", *runs.FAST]
PLUGIN = """
import numpy as np
from aevlp.config.registry import register
from aevlp.config.schema import DatasetConfig
from aevlp.data.dataset import SPMLData, make_split
from aevlp.data.images import ArrayImages

class Lights(ArrayImages):
    reads = 0

    def __getitem__(self, row):
        type(self).reads += 1
        return super().__getitem__(row)

@register("datasets", "lights", config=DatasetConfig)
def build(config):
    numbers = np.random.default_rng(0)
    split = make_split(Lights(numbers.integers(0, 256, (24, 20, 20, 3), dtype=np.uint8)), np.eye(24, 4, dtype=np.uint8) | 1)
    return SPMLData(list("abcd"), list("abcd"), split, split, split)
"""


@pytest.fixture
def split():
    pixels = np.random.default_rng(0).integers(0, 256, (12, 10, 10, 3), dtype=np.uint8)
    return Split(ArrayImages(pixels), np.eye(12, 4, dtype=np.uint8), None)


def loader(split, num_workers=2):
    return TrainLoader(split, image_size=32, flip=True, batch_size=4, num_workers=num_workers, seed=0)


def images(loader, epoch=1):
    return torch.cat([batch.image for batch in loader.epoch(epoch)])


def own_workers():
    living = [process for process in psutil.Process().children() if process.status() != psutil.STATUS_ZOMBIE]
    return [process for process in living if "tracker" not in " ".join(process.cmdline())]


@pytest.fixture
def start_method(monkeypatch):
    before = multiprocessing.get_start_method()
    yield lambda method: multiprocessing.set_start_method(method, force=True)
    multiprocessing.set_start_method(before, force=True)
    multiprocessing.forkserver._forkserver._stop()


def test_who_imports_the_command_line_program_does_not_run_it():
    runpy.run_path(str(ROOT / "run.py"), run_name="__mp_main__")


def test_a_program_without_a_main_guard_is_told_so_before_there_is_a_run(monkeypatch):
    monkeypatch.setattr(multiprocessing.current_process(), "_inheriting", True, raising=False)
    with pytest.raises(ConfigError, match="a worker process runs this program again: put what it does under `if __name__"):
        aevlp.train(runs.config())
    assert not list(Path(os.environ["AEVLP_RUNS"]).glob("*"))


def test_workers_of_a_fork_server_know_plugins_and_share_the_images_in_memory(tmp_path, start_method, monkeypatch):
    plugin = tmp_path / "lights.py"
    plugin.write_text(PLUGIN)
    monkeypatch.setitem(registry._components, "datasets", dict(registry._components["datasets"]))
    registry.load_plugin(plugin)
    config = aevlp.load_experiment("digits_gpr", [*runs.FAST[:2], "dataset=lights", "dataset.image_size=32",
                                                  "trainer.image_cache=ram", "trainer.num_workers=2"])  # fmt: skip
    data = registry.build("datasets", config.dataset)
    expected = images(loader(data.train, num_workers=0))
    start_method("forkserver")
    small, notes = cache_images(data, config)
    assert notes == []
    type(data.train.images).reads = 0
    assert torch.equal(images(loader(small.train)), expected)
    assert torch.equal(images(loader(small.train, num_workers=0)), expected)
    assert type(data.train.images).reads == 0  # the workers read them, this process took what they kept


@pytest.mark.parametrize("name", ["digits", "voc", "coco", "nuswide", "cub", "folder"])
def test_every_dataset_can_be_sent_to_a_worker(name, prepared, monkeypatch):
    monkeypatch.setenv("AEVLP_DATA", str(prepared))
    config = aevlp.load_experiment(f"{name}_an", runs.FAST[3:6] if name == "digits" else [])
    train = registry.build("datasets", config.dataset).train
    rows = _TrainSet(train.images, 32, True, 0)
    for key in ((1, 0), (2, len(train) - 1)):
        for found, expected in zip(pickle.loads(pickle.dumps(rows))[key], rows[key], strict=True):
            assert torch.equal(torch.as_tensor(found), torch.as_tensor(expected))


def test_images_that_cannot_be_sent_are_one_line(split, start_method, tmp_path):
    start_method("spawn")
    split.images.read = lambda row: row
    with pytest.raises(DataError, match=r"cannot be sent to worker processes .*lambda.*; or set trainer\.num_workers=0"):
        images(loader(split))


def test_a_spawned_worker_that_dies_at_its_start_is_not_waited_for(split, start_method, monkeypatch, capfd):
    start_method("spawn")
    multiprocessing.resource_tracker.ensure_running()
    multiprocessing.spawn.set_executable(shutil.which("false"))  # instead of Python
    handler = signal.getsignal(signal.SIGCHLD)
    large = Split(ArrayImages(np.zeros((300, 32, 32, 3), dtype=np.uint8)), np.zeros((300, 4), dtype=np.uint8), None)  # for a pipe
    try:
        with pytest.raises(WorkerDiedError, match="before it was ready"):
            images(loader(large))
    finally:
        multiprocessing.spawn.set_executable(sys.executable)
    assert signal.getsignal(signal.SIGCHLD) == handler


def test_where_memory_cannot_be_shared_the_images_are_kept_on_disk_and_this_is_said(monkeypatch, start_method):
    monkeypatch.delattr(os, "memfd_create")
    cases = (("fork", 2, image_cache._Memory), ("spawn", 0, image_cache._Memory), ("spawn", 2, image_cache._File))
    for method, count, kind in cases:
        start_method(method)
        config = runs.config("trainer.image_cache=ram", f"trainer.num_workers={count}")
        small, notes = cache_images(registry.build("datasets", config.dataset), config)
        assert type(small.train.images.store) is kind
        assert ["ram takes trainer.num_workers=0; the images are kept on disk" in note for note in notes] == [True] * (
            kind is image_cache._File
        )


@pytest.mark.parametrize("length", [60, 75, 76, 78, 100])
def test_a_long_temporary_folder_is_refused_before_workers_would_wait_for_ever(length, split, monkeypatch):
    short = Path(tempfile.mkdtemp(dir="/tmp"))
    folder = short / ("x" * (length - len(str(short)) - 1))
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.delitem(multiprocessing.current_process()._config, "tempdir", raising=False)
    try:
        if length < 76:  # on Linux, where such a name has 107 bytes at most, and the sockets take 32 of them
            assert torch.equal(images(loader(split)), images(loader(split, num_workers=0)))
        else:
            with pytest.raises(ConfigError, match=rf"TMPDIR={folder}: .* has {length} characters .*; set TMPDIR to a short one"):
                loader(split)
    finally:
        multiprocessing.current_process()._config.pop("tempdir", None)
        for cleaning in list(multiprocessing.util._finalizer_registry.values()):
            if str(folder) in str(cleaning._args):
                cleaning()  # now: at the end of Python, the folder has gone
        shutil.rmtree(short)


def test_signals_to_the_whole_group_leave_the_workers_alone(split):
    expected = images(loader(split, num_workers=0))
    batches = loader(split).epoch(1)
    found = [next(batches)]
    children = own_workers()
    assert len(children) == 2
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM):
        for process in children:
            process.send_signal(number)
    found += list(batches)
    assert torch.equal(torch.cat([batch.image for batch in found]), expected)


def test_a_signal_while_workers_begin_waits_for_the_main_process_and_is_not_lost(split, monkeypatch):
    begin, before = workers.DataLoader.__iter__, signal.pthread_sigmask(signal.SIG_BLOCK, [])

    def interrupted(self):
        signal.raise_signal(signal.SIGUSR1)
        assert stop.signal_number is None
        return begin(self)

    monkeypatch.setattr(workers.DataLoader, "__iter__", interrupted)
    with StopFlag() as stop:
        images(loader(split))
        assert stop.signal_number == signal.SIGUSR1
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before


def kill_a_worker():
    own_workers()[0].kill()
    time.sleep(60)  # cut short by torch, which raises from its handler of SIGCHLD


def test_a_killed_worker_ends_training_with_one_line_and_the_run_can_go_on(monkeypatch, capsys):
    with monkeypatch.context() as patch:
        runs.after_step(patch, 4, kill_a_worker)
        assert main([*COMMAND, "trainer.num_workers=2"]) == 1
    assert capsys.readouterr().err == (
        f"error: {WORKER_DIED}, most likely because memory ran out: make trainer.num_workers, trainer.batch_size or "
        "trainer.image_cache_mb smaller\n"
    )
    assert main(["--resume", "latest"]) == 0


def test_a_killed_worker_ends_evaluation_with_one_line(trained_run, monkeypatch, capsys):
    from aevlp.inference.trained import Scorer

    monkeypatch.setattr(Scorer, "logits", lambda self, images: kill_a_worker())
    assert main(["eval", str(trained_run), "--set", "trainer.num_workers=2"]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: {WORKER_DIED}, most likely because memory ran out: ")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("told", "advice"),
    [
        ("DataLoader worker (pid 7) is killed by signal: Killed. ", "memory ran out"),
        ("DataLoader worker (pid(s) 7, 8) exited unexpectedly", "memory ran out"),
        ("DataLoader worker (pid 7) exited unexpectedly with exit code 3. Details", "exit code 3; trainer.num_workers=0 shows"),
        ("DataLoader worker (pid 7) is killed by signal: Bus error. It is possible", "/dev/shm is full"),
    ],
)
def test_what_torch_says_of_a_dead_worker_becomes_advice(told, advice):
    with pytest.raises(WorkerDiedError, match=advice), workers.deaths_told():
        raise RuntimeError(told)


def test_other_errors_stay_what_they_are():
    for error in (RuntimeError("size mismatch"), DataError("DataLoader worker"), io.UnsupportedOperation("x")):
        with pytest.raises(type(error)) as raised, workers.deaths_told():
            raise error
        assert raised.value is error


def test_a_trial_whose_worker_died_may_be_tried_again(tmp_path):
    for message, may_pass in ((f"{WORKER_DIED}, most likely because memory ran out", True), ("the loss is not finite", False)):
        (tmp_path / child.OUTPUT).write_text(f"error: {message}\n")
        assert child.why(1, tmp_path) == child.Failure(message, may_pass)


def test_why_a_run_failed_is_one_line_whatever_it_told(tmp_path):
    (tmp_path / child.OUTPUT).write_text("error: of before\nepoch 1\nerror: no weights\nerror: no encoder either\n")
    assert child.why(1, tmp_path).reason == "no weights; no encoder either"
