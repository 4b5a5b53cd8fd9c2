"""What parts must give, asked at every step: types and shapes alone, for which nothing waits for the device.

A part of one's own that breaks its promise is told so in a line. What its code raises itself keeps its traceback, which names
the line to mend.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from aevlp.config.errors import TrainingError
from aevlp.labelers import Labeler


def require_logits(model: nn.Module, logits: Any, images: int, classes: int) -> None:
    """TrainingError unless a model gave floating-point (images, classes), alone or first of a pair."""
    if not isinstance(logits, Tensor) or not logits.is_floating_point() or logits.shape != (images, classes):
        raise TrainingError(
            f"model {type(model).__name__}: must give logits, a float tensor of shape ({images}, {classes}) for {images} images "
            f"and {classes} classes; gave {_described(logits)}"
        )


def require_pseudo(labeler: Labeler, pseudo: Any, observed: Tensor) -> None:
    """TrainingError unless a labeler gave int8 of the shape of `observed`, where `observed` is."""
    fits = isinstance(pseudo, Tensor) and pseudo.dtype == torch.int8 and pseudo.shape == observed.shape
    if not fits or pseudo.device != observed.device:
        raise TrainingError(
            f"labeler {type(labeler).__name__}: label() must give an int8 tensor of shape {tuple(observed.shape)} on "
            f"{observed.device}, holding -1, 0 and 1; gave {_described(pseudo)}"
        )


def require_scalar(loss: nn.Module, value: Any) -> None:
    """TrainingError unless a loss gave one number that has a gradient."""
    blind = isinstance(value, Tensor) and not value.requires_grad
    if not isinstance(value, Tensor) or value.ndim or blind:
        raise TrainingError(
            f"loss {type(loss).__name__}: must give a scalar tensor that follows from the logits, as `.mean()` does, not "
            f"`.item()`, `.detach()` or numpy; gave {_described(value)}{', without gradient' if blind else ''}"
        )


def _described(value: Any) -> str:
    if not isinstance(value, Tensor):
        return type(value).__name__
    return f"{str(value.dtype).removeprefix('torch.')} of shape {tuple(value.shape)} on {value.device}"
