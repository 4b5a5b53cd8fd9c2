"""Pretrain the small network: `python -m aevlp.training.pretrain_small_cnn DATASET --out FILE` (about a minute of one core).

What ImageNet is to photos, these pictures are to drawn scenes: another task, which class one picture shows, on other
pictures, of 48 px with one object of the *train* part each. No scene and no set of labels is seen.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from aevlp.data import digits, scenes
from aevlp.data.drawn import Drawings
from aevlp.models.small_cnn import SmallCNNConfig, with_drawn_head
from aevlp.text import say

SIDE = 48
NUM_CROPS, NUM_EPOCHS, BATCH_SIZE, LEARNING_RATE, WEIGHT_DECAY = 20_000, 5, 128, 3e-3, 0.01
DATASETS = {"digits": digits.DRAWINGS, "scenes": scenes.DRAWINGS}


def train(drawings: Drawings, out: Path, seed: int = 0, num_crops: int = NUM_CROPS, num_epochs: int = NUM_EPOCHS) -> None:
    """Train, then write the backbone as float32 safetensors to `out`."""
    from safetensors.torch import save_file

    torch.manual_seed(seed)
    images, classes = _crops(drawings, "train", num_crops, seed)
    model = with_drawn_head(SmallCNNConfig(name="small_cnn"), len(drawings.class_names)).to(memory_format=torch.channels_last)
    steps = num_epochs * (num_crops // BATCH_SIZE)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
    started = time.perf_counter()
    for epoch in range(1, num_epochs + 1):
        total = 0.0
        for rows in torch.randperm(num_crops)[: num_crops // BATCH_SIZE * BATCH_SIZE].split(BATCH_SIZE):
            loss = F.cross_entropy(model(images[rows]), classes[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        mean = total / (num_crops // BATCH_SIZE)
        say(f"epoch {epoch}/{num_epochs}  loss {mean:.4f}  {time.perf_counter() - started:.0f} s")
    images, classes = _crops(drawings, "val", NUM_CROPS // 10, seed)
    with torch.inference_mode():
        right = torch.cat([model.eval()(part).argmax(dim=1) for part in images.split(BATCH_SIZE)]) == classes
    say(f"accuracy on pictures of the validation part {100 * right.float().mean():.1f} %")
    out.parent.mkdir(parents=True, exist_ok=True)
    state = {name: value.contiguous() for name, value in model.backbone.state_dict().items()}
    save_file(state, out)


def _crops(drawings: Drawings, split: str, count: int, seed: int) -> tuple[Tensor, Tensor]:
    images, classes = (torch.from_numpy(part) for part in drawings.draw_crops(split, count, SIDE, seed))
    return images.permute(0, 3, 1, 2), classes  # which leaves them in memory as they are: channels last


def main() -> None:
    """Command line of this module."""
    parser = argparse.ArgumentParser(description="Pretrain the small network on pictures of one object each.")
    parser.add_argument("dataset", choices=DATASETS)
    parser.add_argument("--out", type=Path, required=True, help="file to write, .safetensors")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--crops", type=int, default=NUM_CROPS)
    parser.add_argument("--epochs", type=int, default=NUM_EPOCHS)
    arguments = parser.parse_args()
    if arguments.crops < BATCH_SIZE or arguments.epochs < 1:
        parser.error(f"--crops takes {BATCH_SIZE} or more, a batch of them, and --epochs 1 or more")
    train(DATASETS[arguments.dataset], arguments.out, arguments.seed, arguments.crops, arguments.epochs)


if __name__ == "__main__":
    main()
