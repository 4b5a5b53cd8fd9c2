"""What this system can do: cores, locks, links, syncing. Whatever depends on that asks here; importing it is cheap."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import math
import multiprocessing
import os
import shutil
import struct
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import IO, Any

from aevlp.config.errors import ConfigError
from aevlp.text import say

try:
    import fcntl
except ModuleNotFoundError:  # Windows
    fcntl = None  # type: ignore[assignment]

SYSTEMS = "aevlp runs on Linux, on macOS, and on Windows through WSL (Windows Subsystem for Linux)"
CGROUP, CGROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")

_HELD = (errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES)
_UNSUPPORTED = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EACCES, errno.EPERM)
# A struct flock and the place of its type: on Linux type, whence, start, length, process; on macOS start, length, process, type,
# whence.
_FLOCKS = {"linux": ("hhqqi4x", 0), "darwin": ("qqihh", 3)}


def require_posix() -> None:
    """Raises ConfigError on Windows itself, whose Python has neither file locks nor the signals that training stops by."""
    if fcntl is None:
        raise ConfigError(f"not on this system: {SYSTEMS}")


def usable_cores() -> int:
    """Cores that this process may use: its affinity where that is told, and no more than its container's share of CPU time."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(cores, _quota())))


def limit_threads(threads: int | None) -> None:
    """Set torch's threads and memory: so many, or `own_threads`."""
    import torch

    keep_memory()
    torch.set_num_threads(threads or own_threads())


def own_threads() -> int:
    """Threads that torch takes by itself, which OMP_NUM_THREADS may limit, and no more than there are usable cores.

    torch does not know of a container's share: on 64 cores with the time of 2, its 64 threads would wait for each other.
    """
    import torch

    return min(torch.get_num_threads(), usable_cores())


@cache
def keep_memory() -> None:
    """Let the C library keep what is freed, up to 32 MB a piece, instead of handing it back and asking for it again.

    Every page that is asked for again is cleared by the kernel: of a bf16 view of ViT-B/16 that was a third of the time.
    glibc alone has these settings (M_TRIM_THRESHOLD, M_MMAP_THRESHOLD); elsewhere nothing happens.
    """
    with contextlib.suppress(AttributeError, OSError):
        library = ctypes.CDLL(None)
        library.mallopt(-1, 2**30)
        library.mallopt(-3, 2**25)


def _quota() -> float:
    """Seconds of CPU time a second that the control groups of this process allow, infinite where they set no limit."""
    try:
        lines = CGROUP.read_text().splitlines()
    except OSError:  # not Linux
        return math.inf
    limits = [math.inf]
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if "cpu" in controllers.split(",") or not controllers:  # version 1; version 2, alone or beside it
            names = [part for part in path.split("/") if part not in ("", "..")]
            for mount in (CGROUPS / controllers, CGROUPS / ("cpu" if controllers else "unified")):
                # Each group limits those in it. Inside a container the upper ones may be out of sight.
                limits += [_limit(mount.joinpath(*names[:depth])) for depth in range(len(names) + 1)]
    return min(limits)


def _limit(group: Path) -> float:
    for files in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        try:
            quota, period = " ".join((group / file).read_text() for file in files).split()
            limit = int(quota) / int(period)
        except (OSError, ValueError, ZeroDivisionError):  # ValueError: "max"
            continue
        if limit > 0:  # -1 is no limit
            return limit
    return math.inf


def memory_file(name: str) -> int | None:
    """Descriptor of a new file in memory, which ends with the last process that has it; None where there are none, as on macOS.

    Unlike those in /dev/shm, such files have no limit but the memory.
    """
    return os.memfd_create(name) if hasattr(os, "memfd_create") else None


def shares_memory() -> bool:
    """Whether processes that multiprocessing starts can share this one's memory: forked ones inherit it, others need a file."""
    return multiprocessing.get_start_method() == "fork" or hasattr(os, "memfd_create")


def take_record_lock(file: IO[str]) -> bool | None:
    """A POSIX lock, which on NFS holds between machines and which child processes do not inherit.

    Returns:
        whether this process has it; None where this file system has no locks, which the user is told.
    """
    require_posix()
    return _lock(lambda: fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB))


def take_lock(file: IO[Any] | int, *, shared: bool = False, wait: bool = False) -> bool | None:
    """A lock between the processes of this machine on a file or descriptor, also between two of one; as `take_record_lock`."""
    require_posix()
    return _lock(lambda: fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB)))


def _lock(take: Callable[[], None]) -> bool | None:
    try:
        take()
    except OSError as error:
        if error.errno in _HELD:
            return False
        _tell(error.strerror)
        return None
    return True


@cache  # said once
def _tell(reason: str) -> None:
    say(f"note  files cannot be locked here ({reason}): see that no two processes write to one run or table", error=True)


def has_record_lock(file: IO[str]) -> bool | None:
    """Whether another process has a POSIX lock on a file; None where that cannot be told. Takes nothing."""
    if sys.platform not in _FLOCKS or fcntl is None:
        return None
    form, place = _FLOCKS[sys.platform]
    values = [0] * 5  # from the start of the file (SEEK_SET) to its end
    values[place] = fcntl.F_WRLCK
    try:
        answer = fcntl.fcntl(file, fcntl.F_GETLK, struct.pack(form, *values))
    except OSError:
        return None
    return bool(struct.unpack(form, answer)[place] != fcntl.F_UNLCK)


def sync(descriptor: int) -> None:
    """Make a file or folder durable where the file system knows how."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable, as far as that goes."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:  # it may be written to and not read
        return
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)


def point(link: Path, name: str) -> None:
    """Let `link` stand for its neighbour `name`: a symbolic link, or where there are none a small file that holds the name."""
    aside = link.with_name(f".link-{link.name}")
    aside.unlink(missing_ok=True)
    try:
        aside.symlink_to(name)
    except OSError:  # exFAT, SMB, Google Drive; whatever else is wrong, the file meets as well
        aside.write_text(name, encoding="utf-8")
    if link.is_dir() and not link.is_symlink():  # a run that was copied with its links followed
        shutil.rmtree(link)
    os.replace(aside, link)


def pointed(link: Path) -> Path:
    """What `point` made `link` stand for."""
    return link.parent / Path(link.read_text(encoding="utf-8")).name if link.is_file() else link.resolve()


def give_name(file: Path, name: Path) -> None:
    """Move `file` to the name `name`; unlike a rename, never over what has come there meanwhile, which is FileExistsError."""
    try:
        os.link(file, name)
    except FileExistsError:
        raise
    except OSError:  # no hard links
        name.open("x").close()
        try:
            os.replace(file, name)  # over the empty file that is ours
        except OSError:
            name.unlink()
            raise
    else:
        file.unlink()
