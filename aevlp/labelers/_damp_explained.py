"""Which view spoke for a pseudo-label of DAMP: the whole image and one tile or, for a negative, all tiles."""

from __future__ import annotations

import torch
from torch import Tensor

from aevlp.labelers._base import Explained


def explain(cosines: Tensor, observed: Tensor, pseudo: Tensor, *, temperature: float, eta: float) -> Explained:
    """Score and view behind every pseudo-label that is not 0.

    A positive's score is (whole + tile) / 2 with the tile of the largest probability where that exceeds the gate, else of
    the smallest; of equal ones the first. A negative's score takes the mean over tiles instead (see `aevlp.labelers.damp`).

    Args:
        cosines: (B,V,C), view 0 the whole image, then the tiles row-major.
        observed: (B,C) in {-1,0,1}.
        pseudo: int8 (B,C), as `assign` returned it for these cosines.
        temperature: above 0.
        eta: cap of the gate.
    """
    q = torch.softmax(cosines.float() / temperature, dim=-1)
    whole, tiles = q[:, 0], q[:, 1:]
    row, column = pseudo.nonzero(as_tuple=True)
    sign = pseudo[row, column]
    if tiles.shape[1] == 0:
        view, tile = torch.zeros_like(row), torch.full(row.shape, torch.nan)
        return Explained(row, column, sign, whole[row, column], view, whole[row, column], tile)
    gate = (whole * (observed > 0)).amax(dim=1, keepdim=True).clamp(max=eta)
    speaking = torch.where(tiles.amax(dim=1) > gate, tiles.argmax(dim=1), tiles.argmin(dim=1))[row, column]
    positive = sign > 0
    tile = torch.where(positive, tiles[row, speaking, column], tiles.mean(dim=1)[row, column])
    view = torch.where(positive, speaking + 1, -1)
    whole = whole[row, column]
    return Explained(row, column, sign, (whole + tile) / 2, view, whole, tile, grid=round(tiles.shape[1] ** 0.5))
