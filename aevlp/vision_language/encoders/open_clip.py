"""Encoders of open_clip: a hub id, a local folder, or an architecture of its own with a file of weights."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import Field, field_validator
from torch import Tensor

from aevlp.config.errors import ConfigError, UnavailableError, in_one_line, shortened, suggest
from aevlp.config.registry import register
from aevlp.config.schema import LocalPath
from aevlp.vision_language.encoders._hub import (
    FILE_TYPES,
    TOKENIZERS,
    download,
    encoder_files,
    find_snapshot,
    folder_in_full,
    holds,
    what_is_missing,
)
from aevlp.vision_language.encoders._towers import Towers, TowersConfig

_HUB = "hf-hub:"
_CONFIG = "open_clip_config.json"
_INSTEAD = f"set labeler.encoder.source to a local folder with {_CONFIG} and weights"
_TEXT_TYPES = (".json", ".txt", ".model")
_TEXT_FILES = tuple(f"*{suffix}" for suffix in _TEXT_TYPES)
_WEIGHTS = "open_clip*.safetensors"  # such a repository often holds the weights of transformers, too
_PICKLED = "open_clip*.bin"  # where there are no others; open_clip reads plain tensors of it and nothing else


class OpenCLIPConfig(TowersConfig):
    """Which encoder, and how images are put to it."""

    source: str = Field(min_length=1)
    """`hf-hub:owner/name`, a local folder with open_clip_config.json and weights, or an architecture such as ViT-B-32."""
    weights: LocalPath | None = None
    """File of weights of an architecture; nothing is downloaded by the name of a training."""
    revision: str | None = None
    """Branch, tag or commit of a hub id."""

    @field_validator("source")
    @classmethod
    def _folder_in_full(cls, source: str) -> str:
        return folder_in_full(source)

    def missing(self) -> str | None:
        """See `EncoderConfig`."""
        if not self.source.startswith(_HUB):
            return None
        return what_is_missing(self.source, lambda: _snapshot(self), _INSTEAD)


@register("encoders", "open_clip", config=OpenCLIPConfig)
class OpenCLIP(Towers):
    """A model of the package open_clip. Views are squashed to squares, whatever its own transform would do."""

    config: OpenCLIPConfig

    def __init__(self, config: OpenCLIPConfig, device: torch.device | str = "cpu"):
        self.folder = _folder(config)
        self.settings = _settings(config, self.folder)
        text = self.settings["text_cfg"]
        # A text tower of transformers and a tokenizer have files of their own, which open_clip would download without a word.
        self._tower = _text_folder(text.get("hf_model_name"), ("config.json",), self.folder, config)
        self._tokens = _text_folder(text.get("hf_tokenizer_name"), TOKENIZERS, self.folder, config)
        # After these two, which may have put files there.
        own = [] if self.folder is None else encoder_files(self.folder, config.source, (*FILE_TYPES, ".bin", ".pth"))
        if any(path.match(_WEIGHTS) for path in own):  # then others beside them are those of transformers
            own = [path for path in own if path.suffix in _TEXT_TYPES or path.match(_WEIGHTS)]
        given = [] if config.weights is None else [Path(config.weights)]
        others = {folder for folder in (self._tower, self._tokens) if folder not in (None, self.folder)}
        theirs = [  # not weights, which no part of this model is read from
            path for folder in others if folder is not None for path in encoder_files(folder, str(folder), _TEXT_TYPES)
        ]
        super().__init__(config, device, config.source, [*own, *given, *theirs])

    @property
    def logit_scale(self) -> float | None:
        """See `Encoder`; read from the model where the weights are no safetensors."""
        if not any(path.suffix == ".safetensors" for path in self.files):
            self.load()
            return float(self.model.logit_scale.exp())
        return super().logit_scale

    def fingerprint(self) -> str:
        """A hash of the files, and the architecture where these do not name it."""
        return super().fingerprint() if self.folder is not None else f"{super().fingerprint()} {self.config.source}"

    def _load(self) -> tuple[Any, int, Sequence[float], Sequence[float]]:
        open_clip = _package()
        source, setting = self.config.source, "source" if self.config.weights is None else "weights"
        text = self.settings["text_cfg"] | {"hf_model_pretrained": False}
        text |= {} if self._tower is None else {"hf_model_name": str(self._tower)}
        name = source if self.folder is None else f"local-dir:{self.folder}"
        try:
            model = open_clip.create_model(name, self.config.weights, require_pretrained=True, text_cfg=text)
            self._tokenizer = _tokenizer(open_clip, text, self._tokens)
            views, size = model.visual.preprocess_cfg, model.visual.image_size
        except Exception as error:  # open_clip, timm, transformers and torch raise a dozen types; all mean that it cannot be used
            told = shortened(in_one_line(error))
            which = self.title if self.config.weights is None else f"{self.config.weights} as {source}"
            raise ConfigError(f"labeler.encoder.{setting}: {which} cannot be loaded: {told}") from error
        height, width = (size, size) if isinstance(size, int) else size
        if height != width:
            raise ConfigError(f"labeler.encoder.source: {source} takes views of {height} x {width}, and they are square here")
        trained = {} if self.folder is not None else _statistics_of(open_clip, source)
        return model, height, trained.get("mean", views["mean"]), trained.get("std", views["std"])

    def _image_features(self, pixels: Tensor) -> Tensor:
        features: Tensor = self.model.encode_image(pixels)
        return features

    @torch.inference_mode()
    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """See `Encoder`."""
        self.load()
        tokens = self._tokenizer(list(texts)).to(self.device)
        known = self.settings["text_cfg"].get("vocab_size")
        if known is not None and self._tower is None and int(tokens.max()) >= known:
            raise ConfigError(
                f"labeler.encoder.source: {self.title} holds parts of two encoders: its tokenizer gives number "
                f"{int(tokens.max())}, its text tower knows {known}; take that model's own"
            )
        features: Tensor = self.model.encode_text(tokens)
        return features.float()


def _package() -> Any:
    try:
        import open_clip
    except ImportError as error:
        raise UnavailableError("encoder open_clip needs its package: pip install 'aevlp[open_clip]'") from error
    return open_clip


def _snapshot(config: OpenCLIPConfig) -> Path | None:
    """Folder of a hub id in the cache, whichever weights it holds; None where it is not there."""
    for weights in (_WEIGHTS, _PICKLED):  # not both at once: of a repository that has both, one kind is downloaded
        needs, files = ((_CONFIG,), (weights,)), (*_TEXT_FILES, weights)
        found = find_snapshot(config.source.removeprefix(_HUB), config.revision, needs, files)
        if found is not None:
            return found
    return None


def _folder(config: OpenCLIPConfig) -> Path | None:
    """Where the model lies; None for an architecture, whose weights are a file of the user's."""
    source, folder = config.source, Path(config.source)
    if source.startswith(_HUB):
        repository, found = source.removeprefix(_HUB), _snapshot(config)
        folder = download(repository, config.revision, _INSTEAD, (*_TEXT_FILES, _WEIGHTS)) if found is None else found
        if not holds(folder, (_WEIGHTS, _PICKLED)):
            folder = download(repository, config.revision, _INSTEAD, (*_TEXT_FILES, _PICKLED))
    elif not folder.is_dir():
        names = _package().list_models()
        if source not in names:
            raise ConfigError(
                f"labeler.encoder.source: {source!r} is no folder here, no hub id of the form {_HUB}owner/name, and no "
                f"architecture of open_clip{suggest(source, names)}"
            )
        if config.weights is None:
            raise ConfigError(f"labeler.encoder.weights: {source} is an architecture; name a file of its weights, or {_INSTEAD}")
        if not Path(config.weights).is_file():
            raise ConfigError(f"labeler.encoder.weights: {config.weights}: no such file")
        return None
    if config.weights is not None:
        raise ConfigError(f"labeler.encoder.weights: {source} has its own; weights are for an architecture such as ViT-B-32")
    return folder


def _settings(config: OpenCLIPConfig, folder: Path | None) -> dict[str, Any]:
    """What makes the towers: `model_cfg` of the folder's file, or of the architecture."""
    if folder is None:
        settings: Any = _package().get_model_config(config.source)
    else:
        try:
            settings = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))["model_cfg"]
        except FileNotFoundError as error:
            raise ConfigError(f"labeler.encoder.source: {config.source} holds no {_CONFIG}, so no model of open_clip") from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"labeler.encoder.source: {folder / _CONFIG} cannot be read: {in_one_line(error)}") from error
    if not isinstance(settings, dict) or not isinstance(settings.get("text_cfg"), dict):
        raise ConfigError(f"labeler.encoder.source: {config.source} has no text tower (model_cfg.text_cfg)")
    return settings


def _text_folder(name: str | None, needs: Sequence[str], folder: Path | None, config: OpenCLIPConfig) -> Path | None:
    """The model's folder where it holds what a tokenizer or text tower of transformers needs, else that of hub id `name`."""
    if name is None:
        return None
    if folder is not None and holds(folder, needs):
        return folder
    what = "a tokenizer" if needs == TOKENIZERS else "its configuration"
    instead = f"put its files ({', '.join(needs)}) into a folder with {_CONFIG} and weights, and name that as source"
    try:
        found = find_snapshot(name, None, (needs,), _TEXT_FILES)
        return download(name, None, instead, _TEXT_FILES) if found is None else found
    except (ConfigError, UnavailableError) as error:
        raise type(error)(f"labeler.encoder.source: {config.source} has a text tower without {what} here: {error}") from error


def _tokenizer(open_clip: Any, text: dict[str, Any], folder: Path | None) -> Any:
    settings = {"context_length": text.get("context_length", 77), **text.get("tokenizer_kwargs", {})}
    if folder is None:
        return open_clip.SimpleTokenizer(**settings)
    return open_clip.tokenizer.HFTokenizer(str(folder), tokenizer_mode=text.get("tokenizer_mode"), **settings)


def _statistics_of(open_clip: Any, architecture: str) -> dict[str, Sequence[float]]:
    """Mean and deviation of views that all known trainings of an architecture share: of SigLIP other than open_clip's default."""
    tags = open_clip.list_pretrained_tags_by_model(architecture)
    known = [open_clip.get_pretrained_cfg(architecture, tag) for tag in tags]
    found = {(tuple(training["mean"]), tuple(training["std"])) for training in known if "mean" in training and "std" in training}
    return dict(zip(("mean", "std"), found.pop(), strict=True)) if len(found) == 1 else {}
