"""Running the jobs of a suite: each in a process of its own, some at a time; what has finished is not run again."""

from __future__ import annotations

import signal
import subprocess
import time
from collections import deque
from dataclasses import dataclass

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from aevlp.config.errors import AevlpError, in_one_line
from aevlp.config.loading import from_dict
from aevlp.machine import Machine
from aevlp.runs import child
from aevlp.runs.folder import RunFolder
from aevlp.runs.lock import look
from aevlp.suites.find import find_runs
from aevlp.suites.plan import Job
from aevlp.terminal import Terminal
from aevlp.text import duration
from aevlp.training.signals import RunStopped, StopFlag

POLL_SECONDS = 0.2
WAIT_SECONDS = 2.0  # for another process that is at the same run
STOP_SECONDS = 120.0


@dataclass
class _Running:
    job: Job
    process: subprocess.Popen[bytes]
    began: float


def run_jobs(jobs: list[Job], machine: Machine, console: Terminal) -> bool:
    """Finish every job that has not: `job.path` is its folder then, and `job.failure` is set where it failed.

    Returns:
        whether all were begun that could be: after three failures in a row for the same reason no further run is, as it would
        fail alike.

    Raises:
        RunStopped: after a signal, once every run has saved its state.
    """
    for note in find_runs(jobs):
        console.say(note, style="yellow")
    waiting = deque(job for job in jobs if job.run is None)
    if len(waiting) < len(jobs):
        console.print(f"{len(jobs) - len(waiting)} of {len(jobs)} runs have finished before")
    running: dict[int, _Running] = {}
    reasons: list[str | None] = []
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
               TimeRemainingColumn())  # fmt: skip
    signals = {name for job in jobs for name in job.config.trainer.stop_signals}
    with StopFlag(signals) as stop, Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("runs", total=len(waiting))

        def ended(job: Job, took: float | None = None) -> None:
            console.say(_outcome(job, took), style="red" if job.failure else "")
            reasons.append(job.failure)
            bar.advance(task)

        while waiting or running:
            if stop.signal_number is not None:
                _stop(running)
                raise RunStopped(stop.signal_number)
            if child.fail_alike(reasons):
                for job in waiting:
                    job.failure = child.GAVE_UP
                waiting.clear()
            pause = POLL_SECONDS
            for slot in range(machine.workers):
                if slot in running or not waiting:
                    continue
                job = waiting.popleft()
                try:
                    process = _begin(job, machine, slot)
                except (AevlpError, OSError) as error:
                    job.failure = in_one_line(error)
                    ended(job)
                    continue
                if process is not None:
                    running[slot] = _Running(job, process, time.monotonic())
                elif job.run is not None:  # another process has finished it meanwhile
                    ended(job)
                else:  # or is about to
                    waiting.append(job)
                    pause = WAIT_SECONDS
            bar.update(task, description=", ".join(_name(one.job) for one in running.values()))
            for slot, one in list(running.items()):
                code = one.process.poll()
                if code is None:
                    continue
                del running[slot]
                if code and one.job.path is not None and look(one.job.path)[0] == "running":
                    waiting.append(one.job)  # another suite began it at the same moment, and its process was the first
                else:
                    one.job.failure = None if code == 0 and one.job.run else _why(code, one.job)
                    ended(one.job, time.monotonic() - one.began)
            time.sleep(pause)
    return not child.fail_alike(reasons)


def _begin(job: Job, machine: Machine, slot: int) -> subprocess.Popen[bytes] | None:
    """Start or continue the run; None where it has finished meanwhile, or another process is at it."""
    find_runs([job])
    job.failure = None
    if job.run is not None or (job.path is not None and look(job.path)[0] == "running"):
        return None
    if job.path is None:
        values = job.config.to_dict()
        values["trainer"]["threads"] = machine.threads(job.config)
        folder = RunFolder.create(from_dict(values, "suite"))
        if job.data is not None:
            folder.write_fingerprint(job.data)
        job.path = folder.path
    return child.start(job.path, machine.environment(slot), RunFolder(job.path).moved(job.config))


def _why(code: int, job: Job) -> str:
    assert job.path is not None
    return child.why(code, job.path).reason


def _outcome(job: Job, took: float | None) -> str:
    time_taken = "" if took is None else f" ({duration(took)})"
    if job.failure is not None:
        where = "" if job.path is None else f"; see {job.path / child.OUTPUT}"
        return f"{_name(job)}: failed: {job.failure}{time_taken}{where}"
    run = job.run
    summary = {} if run is None else run.summary
    val = "val mAP" if summary.get("best/val_mAP_observed") is None else "val mAP (known labels)"
    figures = {val: summary.get("best/val_mAP"), "test mAP": summary.get("test/mAP")}
    told = [f"{name} {value:.2f}" for name, value in figures.items() if isinstance(value, int | float)]
    return f"{_name(job)}: {', '.join(told) or 'finished'}{time_taken}"


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
