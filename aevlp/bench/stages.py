"""A stopwatch for the stages of a step."""

from __future__ import annotations

import contextlib
import time
from collections import defaultdict
from collections.abc import Iterator

import torch


class Stopwatch:
    """Seconds by stage, summed up."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    @contextlib.contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Add the time of the block to `stage`, work queued on a GPU included."""
        wait()
        began = time.perf_counter()
        yield
        wait()
        self.seconds[stage] += time.perf_counter() - began

    def per(self, count: int) -> dict[str, float]:
        """Seconds by stage divided by `count`; starts from zero again."""
        result = {stage: seconds / count for stage, seconds in self.seconds.items()}
        self.seconds.clear()
        return result


def wait() -> None:
    """Until a GPU has done all that it was told to, where there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
