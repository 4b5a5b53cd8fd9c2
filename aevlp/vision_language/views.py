"""The views a vision-language model looks at: the whole image and the tiles of a grid (methods: AEVLP, DAMP)."""

from __future__ import annotations

import torch
from torch import Tensor

from aevlp.data.images import resize


def cut_views(image: Tensor, grid: int, size: int) -> Tensor:
    """Global view, then grid x grid tiles row-major, each squashed to `size`.

    Args:
        image: uint8 (3,H,W). Up to grid-1 right and bottom pixels belong to no tile.
        grid: tiles per side; 0 for the global view alone.
        size: side of the views in pixels, as the encoder wants it.

    Returns:
        uint8 (1 + grid*grid, 3, size, size), channels-last in memory: a decoded image is, the resizing kernel works that way,
        and turning 17 views round twice would take longer than resizing them.
    """
    channels, height, width = image.shape
    views = torch.empty(1 + grid * grid, size, size, channels, dtype=torch.uint8).permute(0, 3, 1, 2)
    views[0] = resize(image[None], size, torch.channels_last)[0]
    if grid == 0:
        return views
    if min(height, width) < grid:  # an icon among photos shall not end a run: enlarged, so that each tile has a pixel
        height, width = max(height, grid), max(width, grid)
        image = resize(image[None], (height, width))[0]
    tile_height, tile_width = height // grid, width // grid
    pixels = image.permute(1, 2, 0)[: tile_height * grid, : tile_width * grid]
    tiles = pixels.reshape(grid, tile_height, grid, tile_width, channels).transpose(1, 2).flatten(0, 1)
    views[1:] = resize(tiles.permute(0, 3, 1, 2), size, torch.channels_last)
    return views
