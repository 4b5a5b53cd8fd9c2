"""Frozen dual encoders (CLIP, SigLIP and their like) from the Hugging Face hub or a local folder."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, field_validator
from torch import Tensor

from aevlp.config.errors import ConfigError, UnavailableError, in_one_line
from aevlp.config.schema import ComponentConfig, Config
from aevlp.data.images import IMAGENET_MEAN, IMAGENET_STD
from aevlp.folders import user_path
from aevlp.network import require_reachable

# bf16 saves 230 of 340 ms a view of ViT-B/16 (300 to 600 MB), but 0.4 of 0.8 ms of the bundled encoder (1.3 MB): there it is
# worth more that every machine computes the same.
SMALL_ENCODER_MB = 50
FILE_TYPES = (".json", ".txt", ".safetensors", ".model")
"""What belongs to an encoder's folder; all else is left alone."""
_PATTERNS = [f"*{suffix}" for suffix in FILE_TYPES]
_INSTEAD = "set labeler.encoder.source to a local folder in Hugging Face layout"
_TOKENIZERS = ("tokenizer.json", "vocab.json", "vocab.txt", "*.model")
BUNDLED = Path(__file__).resolve().parents[1] / "assets" / "tiny_clip"


class EncoderConfig(Config):
    """Which encoder, and how images are put to it."""

    source: str = Field("openai/clip-vit-base-patch16", min_length=1)
    """Hub id, local folder in Hugging Face layout, or `bundled` for the tiny CLIP of the digit scenes."""
    revision: str | None = None
    """Branch, tag or commit of a hub id."""
    normalization: Literal["encoder", "imagenet"] = "encoder"
    """Mean and standard deviation of the views: the encoder's own, or ImageNet's as in the public AEVLP code."""
    batch_size: int | None = Field(None, ge=1, le=65_536)
    """Views per forward pass; null takes 8 on a CPU and 64 elsewhere."""
    workers: Annotated[int, Field(ge=0, le=1024)] | Literal["auto"] = "auto"
    """Threads that decode and cut images ahead of the encoder; 0: it waits for each image."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Arithmetic of the image tower; auto takes bf16 for encoders of 50 MB or more where the device has it."""
    cache: bool = True
    """Keep embeddings in $AEVLP_CACHE (else ~/.cache/aevlp), so that no later run computes them again."""

    @field_validator("source")
    @classmethod
    def _folder_in_full(cls, source: str) -> str:
        path = user_path(source)
        return str(path.absolute()) if source != "bundled" and (source[0] in "./~" or path.is_dir()) else source


class DualEncoder:
    """An image and a text tower with a common embedding space, in evaluation mode; weights and text tower in float32."""

    def __init__(self, config: EncoderConfig, device: torch.device | str = "cpu"):
        self.config, self.device = config, torch.device(device)
        folder = locate(config)
        self.precision, self.precision_reason = choose_precision(config.precision, folder, self.device)
        self.model, self._tokenizer, *statistics = _load(folder, config.source)
        self.model = self.model.to(self.device).eval().requires_grad_(False)
        if config.normalization == "imagenet":
            statistics = [IMAGENET_MEAN, IMAGENET_STD]
        mean, std = statistics
        self._mean = torch.tensor(mean, device=self.device).view(3, 1, 1) * 255
        self._std = torch.tensor(std, device=self.device).view(3, 1, 1) * 255
        self.image_size: int = self.model.config.vision_config.image_size

    @torch.inference_mode()
    def encode_images(self, views: Tensor) -> Tensor:
        """Unit-length embeddings (N,D) float32 of uint8 views (N,3,image_size,image_size)."""
        chunks = []
        for chunk in views.split(self.config.batch_size or len(views)):
            pixels = (chunk.to(self.device, non_blocking=True).float() - self._mean) / self._std
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
                chunks.append(_features(self.model.get_image_features(pixel_values=pixels)).float())
        return torch.nn.functional.normalize(torch.cat(chunks), dim=-1)

    @torch.inference_mode()
    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Embeddings (N,D) float32 of texts, not normalised; ConfigError where the tokenizer is of another model."""
        length = self.model.config.text_config.max_position_embeddings
        # Padded to the full length: SigLIP was trained that way, and CLIP pools at the end token whatever follows it.
        tokens = self._tokenizer(list(texts), padding="max_length", truncation=True, max_length=length, return_tensors="pt")
        tokens.pop("token_type_ids", None)
        largest, known = int(tokens["input_ids"].max()), self.model.config.text_config.vocab_size
        if largest >= known:
            raise ConfigError(
                f"labeler.encoder.source: {self.config.source} holds parts of two encoders: its tokenizer has "
                f"{len(self._tokenizer)} words and gives number {largest}, its text tower knows {known}; take that model's own"
            )
        return _features(self.model.get_text_features(**tokens.to(self.device))).float()


def choose_precision(precision: str, folder: Path, device: torch.device) -> tuple[str, str]:
    """`fp32` or `bf16` for the encoder in `folder`, and why, without loading it."""
    if precision != "auto":
        return precision, "as configured"
    if device.type == "cuda":
        has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        has_bf16 = device.type == "cpu" and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    if not has_bf16:
        return "fp32", f"{device.type} has no fast bf16"
    megabytes = sum(path.stat().st_size for path in folder.glob("*.safetensors")) / 2**20
    if megabytes < SMALL_ENCODER_MB:
        return "fp32", f"{megabytes:.0f} MB of weights are fast in any case, and fp32 is the same everywhere"
    return "bf16", f"{device.type} has bf16"


def _features(output: Any) -> Tensor:
    """Transformers 5 returns an output object where version 4 returned the tensor."""
    features = output if isinstance(output, Tensor) else getattr(output, "pooler_output", None)
    if not isinstance(features, Tensor):
        raise TypeError(f"the encoder returned {type(output).__name__} without pooled features")
    return features


def locate(config: EncoderConfig) -> Path:
    """Local folder of the encoder: the bundled one, a folder given, the hub cache, or a download.

    Raises:
        ConfigError: the folder holds no model.
        UnavailableError: a hub id that is neither cached nor reachable; answered within 15 s.
    """
    found = find_local(config)
    if found is not None:
        return found
    from huggingface_hub import constants, snapshot_download

    source = config.source
    if os.environ.get("HF_HUB_OFFLINE") == "1":
        raise UnavailableError(f"encoder {source} is not in the local cache, and HF_HUB_OFFLINE=1 forbids a download; {_INSTEAD}")
    require_reachable(constants.ENDPOINT, f"encoder {source}", _INSTEAD)
    try:
        return Path(snapshot_download(source, revision=config.revision, allow_patterns=_PATTERNS))
    except Exception as error:  # the hub's, the connection's and the disk's; all mean that there is no encoder
        raise UnavailableError(f"encoder {source} could not be downloaded ({error}); {_INSTEAD}") from error


def find_local(config: EncoderConfig) -> Path | None:
    """Local folder of the encoder, without the network: None for a hub id that is not cached; ConfigError as of `locate`."""
    source = config.source
    if source == "bundled":
        return BUNDLED
    path = Path(source)
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise ConfigError(f"labeler.encoder.source: {source} is a folder without config.json, so not a Hugging Face model")
        return path
    if source.startswith((".", "/", "~")) or source.count("/") != 1:
        raise ConfigError(f"labeler.encoder.source: {source!r} is neither a folder here nor a hub id of the form owner/name")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(source, revision=config.revision, allow_patterns=_PATTERNS, local_files_only=True))
    except LocalEntryNotFoundError:
        return None
    except HFValidationError as error:
        raise ConfigError(f"labeler.encoder.source: {source!r} is neither a folder here nor a hub id: {error}") from error
    return folder if any(folder.glob("*.safetensors")) else None  # other programs may have cached no more than the tokenizer


def missing_too(labeler: ComponentConfig) -> list[str]:
    """What to tell of a labeler's encoder where other weights are missing already: not one after the other."""
    encoder: Any = getattr(labeler, "encoder", None)
    if not hasattr(encoder, "source") or not hasattr(encoder, "revision"):  # a plugin's own kind of encoder
        return []
    try:
        found = find_local(encoder)
    except ConfigError as error:
        return [str(error)]
    return [] if found is not None else [f"encoder {encoder.source} is not on this machine either; {_INSTEAD}"]


def _load(folder: Path, source: str) -> tuple[Any, Any, Sequence[float], Sequence[float]]:
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    try:
        with _silent(logging):
            model, report = AutoModel.from_pretrained(
                folder, dtype=torch.float32, use_safetensors=True, output_loading_info=True, ignore_mismatched_sizes=True, **local
            )
        if not any(path for name in _TOKENIZERS for path in folder.glob(name)):  # else transformers may make an empty one
            raise FileNotFoundError(f"it has no tokenizer ({', '.join(_TOKENIZERS)})")
        tokenizer = AutoTokenizer.from_pretrained(folder, **local)
        if tokenizer.pad_token is None:
            raise ValueError("its tokenizer has no padding token; name one as pad_token in tokenizer_config.json")
        mean, std = _statistics(folder)
    except Exception as error:  # transformers and safetensors raise a dozen types; all mean that the folder cannot be used
        raise ConfigError(f"labeler.encoder.source: {source} cannot be loaded: {in_one_line(error)}") from error
    if not (hasattr(model, "get_image_features") and hasattr(model, "get_text_features")):
        raise ConfigError(f"labeler.encoder.source: {source} is a {type(model).__name__}, not a dual encoder like CLIP or SigLIP")
    if report["missing_keys"]:  # transformers would leave them at random values
        raise ConfigError(f"labeler.encoder.source: the weights of {source} lack {sorted(report['missing_keys'])[0]!r}")
    if report["mismatched_keys"]:  # likewise
        name, *shapes = min(report["mismatched_keys"])
        held, said = (tuple(shape) for shape in shapes)
        raise ConfigError(
            f"labeler.encoder.source: {source} holds parts of two encoders: "
            f"{name} is {held} in its weights, {said} in config.json"
        )
    return model, tokenizer, mean, std


@contextlib.contextmanager
def _silent(logging: Any) -> Iterator[None]:
    """Without the tables of transformers about weights that do not fit, which is told in a line."""
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def _statistics(folder: Path) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of the image processor, which transformers 5 may have saved within the processor."""
    path = folder / "preprocessor_config.json"
    settings = json.loads((path if path.is_file() else folder / "processor_config.json").read_text(encoding="utf-8"))
    settings = settings.get("image_processor", settings)
    mean, std = ([float(value) for value in settings[name]] for name in ("image_mean", "image_std"))
    if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
        raise ValueError(f"image_mean {mean} and image_std {std} must be three numbers each, the latter above 0")
    return mean, std
