"""A bar on the terminal for commands that go through many images, a line a minute elsewhere, and a clean stop of them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from aevlp.tracking.base import duration
from aevlp.training.signals import StopFlag

LINE_SECONDS = 60.0


@contextlib.contextmanager
def progress_bar(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """A function to call with the number of images done; it raises RunStopped after a signal.

    The bar is on stderr where that is a terminal, and leaves nothing behind; elsewhere, as in a log file, there is a line now
    and then.
    """
    from rich.progress import Progress

    from aevlp.terminal import Terminal

    console = Terminal(stderr=True)
    with StopFlag() as stop, Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=total)
        began = time.monotonic()
        told, there = began, 0

        def report(done: int) -> None:
            nonlocal told, there
            stop.check()
            bar.update(task, completed=done)
            there = there or done  # what was done before took no time
            now = time.monotonic()
            if not console.is_terminal and now - told >= LINE_SECONDS:
                told = now
                left = f", about {duration((now - began) / (done - there) * (total - done))} left" if done > there else ""
                console.say(f"{title}: {done} of {total}{left}")

        yield report
