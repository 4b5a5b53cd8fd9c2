"""Archives of others, unpacked without leaving the folder: nothing but regular files is made, and all appear together."""

from __future__ import annotations

import os
import posixpath
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

from aevlp import files
from aevlp.config.errors import DataError
from aevlp.folders import leads_outside

_DAMAGED = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)


def unpack(path: Path, places: Sequence[str], root: Path, report: Callable[[int], None]) -> int:
    """Unpack the `places`, files or folders, of a tar or zip archive into `root`; those that `root` has stay as they are.

    `report` is told of bytes that are written.

    Returns:
        number of files.

    Raises:
        DataError: damaged, or a name leads out of the folder, or a link is among them, or a place is not in it: `root` is then
            as it was.
        OSError: the disk is full, or `root` cannot be written.
    """
    folder = files.aside(root / path.name)
    count = done = 0
    try:
        folder.mkdir()
        for name, content in _members(path, places):
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with content as source, target.open("wb") as file:
                shutil.copyfileobj(source, file, 2**20)
                done += file.tell()
            count += 1
            report(done)
        absent = [place for place in places if not (folder / place).exists()]
        if absent:
            raise DataError(f"{path}: is not the archive that is wanted: there is no {absent[0]} in it")
        for place in places:
            if not os.path.lexists(root / place):
                (root / place).parent.mkdir(parents=True, exist_ok=True)
                os.replace(folder / place, root / place)
    except _DAMAGED as error:
        why = str(error).partition("\n")[0] or type(error).__name__
        raise DataError(f"{path}: cannot be unpacked: {why}; move it away, and fetch it again") from error
    finally:
        files.remove(folder)
    return count


def _members(path: Path, places: Sequence[str]) -> Iterator[tuple[str, IO[bytes]]]:
    """Regular files below `places`: the name, with / between its parts, and the content."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                kind = stat.S_IFMT(info.external_attr >> 16)
                if not info.is_dir() and _wanted(path, info.filename, kind in (0, stat.S_IFREG), places):
                    yield posixpath.normpath(info.filename), archive.open(info)
        return
    with tarfile.open(path) as archive:
        for member in archive:
            if not member.isdir() and _wanted(path, member.name, member.isreg(), places):
                content = archive.extractfile(member)
                assert content is not None  # it is of a regular file
                yield posixpath.normpath(member.name), content


def _wanted(path: Path, name: str, regular: bool, places: Sequence[str]) -> bool:
    if leads_outside(name):
        raise DataError(f"{path}: holds {name!r}, which would be unpacked outside of the folder; nothing of it is used")
    plain = posixpath.normpath(name)
    if not any(plain == place or plain.startswith(f"{place}/") for place in places):
        return False
    if not regular:
        raise DataError(f"{path}: holds {name!r}, which is a link or a device and no file; nothing of it is used")
    return True
