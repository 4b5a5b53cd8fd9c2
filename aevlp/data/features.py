"""Images of which features were computed and kept: a head on them trains without decoding anything."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from aevlp.data.dataset import ImageSource, SPMLData, identity
from aevlp.random import IMAGE_FLIP, flips


@dataclass(frozen=True)
class FeatureImages:
    """An image source whose images have features as well, which loaders hand out in their place."""

    images: ImageSource
    features: Tensor
    """(N,1,D), or (N,2,D) with those of the mirror images."""
    num_encoded: int = 0
    """Views that had to be encoded for them."""

    def __len__(self) -> int:
        """Number of images."""
        return len(self.images)

    def __getitem__(self, row: int) -> Tensor:
        """The image itself, uint8 (3,H,W)."""
        return self.images[row]

    def name(self, row: int) -> str:
        """As the source names it."""
        return self.images.name(row)

    def identity(self, row: int) -> bytes | None:
        """As the source tells it."""
        return identity(self.images, row)


def stored_features(images: ImageSource) -> Tensor | None:
    """(N,F,D) of images that have features; None of others."""
    return images.features if isinstance(images, FeatureImages) else None


def views_encoded(images: ImageSource) -> int:
    """Views that had to be encoded for the features of images; 0 of images without."""
    return images.num_encoded if isinstance(images, FeatureImages) else 0


def num_encoded(data: SPMLData) -> int:
    """Views that had to be encoded for the features of the images of all splits."""
    images = [split.images for split in (data.train, data.val, data.test) if split is not None]
    return sum(views_encoded(one) for one in images)


class FeatureBatches:
    """What a loader of images gives, with features in their place: (features (B,D), rows (B,)).

    `flip` takes the mirror image by the coin that flips the image itself.
    """

    def __init__(self, features: Tensor, batches: Iterable[list[tuple[int, int]]], flip: bool, seed: int):
        self.features, self.batches, self.flip, self.seed = features, batches, flip, seed

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of the (epoch, row) keys that `batches` gives."""
        for keys in self.batches:
            epoch, rows = keys[0][0], [row for _, row in keys]
            index = torch.tensor(rows)
            mirrored = np.zeros(len(rows), dtype=bool)
            if self.flip:
                mirrored = flips(IMAGE_FLIP, self.seed, epoch, rows, 1)[:, 0]
            yield self.features[index, torch.from_numpy(mirrored.astype(np.int64))], index
