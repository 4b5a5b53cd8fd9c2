"""The lock of a run folder: held while the run is under way, and afterwards a note of how it ended."""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import socket
import struct
import sys
import weakref
from pathlib import Path
from typing import Any

FILE_NAME = ".lock"
_FLOCK = "hhqqi4x"  # Linux's struct flock: type, whence, start, length, process
_held: weakref.WeakSet[RunLock] = weakref.WeakSet()


class RunLock:
    """A POSIX lock on `.lock` in a run folder; it ends with the process, and on NFS holds between machines."""

    def __init__(self, folder: Path):
        self._path = folder / FILE_NAME
        self._file: io.TextIOWrapper | None = None

    def take(self) -> bool:
        """Take it for this process; False where another has it. OSError where the folder is not writable."""
        file = self._path.open("a+", encoding="utf-8")  # "w" would empty the note of whoever has it
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # unlike flock, not inherited by the data workers
        except OSError:
            file.close()
            return False
        self._file = file
        _held.add(self)
        self._note(None)
        return True

    def release(self, state: str | None = None) -> None:
        """Give it back, with a note of how the run ended. Nothing happens where it is not held."""
        if self._file is None:
            return
        self._note(state)
        self._file.close()
        self._file = None
        _held.discard(self)

    def _note(self, state: str | None) -> None:
        assert self._file is not None
        with contextlib.suppress(OSError):  # a full disk takes no note, and the lock holds all the same
            self._file.truncate(0)
            self._file.write(json.dumps({"host": socket.gethostname(), "state": state}))
            self._file.flush()

    def is_of(self, folder: Path) -> bool:
        """Whether this is the lock of a folder."""
        return self._path.parent.resolve() == folder.resolve()


def look(folder: Path) -> tuple[str, str | None]:
    """How a run without a summary stands, without touching its lock.

    Returns:
        "running", held by a living process; "stopped" by a signal, or "failed", as its process noted; "crashed", its process
        is gone without a note; "unfinished", which cannot be told from here. And the machine it was last on, where known.
    """
    # To close the file would end the lock, were it this process that holds it.
    if any(lock.is_of(folder) for lock in list(_held)):
        return "running", socket.gethostname()
    try:
        with (folder / FILE_NAME).open(encoding="utf-8") as file:
            held = _is_held(file)
            note = _parse(file.read())
    except (OSError, UnicodeDecodeError):
        return "unfinished", None
    host = note.get("host") if isinstance(note.get("host"), str) else None
    if held:
        return "running", host
    if note.get("state") in ("stopped", "failed"):
        return note["state"], host
    # A lock of another machine is seen from here only on some file systems, and not at all but on Linux.
    return ("crashed" if host == socket.gethostname() and sys.platform == "linux" else "unfinished"), host


def _is_held(file: io.TextIOWrapper) -> bool:
    if sys.platform != "linux":
        return False
    # F_GETLK asks and takes nothing: a run that starts at this moment still gets its lock.
    asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    answer = fcntl.fcntl(file, fcntl.F_GETLK, asked)
    return bool(struct.unpack(_FLOCK, answer)[0] != fcntl.F_UNLCK)


def _parse(text: str) -> dict[str, Any]:
    try:
        note = json.loads(text)
    except ValueError:  # older versions left it empty
        return {}
    return note if isinstance(note, dict) else {}
