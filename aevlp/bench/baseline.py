"""The yardstick: AEVLP's training step written plainly, with the habits of the public code.

Each photo is decoded twice, for the classifier and for CLIP. Views are cut, resized and turned into float tensors by Pillow
one by one, and encoded anew in every step, as are the prompts, although both towers are frozen and only a flip changes.
The loss indexes by boolean masks. Everything is float32, in the default memory layout.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from aevlp.bench.stages import Stopwatch
from aevlp.data.images import IMAGENET_MEAN, IMAGENET_STD
from aevlp.losses.gpr import GPRConfig, schedules

EPSILON = 1e-7


def to_tensor(image: Image.Image) -> Tensor:
    """float32 (3,H,W), normalised by ImageNet's statistics."""
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255
    return (pixels - torch.tensor(IMAGENET_MEAN).view(3, 1, 1)) / torch.tensor(IMAGENET_STD).view(3, 1, 1)


def pillow_views(image: Image.Image, grid: int, size: int) -> Tensor:
    """float32 (1 + grid*grid, 3, size, size): the whole image and its tiles, each flipped by a coin of its own."""
    width, height = image.width // grid, image.height // grid
    boxes = [
        (column * width, row * height, (column + 1) * width, (row + 1) * height) for row in range(grid) for column in range(grid)
    ]
    views = []
    for view in (image, *map(image.crop, boxes)):
        squashed = view.resize((size, size), Image.Resampling.BILINEAR)
        views.append(to_tensor(squashed.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if random.random() < 0.5 else squashed))
    return torch.stack(views)


def masked_gpr_loss(
    logits: Tensor, observed: Tensor, pseudo: Tensor, config: GPRConfig, *, epoch: int, num_epochs: int
) -> Tensor:
    """GPR loss, entry by entry chosen with boolean masks."""
    p = torch.sigmoid(logits)
    slope, offset, centre, width = schedules(config.beta, config.alpha, epoch, num_epochs)
    detached = p.detach()
    share = 1 / (1 + torch.exp(-(slope * detached + offset)))
    weight = torch.exp(-0.5 * ((detached - centre) / width) ** 2)
    loss = torch.zeros_like(p)
    known = observed == 1
    loss[known] = -torch.log(p[known] + EPSILON)
    neutral = (observed == 0) & (pseudo == 0)
    as_positive = (1 - p[neutral] ** config.q2) / config.q2
    as_negative = (1 - (1 - p[neutral]) ** config.q3) / config.q3
    loss[neutral] = weight[neutral] * (share[neutral] * as_positive + (1 - share[neutral]) * as_negative)
    negative = (observed == 0) & (pseudo == -1)
    loss[negative] = weight[negative] * -torch.log(1 - p[negative] + EPSILON)
    weight[weight < 1 - config.lambda1] = 1 - config.lambda1
    weight[weight > 1 - config.lambda2] = 1 - config.lambda2
    positive = (observed == 0) & (pseudo == 1)
    soft = -config.rho * torch.log(p[positive] + EPSILON) - (1 - config.rho) * torch.log(1 - p[positive] + EPSILON)
    loss[positive] = (1 - weight[positive]) * soft
    result = loss.mean()
    if config.regularizer > 0 and config.expected_positives is not None:
        result = result + config.regularizer * (p.sum(dim=1).mean() - config.expected_positives) ** 2 / logits.shape[1] ** 2
    return result


class Baseline:
    """Classifier, encoder and optimiser; `step` trains on one batch."""

    def __init__(
        self, paths: Sequence[Path], observed: np.ndarray, prompts: Sequence[str], encoder: Path,
        loss: GPRConfig, assign: dict[str, Any], *, image_size: int, grid: int, device: torch.device,
    ):  # fmt: skip
        from torchvision.models import resnet50
        from transformers import AutoTokenizer, CLIPModel

        self.paths, self.observed, self.prompts, self.device = paths, torch.from_numpy(observed), list(prompts), device
        self.loss, self.assign, self.image_size, self.grid = loss, assign, image_size, grid
        self.clip = CLIPModel.from_pretrained(encoder, dtype=torch.float32).to(device).eval().requires_grad_(False)
        self.view_size = self.clip.config.vision_config.image_size
        self.tokenizer = AutoTokenizer.from_pretrained(encoder)
        features = nn.Sequential(*list(resnet50(weights=None).children())[:-2], nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.model = nn.Sequential(features, nn.Linear(2048, observed.shape[1])).to(device).train()
        groups: list[dict[str, Any]] = [
            {"params": self.model[0].parameters()},
            {"params": self.model[1].parameters(), "lr": 1e-4},
        ]
        self.optimizer = torch.optim.Adam(groups, lr=1e-5)
        self.watch = Stopwatch()

    def load(self, row: int) -> tuple[Tensor, Tensor]:
        """Classifier input (3,S,S) and views (V,3,s,s), both float32."""
        with self.watch("decode"):
            image = Image.open(self.paths[row]).convert("RGB")
        with self.watch("resize"):
            squashed = image.resize((self.image_size, self.image_size), Image.Resampling.BILINEAR)
            flipped = squashed.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if random.random() < 0.5 else squashed
            pixels = to_tensor(flipped)
        with self.watch("decode"):
            again = Image.open(self.paths[row]).convert("RGB")
        with self.watch("views"):
            return pixels, pillow_views(again, self.grid, self.view_size)

    @torch.no_grad()
    def label(self, views: Tensor, observed: Tensor) -> Tensor:
        """Pseudo-labels of a batch (B,V,3,s,s)."""
        from aevlp.labelers.damp import assign

        with self.watch("encode"):
            pixels = views.flatten(0, 1).to(self.device)
            images = F.normalize(self.clip.get_image_features(pixel_values=pixels).pooler_output, dim=-1)
        with self.watch("prompts"):
            tokens = self.tokenizer(self.prompts, padding="max_length", max_length=77, truncation=True, return_tensors="pt")
            tokens.pop("token_type_ids", None)
            text = F.normalize(self.clip.get_text_features(**tokens.to(self.device)).pooler_output, dim=-1)
        with self.watch("assign"):
            cosines = (images @ text.T).view(len(views), -1, len(self.prompts))
            return assign(cosines, observed, **self.assign)

    def step(self, rows: Sequence[int], epoch: int = 1, num_epochs: int = 8) -> float:
        """One optimiser step."""
        loaded = [self.load(row) for row in rows]
        observed = self.observed[list(rows)].to(self.device)
        pseudo = self.label(torch.stack([views for _, views in loaded]), observed)
        with self.watch("forward"):
            logits = self.model(torch.stack([pixels for pixels, _ in loaded]).to(self.device))
        with self.watch("loss"):
            loss = masked_gpr_loss(logits, observed, pseudo, self.loss, epoch=epoch, num_epochs=num_epochs)
        with self.watch("backward"):
            self.optimizer.zero_grad()
            loss.backward()
        with self.watch("optimizer"):
            self.optimizer.step()
        return float(loss.detach())
