"""Arrays that worker processes read where they are, instead of each getting a copy."""

from __future__ import annotations

import mmap
import os
import weakref
from multiprocessing.context import get_spawning_popen
from multiprocessing.reduction import DupFd
from typing import Any

import numpy as np

from aevlp.system import memory_file


class SharedArray:
    """An array that nobody changes. Forked processes have it anyway; others that are started map the same memory.

    Elsewhere, and where a system has no files in memory (macOS), it is pickled like any other.
    """

    def __init__(self, array: np.ndarray):
        self.array = array
        self._descriptor: int | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        if get_spawning_popen() is None or not self.array.nbytes:
            return SharedArray, (self.array,)
        if self._descriptor is None:
            self._descriptor = memory_file("aevlp rows")
            if self._descriptor is None:
                return SharedArray, (self.array,)
            weakref.finalize(self, os.close, self._descriptor)
            os.truncate(self._descriptor, self.array.nbytes)
            # The one copy there is from now on is the shared one.
            shared = _mapped(self._descriptor, self.array.dtype, self.array.shape)
            shared[...] = self.array
            self.array = shared
        return _received, (DupFd(self._descriptor), self.array.dtype, self.array.shape)


def _mapped(descriptor: int, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    return np.frombuffer(mmap.mmap(descriptor, 0), dtype=dtype).reshape(shape)


def _received(handle: Any, dtype: np.dtype, shape: tuple[int, ...]) -> SharedArray:
    descriptor = handle.detach()
    try:
        return SharedArray(_mapped(descriptor, dtype, shape))
    finally:
        os.close(descriptor)
