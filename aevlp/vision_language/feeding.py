"""What an encoder is fed with: images decoded and cut by threads while it computes, and views put together to batches."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

Item = TypeVar("Item")
Result = TypeVar("Result")
BothWays = tuple[Tensor, Tensor]
"""Views as they are, and mirrored."""
AHEAD = 4  # images a thread that are cut and wait: of 17 views 2.5 MB each, and as much mirrored


def ahead(function: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Generator[Result]:
    """`function` of each item, in order, computed by `workers` threads as the results are asked for; by none, one by one.

    Threads, because Pillow and torch let go of Python's lock while they decode and resize. An error is raised in its turn.
    """
    if workers == 0:
        yield from map(function, items)
        return
    # One thread of torch in each: else every worker keeps as many beside it as there are cores.
    pool, waiting = ThreadPoolExecutor(workers, "views", lambda: torch.set_num_threads(1)), deque[Future[Result]]()
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


def both_ways(views: Tensor, mirrored: bool) -> BothWays:
    """Views (V,3,S,S), and their mirror images, for which the first stand where nobody asks for them.

    Mirrored where they are cut and not where they are put together: by many threads instead of by one.
    """
    return views, views.flip(-1) if mirrored else views


def put_together(batch: list[Views], size: int, *, pinned: bool) -> Tensor:
    """uint8 (size,3,S,S), channels-last: views in order, filled up with zeros; `pinned` for copies that nobody waits for."""
    channels, height, width = batch[0].pixels.shape[1:]
    pixels = torch.empty(size, height, width, channels, dtype=torch.uint8, pin_memory=pinned).permute(0, 3, 1, 2)
    place = 0
    for block in batch:
        pixels[place : place + len(block)] = block.pixels
        place += len(block)
    pixels[place:] = 0
    return pixels


class Event(Protocol):
    """`torch.cuda.Event`, or what stands in for it."""

    def record(self) -> None:
        """Remember what the device has been told to do."""
        ...

    def synchronize(self) -> None:
        """Wait until that is done."""
        ...


class Fetched:
    """A tensor under way from its device, without waiting for what the device is told to do later.

    A plain `.cpu()` would: it stands behind everything in the device's queue, the next batch included.
    """

    def __init__(self, tensor: Tensor, event: Callable[[], Event] | None):
        self._host, self._event = tensor.to("cpu", non_blocking=event is not None), None
        if event is not None:
            self._event = event()
            self._event.record()

    def wait(self) -> np.ndarray:
        """The tensor's values."""
        if self._event is not None:
            self._event.synchronize()
        return self._host.numpy()


def encoded(
    batches: Iterable[list[Views]], encode: Callable[[list[Views]], Tensor], event: Callable[[], Event] | None
) -> Iterator[tuple[list[Views], np.ndarray]]:
    """Batches with their embeddings, one batch late where the device works by itself: the next is prepared meanwhile."""
    waiting: deque[tuple[list[Views], Fetched]] = deque()
    for batch in batches:
        waiting.append((batch, Fetched(encode(batch), event)))
        if len(waiting) > int(event is not None):
            done, embeddings = waiting.popleft()
            yield done, embeddings.wait()
    for done, embeddings in waiting:
        yield done, embeddings.wait()
