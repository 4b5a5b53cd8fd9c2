"""What every labeler is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from aevlp.data.dataset import Split

ReportProgress = Callable[[int, int], None]
"""Called with (images done, images in all); may raise to stop."""


class Labeler:
    """A labeler that assigns nothing; others override what they need."""

    num_images_encoded = 0
    """Views that went through the encoder so far."""

    def prepare(self, dataset: Split, progress: ReportProgress | None = None) -> None:
        """Look at the training images once. The split's full labels are not read."""

    def label(self, index: Tensor, observed: Tensor, *, epoch: int, images: Tensor | None = None) -> Tensor:
        """Pseudo-labels int8 (B,C) of training rows `index` (B,) with observed labels (B,C); depends on nothing else."""
        return torch.zeros(observed.shape, dtype=torch.int8, device=observed.device)

    def evaluate(self, dataset: Split, progress: ReportProgress | None = None) -> tuple[Tensor, Tensor] | None:
        """Scores (N,C) float32 and pseudo-labels int8 (N,C) of another split; None where the labeler has no scores."""
        return None

    def view_scores(self, index: Tensor) -> Tensor | None:
        """Class probabilities (B,V,C) of the views of training rows `index` (B,), for people to look at; None where unknown."""
        return None

    def state_dict(self) -> dict[str, Any]:
        """State beyond the configuration, in types that `torch.load(weights_only=True)` takes."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore `state_dict()`."""
