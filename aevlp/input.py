"""Files a command reads that others made: regular ones only, so that a named pipe or a device never keeps it waiting."""

from __future__ import annotations

import errno
import os
import stat
from io import BufferedReader, TextIOWrapper
from pathlib import Path

_KINDS = (
    (stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a named pipe"), (stat.S_ISSOCK, "a socket"), (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)  # fmt: skip


class NotAFileError(OSError):
    """Something else than a regular file; the text goes on from its name."""

    def __str__(self) -> str:
        return str(self.strerror)


def open_file(path: str | Path) -> BufferedReader:
    """Open a regular file, or a link to one, for reading.

    Raises:
        NotAFileError: a folder, a named pipe, a socket or a device.
        OSError: absent, or not to be read by this user.
    """
    return open(path, "rb", opener=_open_regular)


def read_text(path: str | Path, encoding: str = "utf-8") -> str:
    """The text of a regular file; errors as of `open_file`, and UnicodeDecodeError."""
    with TextIOWrapper(open_file(path), encoding) as file:
        return file.read()


def require_file(path: str | Path) -> os.stat_result:
    """What the system knows of a regular file, without opening it; errors as of `open_file`."""
    found = os.stat(path)
    _require_regular(found, path)
    return found


def _open_regular(path: str, flags: int) -> int:
    require_file(path)  # before, because opening alone has effects on some devices
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)  # whatever took its place since does not wait either
    try:
        _require_regular(os.fstat(descriptor), path)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _require_regular(found: os.stat_result, path: str | Path) -> None:
    if not stat.S_ISREG(found.st_mode):
        kind = next((kind for test, kind in _KINDS if test(found.st_mode)), "something else")
        raise NotAFileError(errno.EINVAL, f"is {kind}, not a file", str(path))
