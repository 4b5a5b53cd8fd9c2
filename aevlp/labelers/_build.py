"""The labeler of an experiment, for its data."""

from __future__ import annotations

from typing import Any

import torch

from aevlp.config import registry
from aevlp.config.schema import ExperimentConfig
from aevlp.data.dataset import SPMLData
from aevlp.labelers._base import Labeler


def build_labeler(
    config: ExperimentConfig, data: SPMLData, device: torch.device, *, flip: bool | None = None, **more: Any
) -> Labeler:
    """Build it; `flip` says whether views of mirror images are wanted, as training does (dataset.flip) where it is None.

    Raises:
        AevlpError: as the labeler raises it, such as for weights that are not there.
    """
    labeler: Labeler = registry.build(
        "labelers", config.labeler, prompt_names=data.prompt_names, flip=config.dataset.flip if flip is None else flip,
        seed=config.seed, device=device, **more,
    )  # fmt: skip
    return labeler
