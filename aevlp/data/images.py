"""Images: from files or from an array in memory, and squashed to a size."""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from aevlp.config.errors import DataError
from aevlp.data import decoding
from aevlp.data.shared import SharedArray
from aevlp.input import open_file, require_file

# libavif answers some damages of a file by a RuntimeError.
UNREADABLE = (UnidentifiedImageError, OSError, ValueError, SyntaxError, RuntimeError, EOFError, Image.DecompressionBombError)

MAX_PIXELS = 89_478_485  # from where on Pillow warns of decompression bombs; a camera makes half of that
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def resize(images: Tensor, size: int | tuple[int, int], memory_format: torch.memory_format = torch.contiguous_format) -> Tensor:
    """Squash uint8 images (N,3,H,W) to `size`, bilinear with antialiasing, without keeping the aspect ratio."""
    size = (size, size) if isinstance(size, int) else size
    if images.shape[-2:] == size:
        return images
    # Channels-last is the layout of torch's vectorised uint8 kernel.
    images = images.contiguous(memory_format=torch.channels_last)
    resized = F.interpolate(images, size=size, mode="bilinear", antialias=True, align_corners=False)
    return resized.contiguous(memory_format=memory_format)


def picture_of(image: Tensor) -> Image.Image:
    """A uint8 image (3,H,W) as Pillow has it."""
    return Image.fromarray(image.permute(1, 2, 0).contiguous().numpy())


def jpeg(picture: Image.Image, quality: int = 85) -> bytes:
    """Content of a JPEG file."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


class ArrayImages:
    """Images (N,H,W,3) uint8 held in memory."""

    in_memory = True

    def __init__(self, images: np.ndarray):
        self.images = images

    def __len__(self) -> int:
        """Number of images."""
        return len(self.images)

    def __getitem__(self, row: int) -> Tensor:
        """uint8 (3,H,W)."""
        return torch.from_numpy(self.images[row]).permute(2, 0, 1)

    def name(self, row: int) -> str:
        """The row number."""
        return f"image {row}"

    def identity(self, row: int) -> bytes:
        """16 bytes that tell the pixels from others."""
        pixels = np.ascontiguousarray(self.images[row])
        return hashlib.blake2b(pixels.data, digest_size=16, salt=str(pixels.shape[0]).encode()).digest()


class ImageFiles:
    """Image files below a root folder, decoded when asked for: the pixels as they are stored."""

    _version = b""
    changes: Counter[str]
    """How many of those decoded were changed, by what was done to them."""

    def __init__(self, root: Path, names: Sequence[str], rows: np.ndarray | None = None):
        self.root = root
        self._rows = SharedArray(np.arange(len(names)) if rows is None else rows)
        # One block of memory: a list of str would be copied page by page into every forked worker.
        self._names = SharedArray(np.asarray(names, dtype=np.str_))
        self.changes = Counter()

    @property
    def names(self) -> np.ndarray:
        """(N,) of str, below the root."""
        return self._names.array

    @property
    def rows(self) -> np.ndarray:
        """(N,) as people know them, for messages."""
        return self._rows.array

    def absence(self, row: int) -> str | None:
        """What to tell where the file of a row is absent, or no file."""
        try:
            require_file(self.root / str(self.names[row]))
        except (OSError, ValueError) as error:
            return self._problem(row, error)
        return None

    def problem(self, row: int) -> str | None:
        """What to tell where the image of a row is absent or cannot be decoded."""
        try:
            self[row]
        except DataError as error:
            return str(error)
        return None

    def __len__(self) -> int:
        """Number of images."""
        return len(self.names)

    def __getitem__(self, row: int) -> Tensor:
        """uint8 (3,H,W) RGB; DataError naming file and row where the file is absent or not a whole image."""
        path = self.root / str(self.names[row])
        try:
            with open_file(path) as file, decoding.open_image(file, path.suffix) as image:
                if image.width * image.height > MAX_PIXELS:  # before a byte of it is decoded
                    raise ValueError(f"{image.width}x{image.height} pixels; at most {MAX_PIXELS // 10**6} million are read")
                pixels = self._decode(image)
        except UNREADABLE as error:
            raise DataError(self._problem(row, error)) from error
        return torch.from_numpy(pixels).permute(2, 0, 1)

    def _decode(self, image: Image.Image) -> np.ndarray:
        return decoding.to_rgb(image)

    def name(self, row: int) -> str:
        """The file's name below the root."""
        return str(self.names[row])

    def identity(self, row: int) -> bytes:
        """16 bytes that follow from the content of the file and how it is decoded, wherever it lies and whatever its name.

        All of it is read: a sample of three parts of a photo costs nearly as much, and a changed byte may be anywhere.
        """
        try:
            with open_file(self.root / str(self.names[row])) as file:
                salt = decoding.VERSION + self._version
                return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16, salt=salt)).digest()
        except (OSError, ValueError) as error:
            raise DataError(self._problem(row, error)) from error

    def _problem(self, row: int, error: Exception) -> str:
        path, place = self.root / str(self.names[row]), self._place(row)
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            return f"{path}: listed in {place}, but there is no such file" if place else f"{path}: there is no such file"
        unknown = isinstance(error, UnidentifiedImageError)
        reason = "its content is of no known kind" if unknown else getattr(error, "strerror", None) or error
        return f"{path}: {f'listed in {place}, ' if place else ''}cannot be read as an image: {reason}"

    def _place(self, row: int) -> str:
        """Where a row is listed; empty where nothing lists it."""
        return f"row {self.rows[row]}"


class Photos(ImageFiles):
    """Photos of people, as a viewer shows them: turned as the camera noted, transparent pixels on white."""

    _version = b" shown"

    def _decode(self, image: Image.Image) -> np.ndarray:
        pixels, changes = decoding.as_shown(image)
        self.changes.update(changes)
        return pixels

    def _place(self, row: int) -> str:
        return ""
