"""Embeddings of an encoder that knows images by name: looked up, not computed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from aevlp.data.dataset import ImageSource
from aevlp.vision_language.encoders import Encoder
from aevlp.vision_language.shards import chunks_of

ReportProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class NamedReader:
    """As `aevlp.vision_language.reader.Reader`: embeddings of any rows of some images."""

    encoder: Encoder
    images: ImageSource
    grid: int
    flip: bool

    def count(self) -> int:
        """All: `require` has ended the work where any is missing."""
        return len(self.images)

    def read(self, index: Sequence[int]) -> Tensor:
        """Embeddings (B, 1 + flip, 1 + grid * grid, D) float16 of these rows; a mirror image has those of the image."""
        views = self.encoder.embed_names([self.images.name(row) for row in index], self.grid).half()
        return torch.stack([views] * (1 + self.flip), dim=1)

    def close(self) -> None:
        """Nothing is open."""


def named_reader(encoder: Encoder, images: ImageSource, grid: int, flip: bool) -> NamedReader:
    """A reader of all of these images; errors as of `require`."""
    require(encoder, images, range(len(images)), grid)
    return NamedReader(encoder, images, grid, flip)


def require(encoder: Encoder, images: ImageSource, rows: range, grid: int) -> None:
    """DataError, or ConfigError, unless the encoder knows these images: all at once, so that all that is missing is told."""
    if rows:
        encoder.require_names([images.name(row) for row in rows], grid)


def unmirrored(encoder: Encoder) -> str:
    """What is told where mirror images were asked for."""
    return f"encoder {encoder.title} knows no mirror images; they count as the images themselves"


def embed_by_name(
    encoder: Encoder, images: ImageSource, rows: range, grid: int, flip: bool, progress: ReportProgress | None
) -> Iterator[tuple[range, Tensor]]:
    """As `Embedder.embed`; no image is decoded."""
    require(encoder, images, rows, grid)
    reader = NamedReader(encoder, images, grid, flip)
    for part in chunks_of(rows):
        yield part, reader.read(part)
        if progress:
            progress(part.stop, len(images))
