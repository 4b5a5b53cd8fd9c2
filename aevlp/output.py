"""Files a command writes for its user: written aside, put into place when all are complete, so never half there."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable, Iterator
from pathlib import Path

from aevlp import files
from aevlp.config.errors import AevlpError, ConfigError, DataError

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
def output_files(folder: Path, named: Path, flag: str = "-o", mark: str | None = None) -> Iterator[Callable[[str], Path]]:
    """`files.together` for what a user asked for with `flag` and named `named`. Raises as `output_file`."""
    if not folder.is_dir():
        raise ConfigError(f"{flag} {named}: there is no folder {folder}; make it first")
    paths: set[str] = set()
    try:
        files.remove_leftovers(folder)
        with files.together(folder, mark) as put:

            def put_file(name: str) -> Path:
                target = folder / name
                paths.add(str(target))
                if target.exists() and not target.is_file():
                    what = "a folder; give the name of a file" if target.is_dir() else "no ordinary file"
                    raise ConfigError(f"{flag} {target}: is {what}")
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


def not_writable(what: str, error: OSError) -> AevlpError:
    """The error to raise: ConfigError (exit code 2) for a path that cannot be right, DataError (1) for a disk that fails."""
    kind = ConfigError if error.errno in _WRONG_PATH else DataError
    return kind(f"{what}: cannot be written: {error.strerror or error}")
