"""Files a command writes for its user: written aside, renamed into place when complete, so never half there."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from aevlp.config.errors import ConfigError, DataError


@contextlib.contextmanager
def output_file(path: Path) -> Iterator[Path]:
    """The path to write to; it takes the place of `path` at the end, or is removed where anything went wrong.

    Raises:
        ConfigError: the folder of `path` is absent, or `path` is a folder.
        DataError: the file cannot be written, or the disk is full.
    """
    require_place(path)
    aside = path.with_name(f".{path.name}.tmp")
    try:
        aside.write_bytes(b"")  # now, rather than after hours of computing
    except OSError as error:
        raise _not_writable(path, error) from error
    try:
        yield aside
        os.replace(aside, path)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM):
            raise _not_writable(path, error) from error
        raise
    finally:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)


def require_place(path: Path) -> None:
    """ConfigError where no file can be put: before the work, and before torch is imported."""
    if not path.parent.is_dir():
        raise ConfigError(f"-o {path}: there is no folder {path.parent}; make it first")
    if path.is_dir():
        raise ConfigError(f"-o {path}: is a folder; give the name of a file")


def require_new_folder(path: Path) -> None:
    """ConfigError where no new folder can be put."""
    if path.exists() or path.is_symlink():
        raise ConfigError(f"-o {path}: is there already; name a new folder")
    if not path.parent.is_dir():
        raise ConfigError(f"-o {path}: there is no folder {path.parent}; make it first")


def _not_writable(path: Path, error: OSError) -> DataError:
    return DataError(f"-o {path}: cannot be written: {error.strerror}")
