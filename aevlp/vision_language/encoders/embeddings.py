"""Embeddings that somebody has computed already, by the names of images and classes; no pixel is looked at."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from aevlp.config.errors import ConfigError, DataError
from aevlp.config.registry import register
from aevlp.config.schema import LocalPath
from aevlp.vision_language.encoders._base import Encoder, EncoderConfig
from aevlp.vision_language.encoders._vectors import read_vectors

_NO_NAME = re.compile(r"image \d+")  # of images in memory, the same in every split


class EmbeddingsConfig(EncoderConfig):
    """Which vectors."""

    images: LocalPath
    """File of the vectors of images by file name: .npz, .npy, .parquet or .safetensors. With a grid, the whole image's and then
    those of its tiles, row by row."""
    texts: LocalPath
    """File of the vectors of classes by name, as the text encoder would read it."""
    logit_scale: float | None = Field(None, gt=0)
    """What the model they come from multiplied cosines with; null: not known."""
    cache: Literal[False] = False
    """Nothing is computed, so nothing is kept."""


@register("encoders", "embeddings", config=EmbeddingsConfig)
class Embeddings(Encoder):
    """Vectors by name. A mirror image has those of the image as it is."""

    config: EmbeddingsConfig
    by_name = True

    def __init__(self, config: EmbeddingsConfig, device: torch.device | str = "cpu"):
        self.config, self.device, self.title = config, torch.device(device), config.images
        self._texts = read_vectors(Path(config.texts), "labeler.encoder.texts")
        self._images = read_vectors(Path(config.images), "labeler.encoder.images")
        image, text = self._images.vectors.shape[-1], self._texts.vectors.shape[-1]
        if image != text:
            raise ConfigError(
                f"labeler.encoder: vectors of two widths, {image} in {config.images} and {text} in {config.texts}; take those of "
                "the two towers of one model"
            )
        if self._texts.vectors.shape[1] != 1:
            raise ConfigError(
                f"labeler.encoder.texts: {config.texts} holds {self._texts.vectors.shape[1]} vectors a name, not one"
            )

    @property
    def logit_scale(self) -> float | None:
        """As configured."""
        return self.config.logit_scale

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Vectors (N,D) float32 of unit length of class names, underscores read as spaces; DataError where one has none."""
        known = {name.replace("_", " "): name for name in self._texts.rows}
        names = [known.get(text, text) for text in texts]
        self._texts.require(names, "classes")
        return torch.from_numpy(self._texts.of(names)[:, 0]).to(self.device)

    def require_names(self, names: Sequence[str], grid: int) -> None:
        """See `Encoder`."""
        views = self._images.vectors.shape[1]
        if grid and views != 1 + grid**2:
            instead = "" if views > 1 else "; set labeler.grid=0, or take a labeler that looks at whole images"
            raise ConfigError(
                f"labeler.encoder.images: grid {grid} takes {1 + grid**2} vectors an image, the whole and its tiles row by row, "
                f"and {self.title} holds {views}{instead}"
            )
        if names and _NO_NAME.fullmatch(names[0]):
            raise DataError(f"labeler.encoder.images: images of this dataset have no names by which {self.title} could know them")
        self._images.require(names, "images")

    def embed_names(self, names: Sequence[str], grid: int) -> Tensor:
        """See `Encoder`."""
        return torch.from_numpy(self._images.of(names)[:, : 1 + grid**2])
