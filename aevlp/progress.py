"""How far a long job is: a bar on a terminal, and elsewhere, as in a log file, a line now and then."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

from aevlp.text import duration

if TYPE_CHECKING:
    from aevlp.terminal import Terminal

LINE_SECONDS = 60.0


class Report(Protocol):
    """Told how much is done, and by some also of how much."""

    def __call__(self, done: int, total: int = ..., /) -> None:
        """Tell it."""


@contextlib.contextmanager
def shown(
    console: Terminal, title: str, total: int, *columns: Any, say: Callable[[int, int, float], str] | None = None
) -> Iterator[Report]:
    """What to call with the number that is done.

    The bar leaves nothing behind. Its columns are rich's own where none are given; `say` words what a line tells of what is done,
    of how much, and at how much a second: by default the time that is left.
    """
    from rich.progress import Progress

    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=total)
        began = told = time.monotonic()
        there = 0

        def report(done: int, _: int = total, /) -> None:
            nonlocal told, there
            bar.update(task, completed=done)
            there = there or done  # what was done before took no time
            now = time.monotonic()
            if not console.is_terminal and now - told >= LINE_SECONDS:
                told = now
                rate = (done - there) / max(now - began, 1e-9)
                console.say(f"{title}: {(say or _time_left)(done, total, rate)}")

        yield report


def _time_left(done: int, total: int, rate: float) -> str:
    return f"{done} of {total}" + (f", about {duration((total - done) / rate)} left" if rate else "")
