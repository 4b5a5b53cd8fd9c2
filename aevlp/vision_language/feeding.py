"""Work that runs ahead of an encoder: images are decoded and cut by threads while it computes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
AHEAD = 4  # images a thread that are cut and wait: of 17 views 2.5 MB each


def ahead(function: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Generator[Result]:
    """`function` of each item, in order, computed by `workers` threads as the results are asked for; by none, one by one.

    Threads, because Pillow and torch let go of Python's lock while they decode and resize. An error is raised in its turn.
    """
    if workers == 0:
        yield from map(function, items)
        return
    pool, waiting = ThreadPoolExecutor(workers, "views"), deque[Future[Result]]()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > AHEAD * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
