"""Decoded images at the classifier's size, kept from the first epoch on: in memory, or in a file of $AEVLP_CACHE.

A photo of COCO takes 10 ms to decode and squash, a row of the cache .2 ms. What is kept is the uint8 image before any flip, so
results are the same to the bit. A row counts once its CRC-32 is there, which is written last: a row that was cut short, by a
kill or a full disk, is decoded again. Any number of processes may read and fill the same file.
"""

from __future__ import annotations

import hashlib
import logging
import mmap
import os
import shutil
import weakref
import zlib
from dataclasses import replace
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aevlp.config.schema import ExperimentConfig
from aevlp.data.dataset import ImageSource, Split, SPMLData, identities, identity
from aevlp.data.images import resize
from aevlp.files import NO_SPACE
from aevlp.folders import cache_root
from aevlp.system import memory_file, shares_memory

_LAYOUT = "1"  # of the files; in their names, like everything else that a row depends on
_SPARE = 2**30  # bytes that a cache on disk leaves free


def cache_images(data: SPMLData, config: ExperimentConfig) -> tuple[SPMLData, list[str]]:
    """The data with training and validation images kept as `trainer.image_cache` says, and notes for the user.

    The images are then of the classifier's size: a labeler, which needs the original ones, takes the data as they were.
    """
    kind, size = config.trainer.image_cache, config.dataset.image_size
    if kind == "off":
        return data, []
    budget, notes = config.trainer.image_cache_mb * 2**20, []
    if kind == "ram" and config.trainer.num_workers and not shares_memory():
        kind = "disk"
        notes.append("image cache: on this system ram takes trainer.num_workers=0; the images are kept on disk instead")
    splits: dict[str, Any] = {}
    for name, split in (("train", data.train), ("val", data.val)):
        store: _Store | None
        if kind == "ram":
            store = _Memory(min(len(split), budget // _row_bytes(size)), size)
        else:
            store, note = _on_disk(split.images, size, budget)
            if note:
                notes.append(f"image cache of {name}: {note}")
        if store is None:
            continue
        budget -= store.count * _row_bytes(size)
        if store.count < len(split):
            notes.append(f"image cache: room for {store.count} of {len(split)} {name} images, the others are decoded every epoch")
        splits[name] = replace(split, images=CachedImages(split.images, size, store))
    return replace(data, **splits), notes


def _row_bytes(size: int) -> int:
    return 3 * size * size + 4


class CachedImages:
    """Images squashed to (3,size,size), decoded once where the store has room."""

    def __init__(self, images: ImageSource, size: int, store: _Store):
        self.images, self.size, self.store = images, size, store

    @property
    def in_memory(self) -> bool:
        """As the source."""
        return getattr(self.images, "in_memory", False)

    def __len__(self) -> int:
        """Number of images."""
        return len(self.images)

    def __getitem__(self, row: int) -> Tensor:
        """uint8 (3,size,size)."""
        row = int(row)
        kept = self.store.read(row) if row < self.store.count else None
        if kept is not None:
            return torch.from_numpy(kept).view(3, self.size, self.size)
        return self._squash(row, self.images[row])

    def keep(self, row: int, image: Tensor) -> None:
        """Put an image of the source, decoded for another purpose, where it is looked for."""
        if row < self.store.count and self.store.read(row) is None:
            self._squash(row, image)

    def _squash(self, row: int, image: Tensor) -> Tensor:
        image = resize(image[None], self.size)[0].contiguous()
        if row < self.store.count:
            self.store.write(row, image.numpy().reshape(-1))
        return image

    def name(self, row: int) -> str:
        """As the source names it."""
        return self.images.name(row)


def uncached(images: ImageSource) -> ImageSource:
    """The images at their original size, whether they are cached or not."""
    return images.images if isinstance(images, CachedImages) else images


class _AlsoCaching:
    """Images at their original size; whoever has one decoded puts it into the cache as well."""

    def __init__(self, cached: CachedImages):
        self._images, self._cached = cached.images, cached

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, row: int) -> Tensor:
        image = self._images[row]
        self._cached.keep(row, image)
        return image

    def name(self, row: int) -> str:
        return self._images.name(row)

    def identity(self, row: int) -> bytes | None:
        return identity(self._images, row)


def also_caching(split: Split, cached: Split) -> Split:
    """The split at its original size, whose images fill the cache of `cached` as they are decoded: once for both."""
    return replace(split, images=_AlsoCaching(cached.images)) if isinstance(cached.images, CachedImages) else split


class _Store:
    """Rows of bytes, and a CRC-32 for each; 0 where there is none yet."""

    def __init__(self, count: int, size: int):
        self.count, self.bytes = count, 3 * size * size

    def read(self, row: int) -> np.ndarray | None:
        """A copy of a row, None where it is not there or not whole."""
        rows, checks = self._arrays()
        kept = np.array(rows[row])
        return kept if checks[row] and checks[row] == _check(kept) else None

    def write(self, row: int, image: np.ndarray) -> None:
        """Keep a row."""
        rows, checks = self._arrays()
        rows[row] = image
        checks[row] = _check(image)

    def _arrays(self) -> tuple[np.ndarray, np.ndarray]:
        raise NotImplementedError


class _Memory(_Store):
    """Memory that all workers share. Pages are taken when they are written, and not from /dev/shm, often 64 MB small."""

    def __init__(self, count: int, size: int):
        super().__init__(count, size)
        descriptor = memory_file("aevlp images")
        self._open(-1 if descriptor is None else descriptor)

    def _open(self, descriptor: int) -> None:
        """Map a file without a name, which ends with the last process that has it; or, with -1, memory for forked ones."""
        length = max(self.count * (self.bytes + 4), 1)
        if descriptor >= 0:
            weakref.finalize(self, os.close, descriptor)
            os.truncate(descriptor, length)
        buffer = np.frombuffer(mmap.mmap(descriptor, length), dtype=np.uint8)
        self._checks = buffer[: 4 * self.count].view(np.uint32)
        self._rows = buffer[4 * self.count : self.count * (self.bytes + 4)].reshape(self.count, self.bytes)
        self._descriptor = descriptor

    def _arrays(self) -> tuple[np.ndarray, np.ndarray]:
        return self._rows, self._checks

    def __getstate__(self) -> dict[str, Any]:
        return {"count": self.count, "bytes": self.bytes, "descriptor": DupFd(self._descriptor)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.count, self.bytes = state["count"], state["bytes"]
        self._open(state["descriptor"].detach())


class _File(_Store):
    """A file that is read through a map and written by position: a full disk is then an error and not the end of the process."""

    def __init__(self, count: int, size: int, path: Path):
        super().__init__(count, size)
        self.path = path
        self._opened_by: int | None = None
        self._full = False
        os.close(self._descriptor_of_whole())

    def write(self, row: int, image: np.ndarray) -> None:
        """Keep a row, unless the disk is full."""
        if self._full:
            return
        self._arrays()
        try:
            _write_all(self._descriptor, image.tobytes(), row * (self.bytes + 4) + 4)
            _write_all(self._descriptor, np.uint32(_check(image)).tobytes(), row * (self.bytes + 4))
        except OSError as error:
            if error.errno not in NO_SPACE:
                raise
            self._full = True
            logging.getLogger("aevlp").warning("%s: no space left; training goes on, images are decoded again", self.path)

    def _arrays(self) -> tuple[np.ndarray, np.ndarray]:
        if self._opened_by != os.getpid():  # each worker opens the file for itself
            self._descriptor = self._descriptor_of_whole()
            lines = np.memmap(self.path, dtype=np.uint8, mode="r", shape=(self.count, self.bytes + 4))
            self._rows, self._checks = lines[:, 4:], lines[:, :4].view(np.uint32)[:, 0] if self.count else np.empty(0)
            self._opened_by = os.getpid()  # last: the labeler's threads come at once, and two may open it
        return self._rows, self._checks

    def _descriptor_of_whole(self) -> int:
        """The file, made where it is not there: `cache clear` may have removed it. It takes no space until rows are written."""
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
        os.truncate(descriptor, max(os.fstat(descriptor).st_size, self.count * (self.bytes + 4)))
        return descriptor

    def __getstate__(self) -> dict[str, Any]:
        return {"count": self.count, "bytes": self.bytes, "path": self.path, "_opened_by": None, "_full": self._full}


def _on_disk(images: ImageSource, size: int, budget: int) -> tuple[_File | None, str]:
    """The file for these images, by what they are and how they are squashed; or None, and why there is none."""
    digest = hashlib.sha256(f"{_LAYOUT} {size} {torch.__version__}".encode())
    for known in identities(images):
        if known is None:
            return None, f"off: {type(images).__name__} has no identity() to tell whether an image has changed; use ram"
        digest.update(known)
    key = digest.hexdigest()[:24]
    path = cache_root() / "images" / f"{key}.u8"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(path.parent).free + (path.stat().st_blocks * 512 if path.exists() else 0) - _SPARE
        count = max(0, min(len(images), budget // _row_bytes(size), free // _row_bytes(size)))
        return _File(count, size, path), ""
    except OSError as error:
        return None, f"off: {path.parent}: {error.strerror}; set AEVLP_CACHE to a folder that can be written"


def _check(row: np.ndarray) -> int:
    return zlib.crc32(row.data) or 1


def _write_all(descriptor: int, data: bytes, offset: int) -> None:
    while data:  # pwrite may take a part only, and say why at the next call
        written = os.pwrite(descriptor, data, offset)
        data, offset = data[written:], offset + written
