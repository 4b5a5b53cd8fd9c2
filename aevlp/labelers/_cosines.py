"""Cosines of views and class texts: a table of all of them, or computed for a batch at a time from the cache.

Both go through `cosines_of`, image by image: the last bits of a matrix product hang on its shape, and so they are the same.
"""

from __future__ import annotations

import torch
from torch import Tensor

from aevlp.config.errors import ConfigError, UnavailableError
from aevlp.vision_language.by_name import NamedReader
from aevlp.vision_language.reader import Reader


def cosines_of(embeddings: Tensor, text: Tensor) -> Tensor:
    """(B,F,V,C) float32, on the device of `text` (C,D), of embeddings (B,F,V,D) float16 of any device."""
    embeddings = embeddings.to(text.device, non_blocking=True)
    result = torch.empty(*embeddings.shape[:3], len(text), device=text.device)
    for image in range(len(embeddings)):
        for mirrored in range(embeddings.shape[1]):
            # .float() makes new memory: on a CPU the bits may hang on where a matrix begins.
            result[image, mirrored] = embeddings[image, mirrored].float() @ text.T
    return result


def no_cache(needed_mb: float, table_mb: int, cache: bool) -> ConfigError:
    """What to raise where the table is too large and nothing is cached to compute from; `cache` is the setting of that name."""
    why, instead = "images without identity() leave", ""
    if not cache:
        why, instead = "labeler.encoder.cache=false leaves", "labeler.encoder.cache=true, or "
    return ConfigError(
        f"labeler.table_mb={table_mb}: the cosines of all views take {needed_mb:,.0f} MB, and {why} "
        f"nothing to compute them from; set {instead}labeler.table_mb={int(needed_mb) + 1}"
    )


class Streamed:
    """Cosines of training rows, computed as they are asked for. The memory is that of a batch."""

    def __init__(self, reader: Reader | NamedReader, text: Tensor, num_images: int):
        """Of `num_images` whose embeddings the reader has.

        Raises:
            UnavailableError: it has not: they could not be kept, and to encode them in every epoch would take for ever.
        """
        self.reader, self.text = reader, text
        lacking = num_images - reader.count()
        if lacking:
            raise UnavailableError(
                f"labeler.table_mb: cosines are to come from the cache, but {lacking:,} of {num_images:,} images could not "
                "be kept there; free some space, set AEVLP_CACHE to another disk, or raise labeler.table_mb to hold all cosines"
            )

    def __call__(self, index: Tensor, mirrored: Tensor | None = None) -> Tensor:
        """(B,V,C) float32 of rows `index` (B,), each view mirrored or not as `mirrored` (B,V) bool says."""
        embeddings = self.reader.read(index.tolist())
        chosen = embeddings[:, 0]
        if mirrored is not None:
            chosen = torch.where(mirrored[:, :, None], embeddings[:, 1], chosen)
        return cosines_of(chosen[:, None], self.text)[:, 0]
