"""What a benchmark runs on where nothing is given: photos drawn from a seed, and an untrained CLIP of the size of ViT-B/16."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from aevlp import files
from aevlp.data.formats.arrays import write_arrays
from aevlp.vision_language.word_tokenizer import build_tokenizer

TEXT = {
    "hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 12, "num_attention_heads": 8, "vocab_size": 49408,
    "max_position_embeddings": 77, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 3,
}  # fmt: skip
VISION = {
    "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12, "image_size": 224,
    "patch_size": 16,
}  # fmt: skip
STATISTICS = '{"image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711]}'


def draw_photo(seed: int, width: int = 640, height: int = 480) -> bytes:
    """A JPEG of quality 90 with the smooth regions, edges and noise of a photo; about 100 kB, as COCO's."""
    numbers = np.random.default_rng(seed)
    canvas = np.asarray(
        Image.fromarray(numbers.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize((width, height)), dtype=np.float32
    )
    for _ in range(30):
        x, y = numbers.integers(0, width), numbers.integers(0, height)
        canvas[y : y + numbers.integers(20, 160), x : x + numbers.integers(20, 160)] = numbers.integers(0, 256, 3)
    canvas += numbers.normal(0, 8, canvas.shape)
    buffer = io.BytesIO()
    Image.fromarray(np.clip(canvas, 0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def write_photos(folder: Path, count: int, class_names: list[str]) -> None:
    """A dataset of formatted arrays: `count` training photos after the 80/20 division, and one test photo."""
    total = next(total for total in range(count + 1, 2 * count + 2) if total - round(total / 5) == count)
    folder.mkdir(parents=True, exist_ok=True)
    names = np.array([f"{i:06d}.jpg" for i in range(total)])
    for i, name in enumerate(names.tolist()):
        files.write(folder / name, draw_photo(i))
    labels = (np.random.default_rng(0).random((total, len(class_names))) < 2.9 / len(class_names)).astype(np.float64)
    labels[np.arange(total), np.arange(total) % len(class_names)] = 1
    write_arrays(folder, "train", names, labels)
    write_arrays(folder, "val", names[:1], labels[:1])
    files.write(folder / "classes.txt", ("\n".join(class_names) + "\n").encode())


def write_untrained_clip(folder: Path, class_names: list[str]) -> None:
    """A CLIP of 150 M parameters at random weights, as a Hugging Face folder of 600 MB."""
    from transformers import CLIPConfig, CLIPModel
    from transformers.utils import logging

    logging.disable_progress_bar()
    torch.manual_seed(0)
    # Three times the usual scale, so that prompts differ enough to be told apart.
    config = CLIPConfig(text_config=TEXT, vision_config=VISION, projection_dim=512, initializer_factor=3.0)
    CLIPModel(config).eval().save_pretrained(folder)
    words = " ".join(["a photo of .", *class_names]).split()
    build_tokenizer(words, length=TEXT["max_position_embeddings"]).save_pretrained(folder)
    files.write(folder / "preprocessor_config.json", STATISTICS.encode())
