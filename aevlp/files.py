"""Files and folders that appear whole or not at all: written aside in the same folder, then renamed into place.

    .tmp-<machine>-<process>-<random>

A name aside is of one process alone, so any number of them may write the same file: the last one wins. What a killed process
leaves can be told from what a living one writes, and is removed by the next that writes there.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import secrets
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

from aevlp import system

PREFIX = ".tmp-"
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""A full disk, an exhausted quota, a file size limit."""
_NAME = re.compile(r"\.tmp-([0-9a-f]{8})-(\d+)-[0-9a-f]{8}(\.yaml)?")
_FORGOTTEN_SECONDS = 86_400.0


def aside(target: Path, suffix: str = "") -> Path:
    """A new name in the folder of `target`, whose own name may be as long as the file system takes."""
    return target.with_name(f"{PREFIX}{_machine()}-{os.getpid()}-{secrets.token_hex(4)}{suffix}")


@contextlib.contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A path to write a file or a folder to; it takes the place of `target` at the end, or is removed if anything goes wrong."""
    path = aside(target)
    with contextlib.ExitStack() as stack:
        stack.callback(remove, path)
        yield path
        os.replace(path, target)


def write(target: Path, content: bytes, *, sync: bool = False) -> None:
    """Write a file; with `sync` its content is on the disk before it takes its place. OSError where that cannot be done."""
    with replacing(target) as path:
        write_content(path, content, sync=sync)


def write_content(path: Path, content: bytes, *, sync: bool) -> None:
    """Write a file that nobody looks at yet."""
    with path.open("wb") as file:
        file.write(content)
        if sync:
            file.flush()
            system.sync(file.fileno())


@contextlib.contextmanager
def together(folder: Path, mark: str | None = None) -> Iterator[Callable[[str], Path]]:
    """A function from the name of a file to a path to write it to; at the end all files take their places, or none does.

    Where nothing was written to a path, the file of that name is removed.

    Args:
        folder: of the files.
        mark: name of a file that is there while they take their places: a reader who finds it knows that a process died then.
    """
    paths: dict[Path, Path] = {}
    with contextlib.ExitStack() as stack:

        def put(name: str) -> Path:
            path = paths[folder / name] = aside(folder / name)
            stack.callback(remove, path)
            return path

        yield put
        _place(paths, None if mark is None else folder / mark, stack)


def _place(paths: dict[Path, Path], mark: Path | None, stack: contextlib.ExitStack) -> None:
    """Put files into place. What was there before is kept aside until all have theirs, and put back where that fails.

    Where the file system has links, a file that is there before and after is there all the time, though the process be killed.
    """
    several = len(paths) > 1
    kept = {target: aside(target) for target in paths if several and os.path.lexists(target)}
    written = [target for target, path in paths.items() if path.exists()]
    spent = contextlib.ExitStack()
    for path in kept.values():
        spent.callback(remove, path)
    try:
        if mark is not None and several:
            mark.touch()
        for target, path in paths.items():
            if target in kept:
                _keep(target, kept[target])
            if target in written:
                os.replace(path, target)
            else:
                target.unlink(missing_ok=True)
        if mark is not None:
            mark.unlink(missing_ok=True)
        stack.push(spent)
    except BaseException:
        for target, path in paths.items():
            if target in kept:
                with contextlib.suppress(FileNotFoundError):  # not yet kept
                    os.replace(kept[target], target)
                    remove(kept[target])  # as a rename of one link of a file to another does nothing
            elif target in written and not path.exists():
                target.unlink()
        if mark is not None:
            mark.unlink(missing_ok=True)
        raise


def _keep(target: Path, path: Path) -> None:
    """Give a file a second name, or, where that cannot be, another one."""
    with contextlib.suppress(FileNotFoundError):  # another process does the same in this moment
        try:
            os.link(target, path, follow_symlinks=False)
        except FileNotFoundError:
            raise
        except (OSError, NotImplementedError):  # a folder; a file system, or a system, without such links
            os.replace(target, path)


def remove(path: Path) -> None:
    """Remove a file, or a folder with all it holds, as far as that can be done."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def discard(path: Path) -> None:
    """Remove a file or a folder, renamed first, so that nobody ever finds half of it. OSError where it cannot be renamed."""
    gone = aside(path)
    with contextlib.suppress(FileNotFoundError):  # another process was faster
        os.replace(path, gone)
    remove(gone)


def leftovers(folder: Path, *, own: bool = False) -> list[Path]:
    """What killed processes left aside in a folder.

    own: nobody but this program writes there, so that names of its earlier versions, and their kind, count as well.
    """
    try:
        return [Path(entry) for entry in os.scandir(folder) if entry.name.startswith(PREFIX) and _is_left(Path(entry), own)]
    except OSError:
        return []


def remove_leftovers(folder: Path, *, own: bool = False) -> None:
    """Remove what killed processes left aside in a folder, as far as that can be done."""
    for path in leftovers(folder, own=own):
        remove(path)


def _is_left(path: Path, own: bool) -> bool:
    found = _NAME.fullmatch(path.name)
    if found is None and not own:
        return False
    if found is not None and found[1] == _machine() and not _lives(int(found[2])):
        return True
    try:  # of another machine, or its process id is another's now
        return time.time() - path.lstat().st_mtime > _FORGOTTEN_SECONDS
    except OSError:
        return False


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):  # somebody else's; or no process id of this system
        return True
    return True


@cache
def _machine() -> str:
    """This machine since it was started; a container with process ids of its own is another one."""
    names = [socket.gethostname()]
    with contextlib.suppress(OSError):  # no Linux
        names += [Path("/proc/sys/kernel/random/boot_id").read_text(), os.readlink("/proc/self/ns/pid")]
    return hashlib.sha256(" ".join(names).encode()).hexdigest()[:8]
