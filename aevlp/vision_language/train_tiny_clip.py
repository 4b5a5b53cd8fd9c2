"""Train the bundled tiny CLIP: `python -m aevlp.vision_language.train_tiny_clip --out FOLDER` (about 20 minutes on 2 cores).

A genuine `transformers` CLIPModel of 0.6 M parameters, trained on crops of digit scenes drawn from the *train*
handwriting only. Each crop is matched against eleven prompts, ten digits and "empty scene"; its target is spread
evenly over the digits it shows. The logit scale is fixed at 10, so that the pseudo-label temperature 0.1 is the
temperature the model was trained at.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from aevlp.data.digits import CLASS_NAMES, SCENE_SIDE, Scenes, draw_scenes
from aevlp.data.images import resize
from aevlp.text import say
from aevlp.vision_language.word_tokenizer import SPECIAL_TOKENS, build_tokenizer

IMAGE_SIDE = 48
LOGIT_SCALE = 10.0
PROMPTS = [f"a photo of a {name}." for name in CLASS_NAMES] + ["empty scene"]
WORDS = ("a", "photo", "of", "the", ".", "digit", "empty", "scene", *CLASS_NAMES)
SCENE_SEED = 4800  # scenes of this seed are never seen by an experiment, which draws with 1200
NUM_SCENES = 12_000
NUM_STEPS, BATCH_SIZE, LEARNING_RATE = 3000, 128, 1e-3
FIRST_SIDE = 40
MIN_VISIBLE = 0.5  # share of a digit's box that must lie inside a crop for the crop to show the digit


def build_model() -> Any:
    """The untrained model: vision 48 px, patch 8, width 128, 4 layers; text width 64, 2 layers; projection 64."""
    from transformers import CLIPConfig, CLIPModel

    text = {
        "vocab_size": len(SPECIAL_TOKENS) + len(WORDS), "hidden_size": 64, "intermediate_size": 128,
        "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 16,
        "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 3,
    }  # fmt: skip
    vision = {
        "image_size": IMAGE_SIDE, "patch_size": 8, "hidden_size": 128, "intermediate_size": 256,
        "num_hidden_layers": 4, "num_attention_heads": 4,
    }  # fmt: skip
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=64))
    with torch.no_grad():
        model.logit_scale.fill_(np.log(LOGIT_SCALE))
    return model


def _draw_crop(rng: np.random.Generator, boxes: np.ndarray, largest: float) -> tuple[int, int, int, np.ndarray]:
    """Corner and side of a square crop, and the digits it shows; side log-uniform in 24..largest pixels.

    Three of four crops are drawn near a digit: otherwise half of the small ones would be empty and teach little.
    """
    side = int(np.exp(rng.uniform(np.log(24), np.log(largest + 1))))
    digit, left, top, box = boxes.T
    if rng.random() < 0.75:
        near = boxes[rng.integers(len(boxes))]
        centre = near[1:3] + near[3] / 2 + rng.uniform(-0.35, 0.35, size=2) * side
        x, y = (int(np.clip(c - side / 2, 0, SCENE_SIDE - side)) for c in centre)
    else:
        x, y = (int(v) for v in rng.integers(0, SCENE_SIDE - side + 1, size=2))
    inside_x = np.minimum(left + box, x + side) - np.maximum(left, x)
    inside_y = np.minimum(top + box, y + side) - np.maximum(top, y)
    visible = np.clip(inside_x, 0, None) * np.clip(inside_y, 0, None) >= MIN_VISIBLE * box**2
    return x, y, side, np.unique(digit[visible])


def draw_crops(rng: np.random.Generator, scenes: Scenes, count: int, largest: float = SCENE_SIDE) -> tuple[Tensor, Tensor]:
    """Random square crops as uint8 (count,3,48,48), and targets (count,11) whose rows sum to 1."""
    crops = torch.empty(count, 3, IMAGE_SIDE, IMAGE_SIDE, dtype=torch.uint8)
    targets = torch.zeros(count, len(PROMPTS))
    for row, scene in enumerate(rng.integers(len(scenes.images), size=count)):
        x, y, side, shown = _draw_crop(rng, scenes.boxes[scene], largest)
        pixels = torch.from_numpy(scenes.images[scene, y : y + side, x : x + side]).permute(2, 0, 1)
        crops[row] = resize(pixels[None], IMAGE_SIDE)[0]
        targets[row, shown if len(shown) else len(CLASS_NAMES)] = 1 / max(len(shown), 1)
    return crops, targets


def train(out: Path, seed: int = 0, num_steps: int = NUM_STEPS) -> None:
    """Train, then write model (float16 safetensors), tokenizer and image processor into `out`."""
    from transformers import CLIPImageProcessor

    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    scenes = draw_scenes("train", NUM_SCENES, seed=SCENE_SEED)
    tokenizer, model = build_tokenizer(WORDS, length=16), build_model()
    tokens = tokenizer(PROMPTS, padding="max_length", return_tensors="pt")
    parameters = [p for name, p in model.named_parameters() if name != "logit_scale"]
    optimizer = torch.optim.AdamW(parameters, lr=LEARNING_RATE, betas=(0.9, 0.98), weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=num_steps, pct_start=0.1)
    recent, started = [], time.perf_counter()
    for step in range(1, num_steps + 1):
        # Crops grow over the first half: from whole scenes alone the model does not learn to find digits in this budget.
        largest = FIRST_SIDE + (SCENE_SIDE - FIRST_SIDE) * min(1.0, 2 * step / num_steps)
        crops, targets = draw_crops(rng, scenes, BATCH_SIZE, largest)
        output = model(pixel_values=crops / 127.5 - 1, input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"])
        loss = F.cross_entropy(output.logits_per_image, targets)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        recent.append(loss.item())
        if step % 100 == 0:
            say(f"step {step}/{num_steps}  loss {np.mean(recent[-100:]):.3f}  {time.perf_counter() - started:.0f} s")
    out.mkdir(parents=True, exist_ok=True)
    model.half().save_pretrained(out)
    tokenizer.save_pretrained(out)
    size = {"height": IMAGE_SIDE, "width": IMAGE_SIDE}
    CLIPImageProcessor(
        size=size, crop_size=size, do_center_crop=False, image_mean=[0.5] * 3, image_std=[0.5] * 3
    ).save_pretrained(out)


def main() -> None:
    """Command line of this module."""
    parser = argparse.ArgumentParser(description="Train the bundled tiny CLIP on digit scenes.")
    parser.add_argument("--out", type=Path, required=True, help="folder to write, in Hugging Face layout")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=NUM_STEPS)
    arguments = parser.parse_args()
    train(arguments.out, arguments.seed, arguments.steps)


if __name__ == "__main__":
    main()
