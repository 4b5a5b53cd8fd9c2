"""For tests of other systems and file systems: takes away what they lack."""

from __future__ import annotations

import errno
import io
import os
import stat
from typing import Any


def refuse(code: int) -> Any:
    """A function that fails with an error number, whatever it is given."""

    def call(*_: Any, **__: Any) -> Any:
        raise OSError(code, os.strerror(code))

    return call


def symlinks(patch: Any, code: int = errno.EOPNOTSUPP) -> None:
    """Google Drive, exFAT, SMB."""
    patch.setattr(os, "symlink", refuse(code))


def hard_links(patch: Any, code: int = errno.ENOSYS) -> None:
    """FUSE, exFAT."""
    patch.setattr(os, "link", refuse(code))


def locks(patch: Any, code: int = errno.ENOLCK) -> None:
    """NFS without lockd, Lustre without flock, FUSE."""
    from aevlp import system

    system._tell.cache_clear()
    for name in ("lockf", "flock"):
        patch.setattr(system.fcntl, name, refuse(code))


def folder_sync(patch: Any, code: int = errno.EINVAL) -> None:
    """CIFS, some FUSE."""
    fsync = os.fsync

    def sync_files_only(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(code, os.strerror(code))
        fsync(descriptor)

    patch.setattr(os, "fsync", sync_files_only)


def affinity(patch: Any, _: int = 0) -> None:
    """macOS."""
    patch.delattr(os, "sched_getaffinity", raising=False)


def utf8(patch: Any, _: int = 0) -> None:
    """A locale in which files are ASCII unless said otherwise."""
    patch.setattr(io, "text_encoding", lambda encoding, _=2: encoding or "ascii")


MISSING = {part.__name__: part for part in (symlinks, hard_links, locks, folder_sync, affinity, utf8)}
