"""Memory of the whole process tree."""

from __future__ import annotations

import resource
import sys

import psutil


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
