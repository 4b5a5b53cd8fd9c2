"""`prepare --download`: the official archives of a dataset, fetched, checked, and unpacked into its root."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from aevlp import files
from aevlp.config.errors import ConfigError, DataError, UnavailableError
from aevlp.data.download import fetch
from aevlp.data.unpack import unpack
from aevlp.input import open_file
from aevlp.network import require_reachable
from aevlp.progress import Report, shown
from aevlp.system import take_lock
from aevlp.terminal import Terminal


@dataclass(frozen=True)
class Archive:
    """A file of an official release."""

    url: str
    size: int
    """Bytes."""
    md5: str
    places: tuple[str, ...]
    """Files and folders of it that a dataset needs, relative to the root; those that are there are not touched."""
    unpacked: int
    """Bytes of these, about."""

    @property
    def name(self) -> str:
        """Of the file."""
        return self.url.partition("?")[0].rpartition("/")[2]


_COCO = "http://images.cocodataset.org"  # its https has no certificate of its own; the checksums are what is trusted
ARCHIVES: dict[str, tuple[Archive, ...]] = {
    "voc": (
        Archive(
            "https://thor.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar", 1_999_639_040,
            "6cd6e144f989b92b3379bac3b3de84fd", ("VOCdevkit/VOC2012",), 2_000_000_000,
        ),
    ),
    "coco": (
        Archive(
            f"{_COCO}/annotations/annotations_trainval2014.zip", 252_872_794, "0a379cfc70b0e71301e0f377548639bd",
            ("annotations/instances_train2014.json", "annotations/instances_val2014.json"), 500_000_000,
        ),
        Archive(
            f"{_COCO}/zips/val2014.zip", 6_645_013_297, "a3d79f5ed8d289b7a7554ce06a5782b3", ("val2014",), 6_700_000_000,
        ),
        Archive(
            f"{_COCO}/zips/train2014.zip", 13_510_573_713, "0da8c0bd3d6becc4dcb32757491aca88", ("train2014",), 13_600_000_000,
        ),
    ),
    "cub": (
        Archive(
            "https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz?download=1", 1_150_585_339,
            "97eceeb196236b17998738112f37df78", ("attributes.txt", "CUB_200_2011"), 1_300_000_000,
        ),
    ),
}  # fmt: skip
BY_HAND = {
    "nuswide": """cannot be downloaded by a program: its photos are given on request. By hand, into the root:
  Flickr.zip, unpacked to Flickr/: ask for it at
    https://lms.comp.nus.edu.sg/wp-content/uploads/2019/research/nuswide/NUS-WIDE.html
  formatted_train_images.npy, formatted_train_labels.npy, formatted_val_images.npy, formatted_val_labels.npy: at
    https://caltech.box.com/v/single-positive-multi-label
  and then: prepare nuswide --root FOLDER""",
    "folder": "is photos of your own: there is nothing to download",
    "digits": "is drawn, not downloaded",
    "scenes": "is drawn, not downloaded",
    "arrays": "is files of your own: there is nothing to download",
}


def download(name: str, root: Path, console: Terminal) -> None:
    """Fetch and unpack what `root` lacks of dataset `name`. What is whole stays, whatever goes wrong with the rest.

    An archive that lies in `root` under its own name, fetched by hand, is used, and stays; those fetched here do not.

    Raises:
        ConfigError: there is nothing that could be fetched.
        UnavailableError: a server cannot be reached, lacks the file, or breaks off.
        DataError: too little room, another file than the official one, or one that would unpack elsewhere.
    """
    if name not in ARCHIVES:
        raise ConfigError(f"{name} {BY_HAND.get(name, 'has no official archives that are known here; leave out --download')}")
    try:
        root.mkdir(parents=True, exist_ok=True)
        files.remove_leftovers(root)
        left = []
        for archive in ARCHIVES[name]:
            if all(os.path.lexists(root / place) for place in archive.places):
                console.say(f"archive      {archive.name} is not needed: {' and '.join(archive.places)} is there")
                _remove_part(archive, root)
            else:
                left.append(archive)
        _require_room(root, left)
        for archive in left:
            _take(archive, root, console)
    except OSError as error:
        raise DataError(f"{error.filename or root}: cannot be written: {error.strerror or error}") from error


def _take(archive: Archive, root: Path, console: Terminal) -> None:
    """Everything with one archive; `NAME.part` is this program's, `NAME` is the user's."""
    given, part = root / archive.name, root / f"{archive.name}.part"
    if os.path.lexists(given):
        _check(archive, given, "move it away, and it is fetched", console)
        _unpack(archive, given, root, console)
        _remove_part(archive, root)
        return
    by_hand = f"fetch it by hand to {given}, and the same command goes on with it"
    with part.open("ab") as file:
        if take_lock(file) is False:
            raise DataError(f"{part}: another process fetches it right now")
        try:
            if file.tell() < archive.size:
                require_reachable(archive.url, archive.name, by_hand)
            with _megabytes(console, f"fetching {archive.name}", archive.size) as report:
                fetch(archive.url, archive.size, part, file, report)
            file.flush()
            try:
                _check(archive, part, f"it is removed; try again, or {by_hand}", console)
            except DataError:
                file.truncate(0)
                raise
            _unpack(archive, part, root, console)
            file.truncate(0)
        except UnavailableError as error:
            raise UnavailableError(str(error) if by_hand in str(error) else f"{error}; or {by_hand}") from error
        finally:
            if file.seek(0, 2) == 0:
                _unlink(part)


def _remove_part(archive: Archive, root: Path) -> None:
    """Remove what was fetched of an archive that is not needed any more, unless another process is at it."""
    part = root / f"{archive.name}.part"
    with contextlib.suppress(OSError):  # what cannot be opened or removed is in nobody's way
        if part.exists():
            with part.open("ab") as file:
                if take_lock(file) is not False:
                    _unlink(part)


def _unlink(part: Path) -> None:
    part.unlink(missing_ok=True)
    part.with_name(f"{part.name}.etag").unlink(missing_ok=True)


def _require_room(root: Path, archives: list[Archive]) -> None:
    """DataError unless all of them can be unpacked one after the other, each removed before the next is fetched."""
    taken = most = 0
    for archive in archives:
        part, given = root / f"{archive.name}.part", os.path.lexists(root / archive.name)
        there = part.stat().st_size if part.exists() else 0
        taken += 0 if given else archive.size - there
        most = max(most, taken + archive.unpacked)
        taken += archive.unpacked - (0 if given else archive.size)
    free = shutil.disk_usage(root).free
    if free < most:
        raise DataError(
            f"{root}: {free / 1e9:,.1f} GB are free, and {most / 1e9:,.1f} are needed to fetch and unpack "
            f"{', '.join(archive.name for archive in archives)}; make room, or name another folder"
        )


def _check(archive: Archive, path: Path, remedy: str, console: Terminal) -> None:
    console.say(f"archive      {archive.name}: comparing its checksum")
    with open_file(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size != archive.size:
            raise DataError(f"{path}: has {size:,} bytes, the official archive {archive.size:,}; {remedy}")
        found = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if found != archive.md5:
        raise DataError(f"{path}: is not the official archive, or was damaged: MD5 {found} instead of {archive.md5}; {remedy}")


def _unpack(archive: Archive, path: Path, root: Path, console: Terminal) -> None:
    with _megabytes(console, f"unpacking {archive.name}", archive.unpacked) as report:
        count = unpack(path, archive.places, root, report)
    console.say(f"archive      {archive.name}: {count:,} files in {root}")


def _megabytes(console: Terminal, title: str, total: int) -> AbstractContextManager[Report]:
    """Told the bytes that are done."""
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())

    def say(done: int, total: int, rate: float) -> str:
        return f"{done / 1e6:,.0f} of {total / 1e6:,.0f} MB, {rate / 1e6:,.1f} MB a second"

    return shown(console, title, total, *columns, say=say)
