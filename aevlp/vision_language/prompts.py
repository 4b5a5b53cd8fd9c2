"""Text features of the classes: prompt templates, averaged, and a check that the text side can tell classes apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from aevlp.config.errors import DataError

PROMPT = "a photo of a {}."


class TextEncoder(Protocol):
    """An encoder, or `Embedder`, which caches."""

    title: str
    by_name: bool

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Embeddings (N,D) float32, not normalised."""
        ...


def text_features(encoder: TextEncoder, names: Sequence[str], templates: Sequence[str] = (PROMPT,)) -> Tensor:
    """Features (C,D) float32 of the classes, not normalised; the mean over the templates where there are several.

    Underscores in names are read as spaces, as in the public code.

    Raises:
        DataError: there is one class alone, or two have equal features, so that no pseudo-label could tell them apart.
    """
    if len(names) < 2:
        raise DataError(
            f"labels from an encoder weigh classes against each other, and the dataset has one alone, {', '.join(names)}: each "
            "photo would be given it; add a class for what else the photos show, or set labeler=none and a loss such as gr"
        )
    words = [name.replace("_", " ") for name in names]
    templates = ("{}",) if encoder.by_name else templates  # vectors of classes are there, not of sentences
    prompts = [[template.replace("{}", word) for word in words] for template in templates]
    features = torch.stack([encoder.encode_texts(texts) for texts in prompts]).mean(dim=0)
    units = torch.nn.functional.normalize(features, dim=-1)
    # Not by a matrix product, which it takes from 25 rows on: equal rows are then 3e-4 apart on some machines.
    apart = torch.cdist(units, units, compute_mode="donot_use_mm_for_euclid_dist")
    equal = torch.triu(apart < 1e-6, diagonal=1).nonzero()
    if len(equal):
        first, second = (names[i] for i in equal[0].tolist())
        raise DataError(
            f"encoder {encoder.title} gives the same text features to {len(equal)} pair(s) of classes, such as "
            f"{first!r} and {second!r}; choose another labeler.encoder.source, other class names, or labeler: none"
        )
    return features
