"""Stopping cleanly: a signal asks the loop to save and stop; the second Ctrl-C or SIGTERM ends at once."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterable
from types import FrameType

from aevlp import ranks
from aevlp.config.errors import AevlpError
from aevlp.config.schema import STOP_SIGNALS

ECHO_SECONDS = 2.0  # within which a SIGTERM is the one before it, on another way
KEPT = "what was encoded is kept, and the same command goes on from there"


class RunStopped(AevlpError):
    """A run was stopped by a signal after its state was saved. Exit code 128 + its number, such as 143 for SIGTERM.

    `remark` is what else the user should know, such as `KEPT`.
    """

    def __init__(self, signal_number: int, remark: str = ""):
        super().__init__(f"stopped by {signal.Signals(signal_number).name}" + (f"; {remark}" if remark else ""))
        self.signal_number = signal_number
        self.exit_code = 128 + signal_number


class StopFlag:
    """Context manager that catches signals in the main thread; `check()` raises once one has come.

    These are SIGINT, SIGTERM and those of `more` (see `trainer.stop_signals`) that are not ignored, as SIGHUP is under nohup.

    The handler only sets a flag: saving inside a handler would run in the middle of an optimiser step. `signal_number` is
    what came to this rank; ranks stop together, at the point where one after the other asked `came()` or `check()`.
    """

    signal_number: int | None = None
    _urged: float | None = None  # when the user or the system first said so

    def __init__(self, more: Iterable[str] = STOP_SIGNALS):
        self._more = [signal.Signals[f"SIG{name}"] for name in more]

    def __enter__(self) -> StopFlag:
        """Install the handlers, where this thread may."""
        self._before = {}
        if threading.current_thread() is threading.main_thread():
            heard = [number for number in self._more if signal.getsignal(number) != signal.SIG_IGN]
            for number in (signal.SIGINT, signal.SIGTERM, *heard):
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        """Restore the handlers."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if number in (signal.SIGINT, signal.SIGTERM):
            # The others say no more when they come twice: a lost terminal sends SIGHUP by the shell and by the kernel, and
            # Slurm sends SIGTERM where a job that was warned still saves. It signals torchrun and its ranks, to which torchrun
            # hands it on: that is one SIGTERM.
            now = time.monotonic()
            if self._urged is not None and (number == signal.SIGINT or now - self._urged > ECHO_SECONDS):
                os._exit(128 + number)
            self._urged = now if self._urged is None else self._urged
        if self.signal_number is None:
            self.signal_number = number

    def came(self) -> bool:
        """Collective. Whether a signal has come to any rank."""
        return ranks.largest(self.signal_number or 0) > 0

    def check(self, remark: str = "") -> None:
        """Collective. Raise RunStopped, with the remark, if a signal has come to any rank."""
        number = ranks.largest(self.signal_number or 0)
        if number:
            raise RunStopped(number, remark)

    def check_alone(self) -> None:
        """Raise RunStopped if a signal has come to this rank, where the others are not at the same point."""
        if self.signal_number is not None:
            raise RunStopped(self.signal_number)
