"""Reading images: from files, or from an array in memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from aevlp.config.errors import DataError


class ArrayImages:
    """Images (N,H,W,3) uint8 held in memory."""

    def __init__(self, images: np.ndarray):
        self.images = images

    def __len__(self) -> int:
        """Number of images."""
        return len(self.images)

    def __getitem__(self, row: int) -> Tensor:
        """uint8 (3,H,W)."""
        return torch.from_numpy(self.images[row]).permute(2, 0, 1)

    def label(self, row: int) -> str:
        """The row number."""
        return f"image {row}"


class ImageFiles:
    """Image files below a root folder, decoded when asked for."""

    def __init__(self, root: Path, names: Sequence[str], rows: np.ndarray | None = None):
        self.root = root
        self.rows = np.arange(len(names)) if rows is None else rows  # as people know them, for messages
        # One block of memory: a list of str would be copied page by page into every forked worker.
        self.names = np.asarray(names, dtype=np.str_)

    def __len__(self) -> int:
        """Number of images."""
        return len(self.names)

    def __getitem__(self, row: int) -> Tensor:
        """uint8 (3,H,W) RGB; DataError naming file and row where the file is absent or not a whole image."""
        path = self.root / str(self.names[row])
        try:
            with Image.open(path) as image:
                pixels = _to_rgb(image)
        except FileNotFoundError as error:
            raise DataError(f"{path}: listed in row {self.rows[row]}, but there is no such file") from error
        except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise DataError(f"{path}: row {self.rows[row]} cannot be read as an image: {error}") from error
        return torch.from_numpy(pixels).permute(2, 0, 1)

    def label(self, row: int) -> str:
        """The file's name below the root."""
        return str(self.names[row])


def _to_rgb(image: Image.Image) -> np.ndarray:
    if image.mode.startswith("I"):  # 16-bit gray, which Pillow would clip to white
        image = Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8))
    if image.mode == "P" and "transparency" in image.info:  # Pillow would warn
        image = image.convert("RGBA")
    return np.array(image.convert("RGB"))
