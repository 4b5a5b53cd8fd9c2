"""Dual encoders of transformers (CLIP, SigLIP and their like), from the Hugging Face hub or a local folder."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from pydantic import Field, field_validator
from safetensors import SafetensorError, safe_open
from torch import Tensor

from aevlp.config.errors import ConfigError, in_one_line
from aevlp.config.registry import register
from aevlp.folders import user_path
from aevlp.vision_language.encoders._hub import download, encoder_files, find_snapshot
from aevlp.vision_language.encoders._towers import Towers, TowersConfig

_INSTEAD = "set labeler.encoder.source to a local folder in Hugging Face layout"
_TOKENIZERS = ("tokenizer.json", "vocab.json", "vocab.txt", "*.model")
BUNDLED = Path(str(resources.files("aevlp"))) / "assets" / "tiny_clip"


class HuggingFaceConfig(TowersConfig):
    """Which encoder, and how images are put to it."""

    source: str = Field("openai/clip-vit-base-patch16", min_length=1)
    """Hub id, local folder in Hugging Face layout, or `bundled` for the tiny CLIP of the digit scenes."""
    revision: str | None = None
    """Branch, tag or commit of a hub id."""

    @field_validator("source")
    @classmethod
    def _folder_in_full(cls, source: str) -> str:
        path = user_path(source)
        return str(path.absolute()) if source != "bundled" and (source[0] in "./~" or path.is_dir()) else source

    def missing(self) -> str | None:
        """See `EncoderConfig`."""
        try:
            found = find_local(self)
        except ConfigError as error:
            return str(error)
        return None if found is not None else f"encoder {self.source} is not on this machine either; {_INSTEAD}"


@register("encoders", "huggingface", config=HuggingFaceConfig)
class HuggingFace(Towers):
    """A model of transformers with `get_image_features` and `get_text_features`."""

    config: HuggingFaceConfig

    def __init__(self, config: HuggingFaceConfig, device: torch.device | str = "cpu"):
        self.folder = locate(config)
        super().__init__(config, device, config.source, encoder_files(self.folder, config.source))

    @property
    def logit_scale(self) -> float | None:
        """As it was trained; ALIGN keeps its inverse. Read without loading the model, which a run may not need."""
        found: dict[str, Tensor] = {}
        for path in (path for path in self.files if path.suffix == ".safetensors"):
            try:
                with safe_open(path, "pt") as weights:
                    found |= {key: weights.get_tensor(key) for key in ("logit_scale", "temperature") if key in weights.keys()}
            except (OSError, SafetensorError) as error:
                raise ConfigError(f"labeler.encoder.source: {path} cannot be read: {error}") from error
        if "logit_scale" in found:
            return float(found["logit_scale"].float().exp())
        return float(1 / found["temperature"].float()) if "temperature" in found else None

    def _load(self) -> tuple[Any, int, Sequence[float], Sequence[float]]:
        model, self._tokenizer, mean, std = _load(self.folder, self.title)
        return model, model.config.vision_config.image_size, mean, std

    def _image_features(self, pixels: Tensor) -> Tensor:
        return _features(self.model.get_image_features(pixel_values=pixels))

    @torch.inference_mode()
    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Embeddings (N,D) float32 of texts, not normalised; ConfigError where the tokenizer is of another model."""
        self.load()
        length = self.model.config.text_config.max_position_embeddings
        # Padded to the full length: SigLIP was trained that way, and CLIP pools at the end token whatever follows it.
        tokens = self._tokenizer(list(texts), padding="max_length", truncation=True, max_length=length, return_tensors="pt")
        tokens.pop("token_type_ids", None)
        largest, known = int(tokens["input_ids"].max()), self.model.config.text_config.vocab_size
        if largest >= known:
            raise ConfigError(
                f"labeler.encoder.source: {self.title} holds parts of two encoders: its tokenizer has "
                f"{len(self._tokenizer)} words and gives number {largest}, its text tower knows {known}; take that model's own"
            )
        return _features(self.model.get_text_features(**tokens.to(self.device))).float()


def _features(output: Any) -> Tensor:
    """Transformers 5 returns an output object where version 4 returned the tensor."""
    features = output if isinstance(output, Tensor) else getattr(output, "pooler_output", None)
    if not isinstance(features, Tensor):
        raise TypeError(f"the encoder returned {type(output).__name__} without pooled features")
    return features


def locate(config: HuggingFaceConfig) -> Path:
    """Local folder of the encoder: the bundled one, a folder given, the hub cache, or a download.

    Raises:
        ConfigError: the folder holds no model.
        UnavailableError: a hub id that is neither cached nor reachable; answered within 15 s.
    """
    found = find_local(config)
    return download(config.source, config.revision, _INSTEAD) if found is None else found


def find_local(config: HuggingFaceConfig) -> Path | None:
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
    return find_snapshot(source, config.revision)


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
