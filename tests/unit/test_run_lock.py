"""A run under way is told from one that was stopped, failed or died, and looking does not disturb it."""

import fcntl
import json
import os
import resource
import signal
import socket
import struct
import sys

import pytest
import small_runs as runs
import without

import aevlp
from aevlp import system
from aevlp.runs import lock as run_lock
from aevlp.runs.collect import read_run
from aevlp.runs.lock import FILE_NAME, RunLock, look
from aevlp.training.run import resume
from aevlp.training.signals import RunStopped

HERE = socket.gethostname()
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells who holds a lock")


def in_another_process(do):
    """Whether `do()` is true there."""
    child = os.fork()
    if child == 0:
        os._exit(0 if do() else 1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.fixture
def holder(tmp_path):
    """Process id of another process that holds the lock, until it is killed."""
    ready, done = os.pipe()
    child = os.fork()
    if child == 0:
        lock = RunLock(tmp_path)
        os.write(done, b"x" if lock.take() else b"")
        signal.pause()
    os.close(done)
    assert os.read(ready, 1) == b"x"
    yield child
    try:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    except ProcessLookupError:
        pass


@linux
def test_a_lock_of_another_process_is_seen_and_left_alone_and_its_death_is_a_crash(tmp_path, holder):
    for _ in range(2):
        assert look(tmp_path) == ("running", HERE)
    assert not RunLock(tmp_path).take()
    assert look(tmp_path) == ("running", HERE)  # a refused attempt has not emptied the note
    os.kill(holder, signal.SIGKILL)
    os.waitpid(holder, 0)
    assert look(tmp_path) == ("crashed", HERE)


def test_to_look_from_the_process_that_holds_it_does_not_end_the_lock(tmp_path):
    lock = RunLock(tmp_path)
    assert lock.take()
    assert look(tmp_path) == ("running", HERE)
    assert look(tmp_path / "." / "..") == ("unfinished", None)
    assert in_another_process(lambda: not RunLock(tmp_path).take())
    lock.release("stopped")
    assert in_another_process(lambda: RunLock(tmp_path).take())


def test_on_a_full_disk_the_lock_is_taken_and_given_back_without_its_note(tmp_path):
    def on_a_full_disk():
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        lock = RunLock(tmp_path)
        taken = lock.take()
        lock.release("failed")
        return taken and lock._file is None

    assert in_another_process(on_a_full_disk)
    assert look(tmp_path) == ("unfinished", None)
    assert RunLock(tmp_path).take()


@linux
def test_looking_takes_nothing_so_a_run_that_starts_meanwhile_gets_its_lock(tmp_path, monkeypatch):
    RunLock(tmp_path).release()  # which nobody has taken: nothing happens
    lock = RunLock(tmp_path)
    assert lock.take()
    lock.release("failed")
    taken = []
    load = json.loads
    monkeypatch.setattr(json, "loads", lambda text: taken.append(in_another_process(RunLock(tmp_path).take)) or load(text))
    look(tmp_path)
    assert taken == [True]


def test_without_locks_a_run_goes_on_and_nobody_claims_to_know_how_it_stands(tmp_path, monkeypatch):
    without.locks(monkeypatch)
    first, second = RunLock(tmp_path), RunLock(tmp_path)
    assert first.take()
    assert second.take()
    assert look(tmp_path) == ("running", HERE)  # by this process itself
    read, write = os.pipe()
    assert in_another_process(lambda: os.write(write, str(_look_as_another(tmp_path)).encode()))
    assert os.read(read, 100).decode() == str(("unfinished", HERE))
    second.release("stopped")
    first.release("failed")
    assert look(tmp_path) == ("failed", HERE)


def _look_as_another(folder):
    run_lock._held.clear()  # which a process that was started anew has not
    return look(folder)


@pytest.mark.parametrize(
    ("note", "told"),
    [
        ('{"host": "elsewhere", "state": null}', ("unfinished", "elsewhere")),
        ('{"host": "elsewhere", "state": "stopped"}', ("stopped", "elsewhere")),
        ('{"host": 3, "state": {}}', ("unfinished", None)),
        ("", ("unfinished", None)),
        ("[1]", ("unfinished", None)),
        ("\x00\x00", ("unfinished", None)),
    ],
)
def test_notes_of_other_machines_and_versions_say_no_more_than_is_known(tmp_path, note, told):
    (tmp_path / FILE_NAME).write_text(note)
    assert look(tmp_path) == told


def test_a_run_says_how_it_ended(monkeypatch):
    seen = []
    with monkeypatch.context() as patch:
        runs.after_step(patch, 4, lambda: (seen.append(read_run(runs.only_run())), signal.raise_signal(signal.SIGTERM)))
        with pytest.raises(RunStopped):
            aevlp.train(runs.config())
    assert (seen[0].state, seen[0].problems[0]) == ("running", "not finished: 1 of 2 epochs, under way")
    run = read_run(runs.only_run())
    assert (run.state, run.problems[0]) == ("stopped", "not finished: 1 of 2 epochs, stopped by a signal")
    with monkeypatch.context() as patch:
        runs.after_step(patch, 5, runs.crash)
        with pytest.raises(runs.Crash):
            resume(run.path)
    assert read_run(run.path).state == "failed"
    resume(run.path)
    assert read_run(run.path).finished


@pytest.mark.parametrize(("platform", "form", "place"), [("linux", "hhqqi4x", 0), ("darwin", "qqihh", 3)])
def test_a_lock_is_asked_for_as_each_system_lays_its_answer_out(platform, form, place, tmp_path, monkeypatch):
    asked = []

    def answer(file, command, question):
        asked.append(struct.unpack(form, question))
        return struct.pack(form, *[fcntl.F_UNLCK if free and i == place else value for i, value in enumerate(asked[-1])])

    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(fcntl, "fcntl", answer)
    with (tmp_path / "lock").open("w") as file:
        for free in (False, True):
            assert system.has_record_lock(file) is not free
    assert asked == [tuple(fcntl.F_WRLCK if i == place else 0 for i in range(5))] * 2
