"""What an encoder is fed with: images decoded and cut by threads while it computes, and views put together to batches."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeVar

from torch import Tensor

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


@dataclass
class Views:
    """Views that follow each other within a part of an image's views, and wait for their embeddings."""

    part: int
    row: int
    first: int
    pixels: Tensor
    mirrored: bool

    def __len__(self) -> int:
        return len(self.pixels)

    def split(self, count: int) -> tuple[Views, Views]:
        """The first `count`, and the others."""
        return (
            replace(self, pixels=self.pixels[:count]),
            replace(self, first=self.first + count, pixels=self.pixels[count:]),
        )


def in_batches(views: Iterable[Views], size: int) -> Iterator[list[Views]]:
    """Views in their order, `size` at a time."""
    batch: list[Views] = []
    room = size
    for block in views:
        while len(block) >= room:
            head, block = block.split(room)
            yield [*batch, head]
            batch, room = [], size
        if len(block):
            batch.append(block)
            room -= len(block)
    if batch:
        yield batch
