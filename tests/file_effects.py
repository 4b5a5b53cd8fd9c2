"""Everything a piece of code does to the files below a folder, counted, so that a test can step in at any of it.

An effect is a call that changes files: a file made or emptied by opening it, a write, a cut, a rename, a link, a removal,
a folder made or removed, an fsync. Files that Python opens for writing are opened as `_Raw`, below Python's buffers, so a
write is what the system would be asked for. What C++ or Rust opens by itself (pyarrow, SQLite) is not seen.
"""

from __future__ import annotations

import builtins
import contextlib
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

_open, _fsync, _pwrite, _os_open = io.open, os.fsync, os.pwrite, os.open
# Each with the positions of the paths among its arguments.
_BY_PATH = {"replace": (0, 1), "rename": (0, 1), "link": (1,), "symlink": (1,), "unlink": (0,), "remove": (0,), "mkdir": (0,),
            "rmdir": (0,), "truncate": (0,)}  # fmt: skip
_BY_DESCRIPTOR = ("write", "pwrite", "fsync", "ftruncate")


class Effects:
    """Effects below some folders. `act(number, name, half)` is called before each, counted from 1.

    `half()`, where the effect writes content, writes its first half; else it is None.
    """

    def __init__(self, folders: list[Path], act: Callable[[int, str, Callable[[], Any] | None], None] = lambda *_: None):
        self.folders, self.act = [os.path.realpath(folder) for folder in folders], act
        self.names: list[str] = []

    def before(self, name: str, path: Any, half: Callable[[], Any] | None = None, folder: int | None = None) -> None:
        """To be called before an effect on `path`, which may be a descriptor, or relative to one."""
        if isinstance(path, int):
            path = os.readlink(f"/proc/self/fd/{path}")
        elif folder is not None:
            path = os.path.join(os.readlink(f"/proc/self/fd/{folder}"), path)
        path = os.path.abspath(os.fspath(path))
        root = next((root for root in self.folders if path == root or path.startswith(f"{root}/")), None)
        if root is not None:
            self.names.append(f"{name} {os.path.relpath(path, root)}")
            self.act(len(self.names), self.names[-1], half)


@contextlib.contextmanager
def watched(effects: Effects) -> Iterator[Effects]:
    """Route every effect of this process past `effects`."""
    before = {name: getattr(os, name) for name in (*_BY_PATH, *_BY_DESCRIPTOR, "open")}
    for name, positions in _BY_PATH.items():
        setattr(os, name, _by_path(effects, name, before[name], positions))
    for name in _BY_DESCRIPTOR:
        setattr(os, name, _by_descriptor(effects, name, before[name]))
    os.open = _opening(effects)
    io.open = builtins.open = _file_opening(effects)
    try:
        yield effects
    finally:
        for name, function in before.items():
            setattr(os, name, function)
        io.open = builtins.open = _open


def _by_path(effects: Effects, name: str, real: Any, positions: tuple[int, ...]) -> Any:
    def call(*arguments: Any, **options: Any) -> Any:
        effects.before(name, arguments[positions[-1]], folder=options.get("dir_fd"))
        return real(*arguments, **options)

    return call


def _by_descriptor(effects: Effects, name: str, real: Any) -> Any:
    def call(descriptor: int, *arguments: Any) -> Any:
        half = None
        if name in ("write", "pwrite"):
            content, *rest = arguments
            half = lambda: real(descriptor, bytes(content)[: len(content) // 2], *rest)  # noqa: E731
        effects.before(name, descriptor if isinstance(descriptor, int) else descriptor.fileno(), half)
        return real(descriptor, *arguments)

    return call


def _changes(path: Any, flags: int) -> bool:
    return bool(flags & os.O_TRUNC) or (bool(flags & os.O_CREAT) and not os.path.exists(path))


def _opening(effects: Effects) -> Any:
    def call(path: Any, flags: int, *arguments: Any, **options: Any) -> int:
        if not isinstance(path, int) and _changes(path, flags):
            effects.before("open", path, folder=options.get("dir_fd"))
        return _os_open(path, flags, *arguments, **options)

    return call


def _file_opening(effects: Effects) -> Any:
    def call(file: Any, mode: str = "r", buffering: int = -1, encoding: str | None = None, errors: str | None = None,
             newline: str | None = None, closefd: bool = True, opener: Any = None) -> Any:  # fmt: skip
        if isinstance(file, int) or opener is not None or not set(mode) & set("wax+"):
            return _open(file, mode, buffering, encoding, errors, newline, closefd, opener)
        if "w" in mode or not os.path.exists(file):
            effects.before("open", file)
        raw = _Raw(file, mode.replace("b", "").replace("t", ""))
        raw.effects = effects
        if buffering == 0:
            return raw
        buffered = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, encoding or "utf-8", errors, newline)

    return call


class _Raw(io.FileIO):
    effects: Effects

    def write(self, content: Any) -> int:
        content = bytes(content)
        self.effects.before("write", self.name, lambda: super(_Raw, self).write(content[: len(content) // 2]))
        return super().write(content)

    def truncate(self, size: int | None = None) -> int:
        self.effects.before("truncate", self.name)
        return super().truncate(size)
