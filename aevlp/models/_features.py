"""Where a probe's features come from: an encoder, or the backbone of another model, both behind the embedding cache."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from aevlp.data.dataset import Split
from aevlp.data.features import FeatureImages
from aevlp.vision_language.embedder import Embedder, ReportProgress


class Extractor(nn.Module):
    """Features (B,D) of uint8 images (B,3,image_size,image_size)."""

    def __init__(self, encoder: Any):
        super().__init__()
        _ = encoder
        self.encoder, self.network, self.image_size = encoder, encoder.model, encoder.image_size

    @property
    def num_features(self) -> int:
        """D."""
        size, device = self.image_size, self.encoder.device
        return int(self(torch.zeros(1, 3, size, size, dtype=torch.uint8, device=device)).shape[1])

    def forward(self, images: Tensor) -> Tensor:
        """See the class."""
        return self.encoder.encode_images(images)

    def keep(self, folder: Path) -> dict[str, Tensor]:
        """What is needed to build it again: files of an encoder are copied into `folder`, the state of a backbone is given."""
        if isinstance(self.encoder, BackboneEncoder):
            return self.network.state_dict()
        copies = folder / ENCODER
        copies.mkdir()
        for path in locate(self.encoder.config).iterdir():
            if path.suffix in FILE_TYPES and path.is_file():
                shutil.copyfile(path, copies / path.name)
        return {}


class FeatureStore:
    """Features of images for one probe: from the cache where they are there, else computed and kept."""

    def __init__(self, config: Any, image_size: int, device: torch.device, notify: Callable[[str], None] | None = None):
        """For settings of a probe; `image_size` is the side to which images are squashed for a backbone."""
        self._embedder = _embedder(config, image_size, device, notify)

    def of(self, split: Split, flip: bool, progress: ReportProgress | None = None) -> Split:
        """The split with features of its images, and of their mirror images where `flip`.

        `progress` is called with (images done, images in all) and may raise to stop.
        """
        before, features = self._embedder.num_images_encoded, torch.empty(0)
        with torch.random.fork_rng():  # whether they have to be computed shall not change how the head begins
            for rows, found in self._embedder.embed(split.images, 0, flip, progress):
                if not len(features):
                    features = torch.empty(len(split), 1 + flip, found.shape[-1], dtype=found.dtype)
                features[rows.start : rows.stop] = found[:, :, 0]
        return replace(split, images=FeatureImages(split.images, features, self._embedder.num_images_encoded - before))


def build_extractor(config: Any, image_size: int, device: torch.device | str = "cpu") -> Extractor:
    """What a `FeatureStore` asks, as a module."""
    return Extractor(_embedder(config, image_size, torch.device(device), None).encoder)


def _embedder(config: Any, image_size: int, device: torch.device, notify: Callable[[str], None] | None) -> Embedder:
    return Embedder(config.encoder, device, notify)
