"""Tiny random models of all families of dual encoders, as the folders a user would have, beside the library's own call."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from dual_encoders import (
    IMAGE_SIDE,
    MEAN,
    STD,
    TEXT,
    TEXT_LENGTH,
    TOWER,
    VISION,
    WIDTH,
    WORDS,
    save_statistics,
    save_tokenizer,
    token_ids,
)

BERT = TOWER | {"vocab_size": len(WORDS), "max_position_embeddings": TEXT_LENGTH, "pad_token_id": 0, "type_vocab_size": 2}
ROBERTA = BERT | {"max_position_embeddings": TEXT_LENGTH + 1, "pad_token_id": 0}
EFFICIENT = {
    "image_size": 64, "in_channels": [32, 16], "out_channels": [16, 4 * WIDTH], "kernel_sizes": [3, 3], "strides": [1, 2],
    "expand_ratios": [1, 2], "num_block_repeats": [1, 1], "depthwise_padding": [], "width_coefficient": 0.25,
    "depth_coefficient": 1.0, "hidden_dim": WIDTH,
}  # fmt: skip
GROUPS = VISION | {"depths": [1, 1], "num_group_tokens": [4, 0], "num_output_groups": [2, 2], "hidden_size": WIDTH}
# Family: classes of configuration and model, settings of text and image tower, of the whole.
FAMILIES: dict[str, tuple[str, dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "clip": ("CLIP", TEXT, VISION, {"projection_dim": 24}),
    "siglip": ("Siglip", TEXT | {"projection_size": WIDTH}, VISION, {}),
    "siglip2": ("Siglip2", TEXT | {"projection_size": WIDTH}, TOWER | {"patch_size": 4, "num_patches": 16}, {}),
    "altclip": ("AltCLIP", ROBERTA | {"project_dim": 24}, VISION, {"projection_dim": 24}),
    "chinese_clip": ("ChineseCLIP", BERT, VISION, {"projection_dim": 24}),
    "align": ("Align", BERT, EFFICIENT, {"projection_dim": WIDTH}),
    "metaclip_2": ("MetaClip2", TEXT, VISION, {"projection_dim": 24}),
    "aimv2": ("Aimv2", TEXT, VISION, {"projection_dim": 24}),
    "tipsv2": ("Tipsv2", TEXT, VISION | {"mlp_ratio": 2}, {}),
    "blip": ("Blip", BERT | {"encoder_hidden_size": WIDTH}, VISION | {"initializer_range": 0.02}, {"projection_dim": 24}),
    "clipseg": ("CLIPSeg", TEXT, VISION, {"projection_dim": 24}),
    "flava": ("Flava", BERT, VISION, {"projection_dim": 24}),
    "groupvit": ("GroupViT", TEXT, GROUPS, {"projection_dim": 24, "projection_intermediate_dim": 48}),
    "owlvit": ("OwlViT", TEXT, VISION, {"projection_dim": 24}),
    "owlv2": ("Owlv2", TEXT, VISION, {"projection_dim": 24}),
}
UNMASKED = ("siglip", "siglip2")


@dataclass
class Family:
    """A folder, and the library's own call."""

    name: str
    folder: Path
    model: Any
    side: int
    mean: torch.Tensor
    std: torch.Tensor

    def images(self, views: torch.Tensor) -> torch.Tensor:
        """Unit-length embeddings of uint8 views."""
        pixels = (views.double() / 255 - self.mean) / self.std
        given = {"pixel_values": pixels.float()}
        if self.name == "siglip2":
            from transformers.models.siglip2.image_processing_siglip2 import convert_image_to_patches

            size = self.model.config.vision_config.patch_size
            patches = torch.stack([convert_image_to_patches(view, size) for view in pixels.float()])
            count = self.side // size
            given = {"pixel_values": patches, "pixel_attention_mask": torch.ones(patches.shape[:2], dtype=torch.int64),
                     "spatial_shapes": torch.tensor([[count, count]] * len(views))}  # fmt: skip
        with torch.no_grad():
            features = self.model.get_image_features(**given).pooler_output
        features = features[:, 0] if self.name == "flava" else features
        return torch.nn.functional.normalize(features, dim=1)

    def text(self, text: str) -> torch.Tensor:
        """Embedding of one text, without padding where the family was trained with a mask."""
        ids = token_ids(text)
        if self.name == "siglip2":  # for which transformers makes any tokenizer its own kind
            from transformers import AutoTokenizer

            ids = AutoTokenizer.from_pretrained(self.folder)(text, padding="max_length", max_length=TEXT_LENGTH)["input_ids"]
        mask = [1] * len(ids)
        if self.name in (*UNMASKED, "aimv2"):  # AIMv2 without a padded token attends both ways, which it was not trained to
            padding = [0] * (TEXT_LENGTH - len(ids))
            ids, mask = ids + padding, mask + padding
        given = {"input_ids": torch.tensor([ids])}
        if self.name not in UNMASKED:
            given["attention_mask"] = torch.tensor([mask])
        with torch.no_grad():
            features = self.model.get_text_features(**given).pooler_output
        return features[0, 0] if self.name == "flava" else features[0]


def save_family(name: str, folder: Path) -> Family:
    """Build, save and describe a model of a family; its tokenizer's file asks for a mask in any case."""
    import transformers

    torch.manual_seed(0)
    title, text, vision, whole = FAMILIES[name]
    tower = "image_config" if name == "flava" else "vision_config"
    whole = whole | ({"multimodal_config": TOWER} if name == "flava" else {})
    config = getattr(transformers, f"{title}Config")(text_config=dict(text), **{tower: dict(vision)}, **whole)
    model = getattr(transformers, f"{title}Model")(config).eval()
    with torch.no_grad():  # as they are drawn, towers of two layers tell hardly two inputs apart
        for key, weight in model.named_parameters():
            if not weight.any():
                weight.normal_(std=0.1)
            elif weight.ndim == 4:
                torch.nn.init.kaiming_normal_(weight)
            elif weight.ndim > 1 and "norm" not in key:
                weight.mul_(3.0 if "embed" not in key else 10.0)
    model.save_pretrained(folder)
    save_tokenizer(folder)
    save_statistics(folder)
    own = {}
    if name == "align":  # whose configuration names 600 pixels, and whose processor crops to 289 and scales to -1 ... 1
        own = {"crop_size": {"height": 48, "width": 48}, "size": {"height": 56, "width": 56}, "do_normalize": False,
               "rescale_factor": 1 / 127.5, "rescale_offset": True}  # fmt: skip
    if name == "tipsv2":  # whose views are not normalised
        own = {"do_normalize": False, "image_mean": None, "image_std": None}
    path = folder / "preprocessor_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | own))
    side = {"siglip2": 4 * math.isqrt(16), "align": 48}.get(name, IMAGE_SIDE)
    mean, std = {"align": (0.5, 0.5), "tipsv2": (0.0, 1.0)}.get(name, (MEAN, STD))
    return Family(name, folder, model, side, torch.tensor(mean).view(-1, 1, 1), torch.tensor(std).view(-1, 1, 1))
