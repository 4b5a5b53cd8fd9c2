"""What a run takes: time of its processes, time by the clock and memory, over all the times that it is begun or continued."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Mapping
from typing import Any

import psutil
import torch

from aevlp import ranks
from aevlp.reading import number

SECONDS, CPU_SECONDS, GPU_MEMORY = "perf/seconds", "perf/cpu_seconds", "perf/gpu_memory_peak_mb"
PEAK, VIEWS = "perf/memory_peak_mb", "perf/clip_images_encoded"


class Cost:
    """Counts from where it is made. What was lost with a process that was killed is not counted."""

    def __init__(self) -> None:
        self._began, self._cpu_began = time.perf_counter(), cpu_seconds()
        self._before: dict[str, float] = {}
        self._of_all = True  # of the run, and not only of what an older version, which did not count, left to do
        if torch.cuda.is_initialized():  # an earlier run of this process
            torch.cuda.reset_peak_memory_stats()

    def go_on(self, before: Mapping[str, Any] | None) -> None:
        """Add what `told` said in an earlier process of the run; None where an older version did not ask.

        Raises:
            ValueError: that is something else.
        """
        self._before = dict(before or {})
        self._of_all = SECONDS in self._before
        if any(number(value) is None for value in self._before.values()):
            raise ValueError("what it took is no number")

    def told(self, views: int = 0) -> dict[str, float]:
        """Collective. Seconds are of all ranks' processes and their loaders, memory is that of this rank.

        Time is left out where it is not known of all of the run, GPU memory where no GPU is used.

        Args:
            views: that this process has encoded, counted from where this was made.
        """
        cpu = float(ranks.add_up(torch.tensor(cpu_seconds() - self._cpu_began, dtype=torch.float64)))
        found = {PEAK: peak_memory_mb()}
        if torch.cuda.is_initialized():
            found[GPU_MEMORY] = torch.cuda.max_memory_allocated() / 2**20
        found = {name: max(value, self._before.get(name, 0.0)) for name, value in found.items()}
        if self._of_all:
            passed = {SECONDS: time.perf_counter() - self._began, CPU_SECONDS: cpu}
            found |= {name: value + self._before.get(name, 0.0) for name, value in passed.items()}
        return found | {VIEWS: int(ranks.add_up(torch.tensor(views)) + self._before.get(VIEWS, 0))}


def cpu_seconds() -> float:
    """CPU time of this process, and of its children, living or ended, user and system."""
    total = sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    for child in psutil.Process().children(recursive=True):
        try:
            times = child.cpu_times()
        except psutil.NoSuchProcess:
            continue  # it ended between the two calls
        total += times.user + times.system + times.children_user + times.children_system
    return total


def peak_memory_mb() -> float:
    """Peak resident memory of this process plus what its children hold now, in MB (2^20 bytes)."""
    children = 0
    for child in psutil.Process().children(recursive=True):
        try:
            children += child.memory_info().rss
        except psutil.NoSuchProcess:
            continue  # it ended between the two calls
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit + children) / 2**20
