"""The label-graph residual of AEVLP: a frozen, random graph convolution over the classes, added to the text features.

The public code draws its weights once, without a seed; here they depend on the seed of the run. The residual changes text
features by about a tenth of their length and is nearly common to all classes, so its effect on pseudo-labels is small.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from aevlp.config.errors import DataError
from aevlp.config.schema import Config, LocalPath
from aevlp.data.npz import read_npy


class LabelGraphConfig(Config):
    """Settings of the label graph."""

    enabled: bool = True
    """Whether the residual is added."""
    neighbors: int = Field(20, ge=1)
    """Entries kept in each row of the relation, the class itself among them (VOC 20, COCO 62, NUS-WIDE 50, CUB 312)."""
    strength: float = Field(0.2, ge=0, le=1)
    """Share of the neighbours in a row; the class itself keeps the rest."""
    relation: LocalPath | None = None
    """File .npy (C,C) of class similarities; null takes cosines of the text features."""


def adjacency(relation: Tensor, neighbors: int, strength: float) -> Tensor:
    """Row-stochastic (C,C): the largest `neighbors` entries of each row, off-diagonal ones scaled to sum to `strength`.

    Negative similarities count as 0; a class without any similar one keeps its whole row.
    """
    num_classes, relation = len(relation), relation.clamp(min=0)
    kept = relation.topk(min(neighbors, num_classes), dim=1).indices
    weights = torch.zeros_like(relation).scatter(1, kept, relation.gather(1, kept))
    weights = weights * (1 - torch.eye(num_classes))
    weights = strength * weights / weights.sum(dim=1, keepdim=True).clamp(min=1e-12)
    return weights + torch.diag(1 - weights.sum(dim=1))


def residual(features: Tensor, config: LabelGraphConfig, seed: int) -> Tensor:
    """Residual (C,D) to add to text features (C,D): three graph convolutions D -> 2D -> 2D -> D, leaky ReLU of slope .2."""
    features = features.cpu()
    units = torch.nn.functional.normalize(features, dim=-1)
    graph = adjacency(_read_relation(config.relation, len(features)) if config.relation else units @ units.T,
                      config.neighbors, config.strength)  # fmt: skip
    width = features.shape[1]
    generator = torch.Generator().manual_seed(seed)
    hidden = features
    for fan_in, fan_out in ((width, 2 * width), (2 * width, 2 * width), (2 * width, width)):
        weight = (2 * torch.rand(fan_in, fan_out, generator=generator) - 1) / fan_out**0.5
        hidden = graph @ hidden @ weight
        if fan_out != width:
            hidden = torch.nn.functional.leaky_relu(hidden, 0.2)
    return hidden


def _read_relation(path: str, num_classes: int) -> Tensor:
    try:
        relation = read_npy(Path(path))
    except DataError as error:
        raise DataError(f"labeler.label_graph.relation: {error}") from error
    if relation.shape != (num_classes, num_classes) or relation.dtype.kind not in "fiu" or not np.isfinite(relation).all():
        raise DataError(f"labeler.label_graph.relation: {path} must be a finite ({num_classes},{num_classes}) matrix, is "
                        f"{relation.dtype} of shape {relation.shape}")  # fmt: skip
    return torch.from_numpy(relation.astype(np.float32))
