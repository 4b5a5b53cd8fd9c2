"""What encoders with two towers in torch share: pixels, precision and batches."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from aevlp.config.errors import ConfigError
from aevlp.data.images import IMAGENET_MEAN, IMAGENET_STD
from aevlp.vision_language.embedding_cache import hash_files
from aevlp.vision_language.encoders._base import Encoder, EncoderConfig

# bf16 saves 230 of 340 ms a view of ViT-B/16 (300 to 600 MB), but 0.4 of 0.8 ms of the bundled encoder (1.3 MB): there it is
# worth more that every machine computes the same.
SMALL_ENCODER_MB = 50
_SCALE = re.compile(r"(\w+\.)?(logit_scale|temperature)")


class TowersConfig(EncoderConfig):
    """Settings of encoders that compute with weights."""

    normalization: Literal["encoder", "imagenet"] = "encoder"
    """Mean and standard deviation of the views: the encoder's own, or ImageNet's as in the public AEVLP code."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Arithmetic of the image tower; auto takes bf16 for encoders of 50 MB or more where the device has it."""


class Towers(Encoder):
    """An image and a text tower with a common embedding space, in evaluation mode; weights and text tower in float32.

    A kind of its own gives `files` when built, and overrides `_load`, `_image_features` and `encode_texts`.
    """

    config: TowersConfig
    model: Any

    def __init__(self, config: TowersConfig, device: torch.device | str, title: str, files: Iterable[Path]):
        self.config, self.device, self.title = config, torch.device(device), title
        self.files = sorted(files)
        self.normalization = config.normalization
        weights = [path for path in self.files if path.suffix not in (".json", ".txt", ".model")]
        self.precision, reason = choose_precision(config.precision, weights, self.device)
        self.precision_reason = reason if config.precision == "auto" else None
        self._image_size: int | None = None

    def _load(self) -> tuple[Any, int, Sequence[float], Sequence[float]]:
        """The model in float32, its image size, and mean and standard deviation of its views; ConfigError where it has none."""
        raise NotImplementedError

    def _image_features(self, pixels: Tensor) -> Tensor:
        """Embeddings (N,D) of views (N,3,S,S) that are normalised already."""
        raise NotImplementedError

    def load(self) -> None:
        """See `Encoder`."""
        if self._image_size is not None:
            return
        with torch.random.fork_rng(devices=[]):  # a model that is made before its weights are read draws some for them
            model, size, *statistics = self._load()
        if self.normalization == "imagenet":
            statistics = [IMAGENET_MEAN, IMAGENET_STD]
        mean, std = (torch.tensor(numbers, device=self.device).view(3, 1, 1) * 255 for numbers in statistics)
        self.model = model.to(self.device).eval().requires_grad_(False)
        self._mean, self._std, self._image_size = mean, std, size

    @property
    def image_size(self) -> int:
        """See `Encoder`."""
        self.load()
        assert self._image_size is not None
        return self._image_size

    @property
    def logit_scale(self) -> float | None:
        """As it was trained; ALIGN keeps its inverse. Read without loading the model, which a run may not need.

        A model that was saved as a part of another has one prefix before its names, which transformers takes away; what has more
        is of a layer.
        """
        found: dict[str, Tensor] = {}
        for path in (path for path in self.files if path.suffix == ".safetensors"):
            try:
                with safe_open(path, "pt") as weights:
                    found |= {key: weights.get_tensor(key) for key in weights.keys() if _SCALE.fullmatch(key)}
            except (OSError, SafetensorError) as error:
                raise ConfigError(f"labeler.encoder.source: {path} cannot be read: {error}") from error
        key = min(found, key=lambda key: (key.count("."), key), default=None)
        if key is None:
            return None
        number = found[key].float()
        return float(1 / number if key.endswith("temperature") else number.exp())

    def fingerprint(self) -> str:
        """A hash of the files."""
        try:
            return hash_files(self.files)
        except OSError as error:
            raise ConfigError(f"labeler.encoder.source: {self.title} cannot be read: {error}") from error

    @torch.inference_mode()
    def encode_images(self, views: Tensor) -> Tensor:
        """See `Encoder`."""
        self.load()
        chunks = []
        for chunk in views.split(self.config.batch_size) if self.config.batch_size else [views]:  # as ONNX takes any number
            pixels = (chunk.to(self.device, non_blocking=True).float() - self._mean) / self._std
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
                chunks.append(self._image_features(pixels).float())
        return torch.nn.functional.normalize(torch.cat(chunks), dim=-1)


def choose_precision(precision: str, weights: Iterable[Path], device: torch.device) -> tuple[str, str]:
    """`fp32` or `bf16` for the encoder in files of `weights`, and why, without loading it."""
    if precision != "auto":
        return precision, "as configured"
    if device.type == "cuda":
        has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        has_bf16 = device.type == "cpu" and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    if not has_bf16:
        return "fp32", f"{device.type} has no fast bf16"
    megabytes = sum(path.stat().st_size for path in weights) / 2**20
    if megabytes < SMALL_ENCODER_MB:
        return "fp32", f"{megabytes:.0f} MB of weights are fast in any case, and fp32 is the same everywhere"
    return "bf16", f"{device.type} has bf16"
