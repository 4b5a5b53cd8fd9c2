"""Tiny random models of open_clip, as the folders a user would have, beside the library's own call."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from dual_encoders import MEAN, STD, TEXT_LENGTH, WIDTH, WORDS, save_tokenizer

TEXT = {"context_length": TEXT_LENGTH, "vocab_size": 49408, "width": WIDTH, "heads": 2, "layers": 2}
WORDS_TEXT = TEXT | {"vocab_size": len(WORDS), "hf_tokenizer_name": "owner/tokenizer", "pool_type": "last"}
MODELS: dict[str, dict[str, Any]] = {
    "vit": {"vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8}, "text_cfg": TEXT},
    "resnet": {"vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8}, "text_cfg": TEXT},
    "timm": {
        "vision_cfg": {"timm_model_name": "test_vit", "timm_model_pretrained": False, "timm_pool": "", "timm_proj": "linear",
                       "image_size": 160},
        "text_cfg": WORDS_TEXT,
    },
    "text tower of transformers": {
        "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
        "text_cfg": {"context_length": TEXT_LENGTH, "hf_model_name": "owner/bert", "hf_model_pretrained": False,
                     "hf_tokenizer_name": "owner/bert", "hf_proj_type": "mlp", "hf_pooler_type": "mean_pooler"},
    },
}  # fmt: skip
BERT = {"model_type": "bert", "vocab_size": len(WORDS), "hidden_size": WIDTH, "intermediate_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 2, "max_position_embeddings": TEXT_LENGTH, "pad_token_id": 0}  # fmt: skip


@dataclass
class Saved:
    """A folder, and the library's own call."""

    folder: Path
    model: Any
    tokenizer: Any
    side: int

    def images(self, views: torch.Tensor) -> torch.Tensor:
        """Unit-length embeddings of uint8 views."""
        pixels = (views.double() / 255 - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
        with torch.no_grad():
            return self.model.encode_image(pixels.float(), normalize=True)

    def text(self, text: str) -> torch.Tensor:
        """Embedding of one text."""
        with torch.no_grad():
            return self.model.encode_text(self.tokenizer([text]))[0]


def save_open_clip(name: str, folder: Path) -> Saved:
    """Build, save and describe a model."""
    import open_clip
    from safetensors.torch import save_file

    torch.manual_seed(0)
    folder.mkdir(parents=True)
    settings = {"embed_dim": 24, **MODELS[name]}
    custom = name not in ("vit", "resnet")
    if custom:
        save_tokenizer(folder)
    given = json.loads(json.dumps(settings))
    if "hf_model_name" in given["text_cfg"]:
        (folder / "config.json").write_text(json.dumps(BERT))
        given["text_cfg"]["hf_model_name"] = str(folder)
    model = (open_clip.CustomTextCLIP if custom else open_clip.CLIP)(**given).eval()
    with torch.no_grad():  # as they are drawn, towers of two layers tell hardly two inputs apart
        for key, weight in model.named_parameters():
            if weight.ndim > 1:
                weight.mul_(10.0 if "embed" in key else 3.0)
    save_file({key: value.contiguous() for key, value in model.state_dict().items()}, folder / "open_clip_model.safetensors")
    config = {"model_cfg": settings | {"custom_text": custom}, "preprocess_cfg": {"mean": MEAN, "std": STD}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    return Saved(folder, model, open_clip.get_tokenizer(f"local-dir:{folder}"), settings["vision_cfg"]["image_size"])
