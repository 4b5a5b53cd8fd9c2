"""How long a run waits for a server that may never answer."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator


class Patience:
    """One budget of seconds for all waits of a run, those of its start and of its end together."""

    def __init__(self, seconds: float) -> None:
        self.left = seconds

    @contextlib.contextmanager
    def wait(self, most: float = float("inf"), *, keep: float = 0.0, more: float = 0.0) -> Iterator[float]:
        """The seconds that a wait may take, which then count.

        Args:
            most: of the budget, for this wait.
            keep: of the budget, for later waits.
            more: allowed beyond the budget, and used first: for a server that answers and has much to take.
        """
        began = time.monotonic()
        try:
            yield max(0.0, min(most, self.left - keep)) + more
        finally:
            self.left -= max(0.0, time.monotonic() - began - more)
