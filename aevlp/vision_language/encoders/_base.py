"""What every encoder is: a frozen vision-language model that puts views and texts into one space."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Literal

import torch
from pydantic import BeforeValidator, Field, SerializeAsAny
from torch import Tensor

from aevlp.config import registry
from aevlp.config.schema import ComponentConfig

DEFAULT = registry.PARTS["encoder"][1]


class EncoderConfig(ComponentConfig):
    """What the settings of every encoder share."""

    name: str = DEFAULT
    """Registered name, as printed by `run.py list encoders`."""
    batch_size: int | None = Field(None, ge=1, le=65_536)
    """Views per forward pass; null takes 8 on a CPU and 64 elsewhere."""
    workers: Annotated[int, Field(ge=0, le=1024)] | Literal["auto"] = "auto"
    """Threads that decode and cut images ahead of the encoder; auto: one a core; 0: it waits for each image."""
    cache: bool = True
    """Keep embeddings in $AEVLP_CACHE (else ~/.cache/aevlp), so that no later run computes them again."""

    def missing(self) -> str | None:
        """What of the encoder is not on this machine, found out without the network; None where nothing is."""
        return None


AnyEncoder = Annotated[SerializeAsAny[EncoderConfig], BeforeValidator(partial(registry.part, "encoder"))]
"""Settings of any registered encoder, chosen by `name`: the type of a labeler's field `encoder`."""


class Encoder:
    """An encoder is built with (config, device=). That costs little: weights are loaded when they are first needed.

    One that computes overrides `image_size`, `fingerprint`, `encode_images` and `encode_texts`.
    """

    config: EncoderConfig
    """Its settings."""
    device: torch.device
    """Where it computes, and its embeddings are."""
    title: str
    """What messages and `cache list` call it: a hub id, a folder, a file."""
    precision: str = "fp32"
    """Arithmetic of the image tower. Embeddings of each are cached apart."""
    precision_reason: str | None = None
    """Why, where the user did not say; told when the encoder is loaded."""
    normalization: str = "encoder"
    """Statistics of the views: the encoder's own, or others. Embeddings of each are cached apart."""
    deterministic: bool = True
    """Whether equal batches give equal bits. Where not, runs repeat each other by what is cached, and that is told."""

    by_name: bool = False
    """Whether it knows images by name and never sees a pixel. It then overrides `require_names` and `embed_names` in the place of
    `image_size` and `encode_images`, is given class names without a template as texts, and nothing is cached."""

    def load(self) -> None:
        """Load the weights, where that has not happened.

        Raises:
            ConfigError: they cannot be used.
        """

    @property
    def image_size(self) -> int:
        """Side of the views in pixels; may load the weights."""
        raise NotImplementedError

    @property
    def logit_scale(self) -> float | None:
        """What the model was trained to multiply cosines with before a softmax or sigmoid; None where it has no such number."""
        return None

    def fingerprint(self) -> str:
        """What embeddings hang on besides precision and normalisation, mostly a hash of files, without loading the weights.

        Embeddings are found again under it, so it must change whenever they do. Of other kinds of encoders it may be the same.
        """
        raise NotImplementedError

    def text_fingerprint(self) -> str:
        """The same of embeddings of texts, for an encoder in which they hang on more."""
        return self.fingerprint()

    def encode_images(self, views: Tensor) -> Tensor:
        """Unit-length embeddings (N,D) float32 of uint8 views (N,3,image_size,image_size), on whatever device those are."""
        raise NotImplementedError

    def require_names(self, names: Sequence[str], grid: int) -> None:
        """DataError unless all images of these names are known, with the views of this grid."""
        raise NotImplementedError

    def embed_names(self, names: Sequence[str], grid: int) -> Tensor:
        """Unit-length embeddings (n, 1 + grid * grid, D) float32 of images by name: the whole image, then tiles row by row."""
        raise NotImplementedError

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Embeddings (N,D) float32 of texts, of any length."""
        raise NotImplementedError
