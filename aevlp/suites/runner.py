"""Running the jobs of a suite: each in a process of its own, some at a time; what has finished is not run again."""

from __future__ import annotations

import signal
import subprocess
import time
from collections import deque
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from aevlp.config.loading import from_dict
from aevlp.machine import Machine
from aevlp.suites.plan import Job, find_runs
from aevlp.tracking.base import duration
from aevlp.training import child
from aevlp.training.run_folder import RunFolder
from aevlp.training.signals import RunStopped, StopFlag

POLL_SECONDS = 0.2
STOP_SECONDS = 120.0


@dataclass
class _Running:
    job: Job
    process: subprocess.Popen[bytes]
    began: float


def run_jobs(jobs: list[Job], machine: Machine, console: Console) -> None:
    """Finish every job that has not: `job.path` is its folder then, and `job.failure` is set where it failed.

    Raises:
        RunStopped: after Ctrl-C or SIGTERM, once every run has saved its state.
    """
    find_runs(jobs)
    waiting = deque(job for job in jobs if job.run is None)
    found = len(jobs) - len(waiting)
    if found:
        console.print(f"{found} of {len(jobs)} runs have finished before", markup=False)
    running: dict[int, _Running] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with StopFlag() as stop, Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("runs", total=len(waiting))
        while waiting or running:
            if stop.signal_number is not None:
                _stop(running)
                raise RunStopped(stop.signal_number)
            for slot in range(machine.workers):
                if slot not in running and waiting:
                    running[slot] = _begin(waiting.popleft(), machine, slot)
            bar.update(task, description=", ".join(_name(one.job) for one in running.values()))
            for slot, one in list(running.items()):
                code = one.process.poll()
                if code is not None:
                    del running[slot]
                    console.print(_ended(one, code), style="red" if one.job.failure else "", markup=False, soft_wrap=True)
                    bar.advance(task)
            time.sleep(POLL_SECONDS)


def _begin(job: Job, machine: Machine, slot: int) -> _Running:
    if job.path is None:
        values = job.config.to_dict()
        values["trainer"]["threads"] = machine.threads(job.config)
        job.path = RunFolder.create(from_dict(values, "suite")).path
    job.failure = None
    return _Running(job, child.start(job.path, machine.environment(slot)), time.monotonic())


def _ended(one: _Running, code: int) -> str:
    job, took = one.job, duration(time.monotonic() - one.began)
    assert job.path is not None
    if code == 0 and (run := job.run) is not None:
        best, test = run.summary.get("best/val_mAP"), run.summary.get("test/mAP")
        figures = [f"{name} {value:.2f}" for name, value in (("val mAP", best), ("test mAP", test)) if value is not None]
        return f"{_name(job)}: {', '.join(figures)} ({took})"
    job.failure = child.why(code, job.path).reason
    return f"{_name(job)}: failed: {job.failure} ({job.path}/{child.OUTPUT})"


def _name(job: Job) -> str:
    return f"{job.title}, seed {job.config.seed}"


def _stop(running: dict[int, _Running]) -> None:
    for one in running.values():
        one.process.send_signal(signal.SIGTERM)
    until = time.monotonic() + STOP_SECONDS
    for one in running.values():
        try:
            one.process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            one.process.kill()
