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
from torch import Tensor

from aevlp.config.errors import ConfigError, in_one_line
from aevlp.config.registry import register
from aevlp.vision_language.encoders._hub import (
    TOKENIZERS,
    download,
    encoder_files,
    find_snapshot,
    folder_in_full,
    holds,
    what_is_missing,
)
from aevlp.vision_language.encoders._towers import Towers, TowersConfig
from aevlp.vision_language.encoders._views import ViewSettings, view_settings

_INSTEAD = "set labeler.encoder.source to a local folder in Hugging Face layout"
_NEEDS = (
    ("config.json",), ("model.safetensors", "model.safetensors.index.json"), TOKENIZERS,
    ("preprocessor_config.json", "processor_config.json"),
)  # fmt: skip
_OTHERS = "open_clip"  # how the files of that package begin, which often lie in the same repository
_IGNORED = (f"{_OTHERS}*", "*/*")  # nor is anything in folders of it read
_LONGEST_PADDED = 128
_UNMASKED = ("siglip", "siglip2")
"""Families whose text tower looked at the padding in training, too; a tokenizer's file may ask for a mask all the same."""
_ASSETS = Path(str(resources.files("aevlp"))) / "assets"
BUNDLED = {"bundled": _ASSETS / "tiny_clip", "bundled_scenes": _ASSETS / "tiny_dual_encoder"}


class HuggingFaceConfig(TowersConfig):
    """Which encoder, and how images are put to it."""

    source: str = Field("openai/clip-vit-base-patch16", min_length=1)
    """Hub id, local folder in Hugging Face layout, `bundled` (for digits) or `bundled_scenes`."""
    revision: str | None = None
    """Branch, tag or commit of a hub id."""

    @field_validator("source")
    @classmethod
    def _folder_in_full(cls, source: str) -> str:
        return source if source in BUNDLED else folder_in_full(source)

    def missing(self) -> str | None:
        """See `EncoderConfig`."""
        return what_is_missing(self.source, lambda: find_local(self), _INSTEAD)


@register("encoders", "huggingface", config=HuggingFaceConfig)
class HuggingFace(Towers):
    """A model of transformers with `get_image_features` and `get_text_features`."""

    config: HuggingFaceConfig

    def __init__(self, config: HuggingFaceConfig, device: torch.device | str = "cpu"):
        self.folder = locate(config)
        files = encoder_files(self.folder, config.source)
        super().__init__(config, device, config.source, [path for path in files if not path.name.startswith(_OTHERS)])

    def fingerprint(self) -> str:
        """A hash of the files. Of ALIGN a new one: what was cached in version 0.1 is of views of the wrong size."""
        return super().fingerprint() + (" cropped" if self._model_type() == "align" else "")

    def text_fingerprint(self) -> str:
        """The same; of SigLIP a new one: in version 0.1 padding was masked where the tokenizer's file asked for it."""
        return self.fingerprint() + (" unmasked" if self._model_type() in _UNMASKED else "")

    def _model_type(self) -> Any:
        try:
            return json.loads((self.folder / "config.json").read_text(encoding="utf-8")).get("model_type")
        except (OSError, ValueError, AttributeError):
            return None  # loading will tell

    def _load(self) -> tuple[Any, int, Sequence[float], Sequence[float]]:
        model, self._tokenizer, views = _load(self.folder, self.title)
        return model, views.size, views.mean, views.std

    def _image_features(self, pixels: Tensor) -> Tensor:
        if self.model.config.model_type != "siglip2":
            return self._pooled(self.model.get_image_features(pixel_values=pixels))
        count, side = len(pixels), self.model.config.vision_config.patch_size
        patches = pixels.unfold(2, side, side).unfold(3, side, side).permute(0, 2, 3, 4, 5, 1)
        shape = torch.tensor(patches.shape[1:3], device=self.device).expand(count, 2)
        patches = patches.reshape(count, -1, 3 * side * side)
        mask = torch.ones(patches.shape[:2], dtype=torch.int64, device=self.device)
        return self._pooled(self.model.get_image_features(patches, pixel_attention_mask=mask, spatial_shapes=shape))

    def _pooled(self, output: Any) -> Tensor:
        """Transformers 5 returns an output object where version 4 returned the tensor."""
        features = output if isinstance(output, Tensor) else getattr(output, "pooler_output", None)
        if not isinstance(features, Tensor):
            name = type(self.model).__name__
            raise ConfigError(
                f"labeler.encoder.source: {self.title} is a {name}, which gives no embedding of a whole image or text"
            )
        return features[:, 0] if features.ndim == 3 else features  # FLAVA gives all tokens, the first for the whole

    @torch.inference_mode()
    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Embeddings (N,D) float32 of texts, not normalised; ConfigError where the tokenizer is of another model."""
        self.load()
        length = self.model.config.text_config.max_position_embeddings
        # Padded to the full length: SigLIP was trained that way, and CLIP pools at the end token whatever follows it. Not to the
        # 512 of BERT (ALIGN, AltCLIP), which masks padding: prompts have a dozen tokens, and 300 of them would take 2 GB.
        padding = "max_length" if length <= _LONGEST_PADDED else "longest"
        if padding == "longest":  # RoBERTa has less room than positions
            length = min(length, self._tokenizer.model_max_length)
        tokens = self._tokenizer(list(texts), padding=padding, truncation=True, max_length=length, return_tensors="pt")
        tokens.pop("token_type_ids", None)
        if self.model.config.model_type in _UNMASKED:
            tokens.pop("attention_mask", None)
        largest, known = int(tokens["input_ids"].max()), self.model.config.text_config.vocab_size
        if largest >= known:
            raise ConfigError(
                f"labeler.encoder.source: {self.title} holds parts of two encoders: its tokenizer has "
                f"{len(self._tokenizer)} words and gives number {largest}, its text tower knows {known}; take that model's own"
            )
        return self._pooled(self.model.get_text_features(**tokens.to(self.device))).float()


def locate(config: HuggingFaceConfig) -> Path:
    """Local folder of the encoder: a bundled one, a folder given, the hub cache, or a download.

    Raises:
        ConfigError: the folder holds no model.
        UnavailableError: a hub id that is neither cached nor reachable; answered within 15 s.
    """
    found = find_local(config)
    return download(config.source, config.revision, _INSTEAD, ignored=_IGNORED) if found is None else found


def find_local(config: HuggingFaceConfig) -> Path | None:
    """Local folder of the encoder, without the network: None for a hub id that is not cached; ConfigError as of `locate`."""
    source = config.source
    if source in BUNDLED:
        return BUNDLED[source]
    path = Path(source)
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise ConfigError(f"labeler.encoder.source: {source} is a folder without config.json, so not a Hugging Face model")
        return path
    if source.startswith((".", "/", "~")) or source.count("/") != 1:
        raise ConfigError(f"labeler.encoder.source: {source!r} is neither a folder here nor a hub id of the form owner/name")
    return find_snapshot(source, config.revision, _NEEDS, ignored=_IGNORED)


def _load(folder: Path, source: str) -> tuple[Any, Any, ViewSettings]:
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    try:
        with _silent(logging):
            model, report = AutoModel.from_pretrained(
                folder, dtype=torch.float32, use_safetensors=True, output_loading_info=True, ignore_mismatched_sizes=True, **local
            )
        if not holds(folder, TOKENIZERS):  # else transformers may make an empty one
            raise FileNotFoundError(f"it has no tokenizer ({', '.join(TOKENIZERS)})")
        tokenizer = AutoTokenizer.from_pretrained(folder, **local)
        if tokenizer.pad_token is None:
            raise ValueError("its tokenizer has no padding token; name one as pad_token in tokenizer_config.json")
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
    try:
        views = view_settings(folder, model.config)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"labeler.encoder.source: {source} does not say what its views are: {in_one_line(error)}") from error
    return model, tokenizer, views


@contextlib.contextmanager
def _silent(logging: Any) -> Iterator[None]:
    """Without the tables of transformers about weights that do not fit, which is told in a line."""
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)
