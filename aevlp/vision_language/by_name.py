"""Embeddings of an encoder that knows images by name: looked up, not computed."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from aevlp.data.dataset import ImageSource
from aevlp.vision_language.encoders import Encoder

ReportProgress = Callable[[int, int], None]
ROWS = 64  # images at a time


def embed_by_name(
    encoder: Encoder, images: ImageSource, grid: int, flip: bool, progress: ReportProgress | None
) -> Iterator[tuple[range, Tensor]]:
    """As `Embedder.embed`; no image is decoded, and a mirror image has the embeddings of the image."""
    names = [images.name(row) for row in range(len(images))]
    if names:
        encoder.require_names(names, grid)  # all at once, so that all that is missing is told
    for start in range(0, len(names), ROWS):
        rows = range(start, min(start + ROWS, len(names)))
        views = encoder.embed_names(names[rows.start : rows.stop], grid).half()
        yield rows, torch.stack([views] * (1 + flip), dim=1)
        if progress:
            progress(rows.stop, len(names))
