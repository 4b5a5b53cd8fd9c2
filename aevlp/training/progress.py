"""A bar on the terminal for commands that go through many images, and a clean stop of them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from aevlp.training.signals import StopFlag


@contextlib.contextmanager
def progress_bar(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """A function to call with the number of images done; it raises RunStopped after a signal.

    The bar is on stderr, only where that is a terminal, and leaves nothing behind.
    """
    from rich.progress import Progress

    from aevlp.terminal import Terminal

    console = Terminal(stderr=True)
    with StopFlag() as stop, Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=total)

        def report(done: int) -> None:
            stop.check()
            bar.update(task, completed=done)

        yield report
