"""Files a command writes for its user: written aside, put into place when all are complete, so never half there."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from aevlp import files
from aevlp.config.errors import AevlpError, ConfigError, DataError
from aevlp.input import open_file

_WRONG_PATH = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY, errno.ENAMETOOLONG, errno.EINVAL)


@contextlib.contextmanager
def output_file(path: Path, flag: str = "-o") -> Iterator[Path]:
    """The path to write to; it takes the place of `path` at the end, or is removed where anything went wrong.

    Raises:
        ConfigError: the folder of `path` is absent, or `path` is something else than a file.
        DataError: the file cannot be written, or the disk is full.
    """
    with output_files(path.parent, path, flag) as put:
        yield put(path.name)


@contextlib.contextmanager
def output_files(folder: Path, named: Path, flag: str = "-o") -> Iterator[Callable[[str], Path]]:
    """`files.together` in `folder`, for what a user asked for with `flag` and named `named`. Raises as `output_file`."""
    paths: set[str] = set()
    try:
        files.remove_leftovers(folder)
        with files.together(folder) as put:

            def put_file(name: str) -> Path:
                paths.add(str(folder / name))
                require_place(folder / name, flag)
                path = put(name)
                paths.add(str(path))
                path.touch()  # now, rather than after hours of computing
                return path

            yield put_file
    except OSError as error:
        # With another name it is about something that was read; without a number, it is of a library.
        if error.errno is None or (error.filename is not None and str(error.filename) not in paths):
            raise
        raise not_writable(f"{flag} {named}", error) from error


def require_place(path: Path, flag: str = "-o") -> None:
    """ConfigError where no file can be put: before the work, and before torch is imported."""
    if not path.parent.is_dir():
        raise ConfigError(f"{flag} {path}: there is no folder {path.parent}; make it first")
    if path.is_dir():
        raise ConfigError(f"{flag} {path}: is a folder; give the name of a file")
    if path.exists() and not path.is_file():
        raise ConfigError(f"{flag} {path}: is there, and is no file")


def require_own(path: Path, kind: str, is_own: Callable[[Path], bool], flag: str = "-o") -> None:
    """`require_place`, and ConfigError where a file is there that `is_own` does not know: somebody's work, not ours to replace.

    Args:
        path: of the file to write.
        kind: what is written, in words.
        is_own: whether a file is such a one; a DataError or an OSError says that it is not.
        flag: by which the path was given.
    """
    require_place(path, flag)
    if not path.exists() or not path.stat().st_size:
        return
    try:
        found = is_own(path)
    except (DataError, OSError):
        found = False
    if not found:
        raise ConfigError(f"{flag} {path}: is there already and is no {kind}, so it stays as it is; give another name")


def marked(mark: str) -> Callable[[Path], bool]:
    """Tells a file that a command wrote by a mark within its first 4,096 bytes; for `require_own`."""

    def is_own(path: Path) -> bool:
        with open_file(path) as file:
            return mark.encode() in file.read(4096)

    return is_own


def require_new_folder(path: Path) -> None:
    """ConfigError where no new folder can be put."""
    if path.exists() or path.is_symlink():
        raise ConfigError(f"-o {path}: is there already; name a new folder")
    if not path.parent.is_dir():
        raise ConfigError(f"-o {path}: there is no folder {path.parent}; make it first")


def require_folder(path: Path) -> None:
    """ConfigError where there can be no folder, as what is there of the path is a file."""
    there = next(part for part in (path, *path.parents) if os.path.lexists(part))
    if not there.is_dir():
        raise ConfigError(f"-o {path}: {there} is no folder; name another one")


def not_writable(what: str, error: OSError) -> AevlpError:
    """The error to raise: ConfigError (exit code 2) for a path that cannot be right, DataError (1) for a disk that fails."""
    kind = ConfigError if error.errno in _WRONG_PATH else DataError
    return kind(f"{what}: cannot be written: {error.strerror or error}")
