"""A bar on the terminal for commands that go through many images, a line a minute elsewhere, and a clean stop of them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from aevlp.progress import Report, shown
from aevlp.training.signals import StopFlag


@contextlib.contextmanager
def progress_bar(title: str, total: int, remark: str = "") -> Iterator[Report]:
    """What to call with the number of images done; it raises RunStopped, with the remark, after a signal. It tells on stderr."""
    from aevlp.terminal import Terminal

    with StopFlag() as stop, shown(Terminal(stderr=True), title, total) as tell:

        def report(done: int, _: int = total, /) -> None:
            stop.check(remark)
            tell(done)

        yield report
