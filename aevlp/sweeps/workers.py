"""How a trial's runs are carried out: each in a process of its own, or in this one."""

from __future__ import annotations

import signal
import subprocess
import time
from typing import Any

from optuna.exceptions import UpdateFinishedTrialError

from aevlp.config.errors import AevlpError, CheckpointError, ConfigError, in_one_line
from aevlp.runs import child
from aevlp.runs.folder import RunFolder
from aevlp.sweeps.trial import NotMeasuredError, Outcome, Trial
from aevlp.tracking.base import Tracker
from aevlp.training.signals import RunStopped

LOCK_SECONDS = 120.0
STOP_SECONDS = 120.0


class ProcessWorker:
    """One trial, each of its runs in a process of its own; `poll` until it returns an outcome."""

    def __init__(self, trial: Trial, environment: dict[str, str]):
        self.trial, self.environment = trial, environment
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: RunFolder | None = None
        self._waits_until = 0.0
        self._kill_at: float | None = None
        self._seen: tuple[int, int] | None = None
        self.stopping = self._is_lost = False

    def poll(self) -> Outcome | None:
        """Go on; an outcome once the trial has ended."""
        if self._is_lost:
            return Outcome("lost") if self._process is None or self._code() is not None else None
        try:
            self.trial.sign()
            return self._go_on()
        except (ConfigError, NotMeasuredError) as error:
            return Outcome("failed", reason=in_one_line(error))
        except UpdateFinishedTrialError:  # silent for too long, this process was taken for dead
            self._is_lost = True
            self._terminate()
            return None

    def _go_on(self) -> Outcome | None:
        if self._folder is None:
            self._folder = None if self.stopping else self.trial.begin()
            self._waits_until = time.time() + LOCK_SECONDS
            if self._folder is None:
                return Outcome("stopped") if self.stopping else self.trial.result()
        return self._start() if self._process is None else self._watch()

    def _start(self) -> Outcome | None:
        assert self._folder is not None
        if self.stopping:
            return Outcome("stopped")
        try:  # the run may still be held by a process that an earlier sitting left, and that is saving
            self._folder.lock()
        except CheckpointError as error:
            return None if time.time() < self._waits_until else Outcome("crashed", reason=in_one_line(error))
        self._folder.unlock()
        self._process = child.start(self._folder.path, self.environment, self.trial.moved(self._folder))
        return None

    def _watch(self) -> Outcome | None:
        assert self._process is not None
        assert self._folder is not None
        code = self._code()  # before reading: after the end there is nothing new to come
        self._read_rows()
        if code is None:
            if self.trial.pruned:
                self._terminate()
            return None
        path = self._folder.path
        if self.trial.pruned:
            return Outcome("pruned", reason=f"epoch {self.trial.epoch}")
        if code == 0:
            self.trial.finish_run(path)
            self._process = self._folder = self._seen = None
            return None
        if self.stopping:
            return Outcome("stopped")
        failure = child.why(code, path)
        return Outcome("crashed" if failure.may_pass else "failed", reason=failure.reason)

    def _code(self) -> int | None:
        """Exit code of the run, which is ended where it does not stop in time; None while it goes on."""
        assert self._process is not None
        code = self._process.poll()
        if code is None and self._kill_at is not None and time.time() > self._kill_at:
            self._process.kill()
        return code

    def _read_rows(self) -> None:
        assert self._folder is not None
        path = self._folder.path / "metrics.jsonl"
        try:
            status = path.stat()
        except FileNotFoundError:
            return
        if (status.st_size, status.st_mtime_ns) == self._seen:
            return
        self._seen = (status.st_size, status.st_mtime_ns)
        for row in self.trial.epoch_rows(self._folder.path):
            if not self.trial.pruned:
                self.trial.report(row)

    def stop(self) -> None:
        """Ask the run to save and stop."""
        self.stopping = True
        self._terminate()

    def _terminate(self) -> None:
        if self._process is not None and self._process.poll() is None and self._kill_at is None:
            self._kill_at = time.time() + STOP_SECONDS
            self._process.send_signal(signal.SIGTERM)


class _Reporter(Tracker):
    """Hands each epoch of a run in this process to its trial, and stops the run where it is to be given up."""

    def __init__(self, trial: Trial):
        self.trial = trial

    def log(self, metrics: dict[str, Any]) -> None:
        """Report the rows that close an epoch, and that this process lives: `poll` returns only once the trial is over."""
        self.trial.sign()
        if "train/loss" in metrics:
            self.trial.report(metrics)
            if self.trial.pruned:
                raise RunStopped(signal.SIGTERM)


class InProcessWorker:
    """One trial in this process; `poll` returns once it is over."""

    def __init__(self, trial: Trial):
        self.trial = trial
        self.stopping = False

    def poll(self) -> Outcome | None:
        """Carry out all runs."""
        from aevlp.training.run import resume

        try:
            while (folder := self.trial.begin()) is not None:
                for row in self.trial.epoch_rows(folder.path):  # of an earlier attempt
                    self.trial.report(row)
                resume(folder.path, trackers=[_Reporter(self.trial)], places=self.trial.moved(folder))
                self.trial.finish_run(folder.path)
            return self.trial.result()
        except UpdateFinishedTrialError:
            return Outcome("lost")
        except RunStopped as stopped:
            if self.trial.pruned:
                return Outcome("pruned", reason=f"epoch {self.trial.epoch}")
            signal.raise_signal(stopped.exit_code - 128)  # the study's own flag sees it too
            return Outcome("stopped")
        except (AevlpError, NotMeasuredError) as error:
            return Outcome("failed", reason=in_one_line(error))
        except MemoryError as error:
            return Outcome("crashed", reason=f"out of memory: {error}")

    def stop(self) -> None:
        """Nothing runs between two calls of `poll`."""
        self.stopping = True
