"""What a run takes: over all its processes, and over all the times that it is continued."""

from __future__ import annotations

import os
import time
from types import SimpleNamespace

import pytest
import small_runs as runs
import torch

import aevlp
from aevlp.runs import checkpoints
from aevlp.training import cost as cost_module
from aevlp.training.cost import CPU_SECONDS, GPU_MEMORY, PEAK, SECONDS, Cost, cpu_seconds
from aevlp.training.run import resume
from aevlp.training.signals import RunStopped


class Clock:
    """Stands for the clock and the CPU time of a process, each a second further whenever it is looked at."""

    def __init__(self, patch):
        self.now = 0.0
        patch.setattr(cost_module, "time", SimpleNamespace(perf_counter=self.look))
        patch.setattr(cost_module, "cpu_seconds", lambda: 2 * self.look())

    def look(self):
        self.now += 1
        return self.now


def test_a_run_that_is_continued_adds_to_what_it_took_before(monkeypatch):
    clock = Clock(monkeypatch)
    with monkeypatch.context() as patch:
        runs.signal_after_step(patch, 2)
        runs.after_step(patch, 1, lambda: setattr(clock, "now", 1000.0))
        with pytest.raises(RunStopped):
            aevlp.train(runs.config())
    before = runs.newest(runs.only_run()).state()["cost"]
    assert before[SECONDS] > 990
    assert before[CPU_SECONDS] > 1980
    clock.now = 0.0  # of another process
    summary = resume(runs.only_run()).summary
    rows = runs.epoch_rows(runs.only_run())
    for name in (SECONDS, CPU_SECONDS):
        assert before[name] < rows[0][name] < rows[1][name] == summary[name] < before[name] + 100
    assert all(row[PEAK] >= before[PEAK] for row in rows)


def without_cost(patch):
    save = checkpoints.CheckpointStore.save
    patch.setattr(checkpoints.CheckpointStore, "save", lambda self, name, weights, state, **more: save(
        self, name, weights, {key: value for key, value in state.items() if key != "cost"}, **more
    ))  # fmt: skip


def test_of_a_run_that_an_older_version_began_no_time_is_told_as_a_part_of_it_would_be(monkeypatch):
    with monkeypatch.context() as patch:
        without_cost(patch)
        runs.signal_after_step(patch, 2)
        with pytest.raises(RunStopped):
            aevlp.train(runs.config())
    for epochs in (2, 3):
        summary = resume(runs.only_run(), epochs=epochs).summary
        assert not {SECONDS, CPU_SECONDS} & summary.keys()
        assert summary[PEAK] > 0


def test_a_cost_that_is_no_number_makes_a_damaged_checkpoint():
    with pytest.raises(ValueError, match="what it took is no number"):
        Cost().go_on({SECONDS: "long"})


def test_cpu_time_is_also_that_of_children_living_and_ended_and_counted_once():
    asks, answers = os.pipe()
    ends, goes = os.pipe()
    before = cpu_seconds()
    child = os.fork()
    if not child:
        while time.process_time() < 0.3:
            pass
        os.write(answers, b".")
        os.read(ends, 1)
        os._exit(0)
    os.read(asks, 1)
    living = cpu_seconds() - before
    os.write(goes, b".")
    os.waitpid(child, 0)
    ended = cpu_seconds() - before
    for end in (asks, answers, ends, goes):
        os.close(end)
    assert 0.28 <= living < 0.45  # /proc counts in hundredths
    assert 0.28 <= ended < 0.45


def test_memory_of_a_gpu_is_told_where_one_is_used(monkeypatch):
    assert GPU_MEMORY not in Cost().told()
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 3 * 2**30)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: None)
    took = Cost()
    assert took.told()[GPU_MEMORY] == 3072
    took.go_on({SECONDS: 5.0, CPU_SECONDS: 7.0, GPU_MEMORY: 4096.0, PEAK: 1e9})
    told = took.told()
    assert (told[GPU_MEMORY], told[PEAK]) == (4096.0, 1e9)
    assert told[CPU_SECONDS] >= 7
