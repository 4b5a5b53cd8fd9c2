"""Views against Pillow: which pixels a view shows, in which order, and how it is resized."""

import numpy as np
import pytest
import torch
from PIL import Image

from aevlp.data.images import resize
from aevlp.vision_language.views import cut_views

pytestmark = pytest.mark.processor

SIZES = [(61, 83), (150, 97), (375, 500), (31, 222)]


def photo(height, width, seed=0):
    """A random image with the smooth areas and the fine detail of a photograph, uint8 (H,W,3)."""
    numbers = np.random.default_rng(seed)
    smooth = Image.fromarray(numbers.integers(0, 256, (7, 9, 3), dtype=np.uint8)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    return np.clip(np.asarray(smooth) + numbers.normal(0, 12, (height, width, 3)), 0, 255).astype(np.uint8)


def tensor(pixels):
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)


def pillow_views(pixels, grid, size):
    """float (V,3,size,size): Pillow's crops and bilinear resizing, row by row."""
    image, (height, width) = Image.fromarray(pixels), pixels.shape[:2]
    boxes = [(0, 0, width, height)]
    if grid:
        tile_width, tile_height = width // grid, height // grid
        corners = [(column * tile_width, row * tile_height) for row in range(grid) for column in range(grid)]
        boxes += [(x, y, x + tile_width, y + tile_height) for x, y in corners]
    views = [np.asarray(image.crop(box).resize((size, size), Image.Resampling.BILINEAR)) for box in boxes]
    return np.stack(views).transpose(0, 3, 1, 2).astype(float)


@pytest.mark.parametrize("grid", [0, 1, 2, 3, 5])
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_views_equal_pillow_crops_resized(height, width, grid):
    pixels = photo(height, width)
    found = cut_views(tensor(pixels), grid, 48)
    assert found.dtype == torch.uint8
    assert found.shape == (1 + grid**2, 3, 48, 48)
    difference = np.abs(found.numpy() - pillow_views(pixels, grid, 48)).mean(axis=(1, 2, 3))
    assert difference.max() <= 1.5


def test_views_of_a_photo_at_full_size_equal_pillow_and_are_channels_last():
    pixels = photo(480, 640)
    found = cut_views(tensor(pixels), 4, 224)
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert np.abs(found.numpy() - pillow_views(pixels, 4, 224)).mean(axis=(1, 2, 3)).max() <= 1.5


def test_tiles_are_row_major_after_the_global_view():
    image = torch.zeros(3, 12, 18, dtype=torch.uint8)
    for row in range(3):
        for column in range(3):
            image[:, 4 * row : 4 * row + 4, 6 * column : 6 * column + 6] = 10 * row + column
    views = cut_views(image, 3, 8)
    assert [view.unique().tolist() for view in views[1:]] == [[0], [1], [2], [10], [11], [12], [20], [21], [22]]
    assert views[0].unique().numel() > 1


def test_leftover_pixels_belong_to_no_tile_but_to_the_global_view():
    image = torch.zeros(3, 14, 17, dtype=torch.uint8)
    image[:, 12:] = 255  # 14 = 3 * 4 + 2
    image[:, :, 15:] = 255  # 17 = 3 * 5 + 2
    views = cut_views(image, 3, 16)
    assert (views[1:] == 0).all()
    assert views[0, :, -1].float().mean() > 100


def test_a_tile_takes_no_pixel_from_its_neighbours():
    pixels = photo(60, 80)
    changed = pixels.copy()
    changed[:30, 40:] = 255 - changed[:30, 40:]
    same = (cut_views(tensor(pixels), 2, 24) == cut_views(tensor(changed), 2, 24)).flatten(1).all(dim=1)
    assert same.tolist() == [False, True, False, True, True]


def test_an_image_of_the_right_size_is_not_resampled():
    image = tensor(photo(48, 48))
    assert torch.equal(cut_views(image, 0, 48)[0], image)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 3), (4, 5), (1, 300), (2, 7)])
def test_an_image_with_fewer_pixels_than_the_grid_has_tiles_is_enlarged(height, width):
    pixels = photo(height, width)
    views, large = cut_views(tensor(pixels), 5, 8), (max(height, 5), max(width, 5))
    assert torch.equal(views[0], cut_views(tensor(pixels), 0, 8)[0])
    enlarged = resize(tensor(pixels)[None], large)[0]
    assert torch.equal(views[1:], cut_views(enlarged, 5, 8)[1:])
    assert views[1:].float().mean() == pytest.approx(enlarged[:, : large[0] // 5 * 5, : large[1] // 5 * 5].float().mean(), abs=2)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_resize_squashes_to_rows_and_columns(height, width):
    pixels = photo(height, width, seed=1)
    found = resize(tensor(pixels)[None], (40, 56))
    expected = np.asarray(Image.fromarray(pixels).resize((56, 40), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
    assert found.shape == (1, 3, 40, 56)
    assert np.abs(found[0].numpy() - expected.astype(float)).mean() <= 1.5
