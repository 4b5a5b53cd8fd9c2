"""Stopping cleanly: the first Ctrl-C or SIGTERM asks the loop to save and stop, the second ends at once."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType

from aevlp import ranks
from aevlp.config.errors import AevlpError


class RunStopped(AevlpError):
    """A run was stopped by a signal after its state was saved. Exit code 130 (Ctrl-C) or 143 (SIGTERM)."""

    def __init__(self, signal_number: int):
        super().__init__(f"stopped by {signal.Signals(signal_number).name}")
        self.exit_code = 128 + signal_number


class StopFlag:
    """Context manager that catches SIGINT and SIGTERM in the main thread; `check()` raises once one has come.

    The handler only sets a flag: saving inside a handler would run in the middle of an optimiser step. `signal_number` is
    what came to this rank; ranks stop together, at the point where one after the other asked `came()` or `check()`.
    """

    signal_number: int | None = None

    def __enter__(self) -> StopFlag:
        """Install the handlers, where this thread may."""
        self._before = {}
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        """Restore the handlers."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.signal_number is not None:
            os._exit(128 + number)
        self.signal_number = number

    def came(self) -> bool:
        """Collective. Whether a signal has come to any rank."""
        return ranks.largest(self.signal_number or 0) > 0

    def check(self) -> None:
        """Collective. Raise RunStopped if a signal has come to any rank."""
        number = ranks.largest(self.signal_number or 0)
        if number:
            raise RunStopped(number)

    def check_alone(self) -> None:
        """Raise RunStopped if a signal has come to this rank, where the others are not at the same point."""
        if self.signal_number is not None:
            raise RunStopped(self.signal_number)
