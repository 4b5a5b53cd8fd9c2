"""Small helpers of the tests of models."""

import numpy as np
import torch

from aevlp import load_experiment
from aevlp.config import registry

NUM_CLASSES = 7


def build(model, *settings, image_size=64):
    config = load_experiment("digits_gpr", [f"model={model}", *(f"model.{setting}" for setting in settings)])
    torch.manual_seed(0)
    return registry.build("models", config.model, num_classes=NUM_CLASSES, image_size=image_size).eval()


def images(size=64, count=2):
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (count, 3, size, size), dtype=np.uint8))


def normalized(pixels, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)):
    return (pixels.float() / 255 - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)


def logits(model, pixels):
    with torch.inference_mode():
        return model(pixels).clone()
