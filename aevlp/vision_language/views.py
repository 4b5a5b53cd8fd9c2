"""The views a vision-language model looks at: the whole image and the tiles of a grid (methods: AEVLP, DAMP)."""

from __future__ import annotations

import torch
from torch import Tensor

from aevlp.data.images import resize


class TooSmallError(ValueError):
    """An image has fewer pixels than the grid has tiles."""


def cut_views(image: Tensor, grid: int, size: int) -> Tensor:
    """Global view, then grid x grid tiles row-major, each squashed to `size`.

    Args:
        image: uint8 (3,H,W), H and W at least `grid`. Up to grid-1 right and bottom pixels belong to no tile.
        grid: tiles per side; 0 for the global view alone.
        size: side of the views in pixels, as the encoder wants it.

    Returns:
        uint8 (1 + grid*grid, 3, size, size)
    """
    whole = resize(image[None], size)
    if grid == 0:
        return whole
    channels, height, width = image.shape
    tile_height, tile_width = height // grid, width // grid
    if min(tile_height, tile_width) < 1:
        raise TooSmallError(f"an image of {width}x{height} pixels cannot be cut into a grid of {grid}x{grid}")
    tiles = image[:, : tile_height * grid, : tile_width * grid]
    tiles = tiles.reshape(channels, grid, tile_height, grid, tile_width).permute(1, 3, 0, 2, 4)
    return torch.cat([whole, resize(tiles.reshape(-1, channels, tile_height, tile_width), size)])
