"""The lock of a run folder: held while the run is under way, and afterwards a note of how it ended."""

from __future__ import annotations

import contextlib
import json
import socket
import weakref
from pathlib import Path
from typing import IO, Any

from aevlp.system import has_record_lock, take_record_lock

FILE_NAME = ".lock"
_held: weakref.WeakSet[RunLock] = weakref.WeakSet()


class RunLock:
    """A POSIX lock on `.lock` in a run folder; it ends with the process, and on NFS holds between machines."""

    def __init__(self, folder: Path):
        self._path = folder / FILE_NAME
        self._file: IO[Any] | None = None
        self._is_locked = False  # on a file system without locks, held all the same

    def take(self) -> bool:
        """Take it for this process; False where another has it. OSError where the folder is not writable."""
        # "w" would empty the note of whoever has it; and what a full disk does not take must not wait in a buffer, which
        # closing the file would try to write again.
        file: IO[Any] = self._path.open("ab+", buffering=0)
        taken = take_record_lock(file)
        if taken is False:
            file.close()
            return False
        self._file, self._is_locked = file, taken is True
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
            self._file.write(json.dumps({"host": socket.gethostname(), "state": state, "locked": self._is_locked}).encode())

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
            held = has_record_lock(file)
            note = _parse(file.read())
    except (OSError, UnicodeDecodeError):
        return "unfinished", None
    host = note.get("host") if isinstance(note.get("host"), str) else None
    if held:
        return "running", host
    if note.get("state") in ("stopped", "failed"):
        return note["state"], host
    # A lock of another machine is seen from here only on some file systems.
    told = held is False and note.get("locked", True) and host == socket.gethostname()
    return ("crashed" if told else "unfinished"), host


def _parse(text: str) -> dict[str, Any]:
    try:
        note = json.loads(text)
    except ValueError:  # older versions left it empty
        return {}
    return note if isinstance(note, dict) else {}
