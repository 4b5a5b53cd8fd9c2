"""Where a probe's features come from: an encoder, or the backbone of another model, both behind the embedding cache."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from aevlp.config.errors import ConfigError
from aevlp.data.dataset import Split
from aevlp.data.features import FeatureImages
from aevlp.models._classifier import BoostConfig, Classifier, build_backbone
from aevlp.vision_language.embedder import Embedder, ReportProgress
from aevlp.vision_language.encoders import Encoder, EncoderConfig
from aevlp.vision_language.encoders.huggingface import HuggingFace

ENCODER = "encoder"
"""Folder of an export for the files of an encoder."""


class Extractor(nn.Module):
    """Features (B,D) of uint8 images (B,3,image_size,image_size)."""

    def __init__(self, encoder: Any):
        super().__init__()
        encoder.load()
        self.encoder, self.image_size = encoder, encoder.image_size
        self.network = getattr(encoder, "model", None)  # so that its weights go where this module goes

    @property
    def num_features(self) -> int:
        """D."""
        size, device = self.image_size, self.encoder.device
        return int(self(torch.zeros(1, 3, size, size, dtype=torch.uint8, device=device)).shape[1])

    def forward(self, images: Tensor) -> Tensor:
        """See the class."""
        return self.encoder.encode_images(images)

    def in_float32(self) -> None:
        """Compute in float32 from now on, whatever the features of training were computed in."""
        self.encoder.precision = "fp32"

    def keep(self, folder: Path) -> dict[str, Tensor]:
        """What is needed to build it again: files of an encoder are copied into `folder`, the state of a backbone is given.

        Of encoders that are no folder nothing is copied.
        """
        if isinstance(self.encoder, BackboneEncoder):
            return self.encoder.model.state_dict()
        if not isinstance(self.encoder, HuggingFace):  # others are found again by their settings alone
            return {}
        copies = folder / ENCODER
        copies.mkdir()
        for path in self.encoder.files:
            shutil.copyfile(path, copies / path.name)
        return {}


class FeatureStore:
    """Features of images: from the cache where they are there, else computed and kept."""

    def __init__(self, embedder: Embedder):
        """Of an encoder; see `of_probe` and `of_backbone`."""
        self._embedder = embedder

    @classmethod
    def of_probe(
        cls, config: Any, image_size: int, device: torch.device, notify: Callable[[str], None] | None = None
    ) -> FeatureStore:
        """For settings of a probe; `image_size` is the side to which images are squashed for a backbone.

        Raises:
            ConfigError: a backbone without weights.
        """
        if config.backbone is not None and getattr(config.backbone, "weights", "none") == "none":
            raise ConfigError(
                "model.backbone.weights: none leaves a network that has learnt nothing; name a file, or other weights"
            )
        return cls(_embedder(config, image_size, device, notify))

    @classmethod
    def of_backbone(
        cls, model: Classifier, config: BoostConfig, image_size: int, device: torch.device, notify: Callable[[str], None]
    ) -> FeatureStore:
        """Of the backbone of a model as it is; its settings only name it."""
        encoder = BackboneEncoder(config, image_size, device, model)
        return cls(Embedder(encoder.config, device, notify, encoder))

    def of(self, split: Split, flip: bool, progress: ReportProgress | None = None, cached: bool = True) -> Split:
        """The split with features of its images, and of their mirror images where `flip`.

        `progress` is called with (images done, images in all) and may raise to stop; without `cached` all are computed.
        """
        before, features = self._embedder.num_images_encoded, torch.empty(0)
        devices = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
        with torch.random.fork_rng(devices):  # whether they have to be computed shall not change how the head begins
            for rows, found in self._embedder.embed(split.images, 0, flip, progress, cached):
                if not len(features):
                    features = torch.empty(len(split), 1 + flip, found.shape[-1], dtype=found.dtype)
                features[rows.start : rows.stop] = found[:, :, 0]
        return replace(split, images=FeatureImages(split.images, features, self._embedder.num_images_encoded - before))

    def count_missing(self, split: Split, flip: bool) -> int:
        """Views that `of` would have to encode."""
        return self._embedder.count_missing(split.images, 0, flip)


def build_extractor(config: Any, image_size: int, device: torch.device | str = "cpu") -> Extractor:
    """What a `FeatureStore` asks, as a module; ConfigError where it looks at no pixels."""
    if config.encoder is not None:  # in one pass, as ONNX takes any number of images
        config = config.model_copy(update={"encoder": config.encoder.model_copy(update={"batch_size": None})})
    encoder = _embedder(config, image_size, torch.device(device), lambda _: None).encoder
    if encoder.by_name:
        raise ConfigError(
            f"model.encoder: {encoder.title} holds features by name and computes none of other photos: `eval` scores those of "
            "the dataset; to predict or export, train on another encoder or a backbone"
        )
    return Extractor(encoder)


class BackboneEncoder(Encoder):
    """The backbone of a model of this room as an encoder of images: its features, averaged over a map, not of unit length."""

    def __init__(self, config: BoostConfig, image_size: int, device: torch.device, model: Classifier | None = None):
        self.config, self.device = EncoderConfig(name="backbone"), device
        self.title = " ".join(str(value) for value in config.model_dump().values() if value is not None)
        self.normalization = f"{image_size} px"
        self._settings, self._size, self._given = config, image_size, model

    @cached_property
    def model(self) -> Classifier:
        """The whole model, of which the head is passed over."""
        model = self._given
        if model is None:
            model = build_backbone(self._settings, num_classes=1, image_size=self._size).requires_grad_(False)
        return model.to(self.device).eval()

    def load(self) -> None:
        """See `Encoder`."""
        _ = self.model

    @property
    def image_size(self) -> int:
        """See `Encoder`."""
        return self._size

    def fingerprint(self) -> str:
        """A hash of architecture and weights: .2 s for ResNet-50, which its settings alone would not tell from what they name."""
        # Activations and padding have no weights: two networks may share all of these and differ.
        architecture = self._settings.model_dump(mode="json", exclude={"weights"})
        digest = hashlib.sha256(json.dumps(architecture, sort_keys=True).encode())
        model = self.model
        for name, tensor in (*model.backbone.state_dict().items(), ("mean", model.mean), ("std", model.std)):
            digest.update(name.encode())
            digest.update(tensor.cpu().contiguous().numpy().data)
        return digest.hexdigest()[:16]

    @torch.inference_mode()
    def encode_images(self, views: Tensor) -> Tensor:
        """Features (N,D) float32."""
        return self.model.features(views.to(self.device)).float()


def _embedder(config: Any, image_size: int, device: torch.device, notify: Callable[[str], None] | None) -> Embedder:
    if config.encoder is not None:
        return Embedder(config.encoder, device, notify)
    encoder = BackboneEncoder(config.backbone, image_size, device)
    return Embedder(encoder.config, device, notify, encoder)
