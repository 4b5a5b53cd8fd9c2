"""What the views of one photo cost, beside the public code's way.

Not part of the default run: `pytest -n 0 --benchmark-enable tests/benchmarks`.

Both make the 17 views of a 4x4 grid from the same 640x480 JPEG, in one thread. The public way: Pillow opens and decodes the
photo twice (for the classifier and for the views), crops and resizes each view, flips it, and makes a normalised float tensor
of it. This project's: decoded once, tiles cut and resized together, and put into a batch as uint8; flips and normalisation are
done on the device, a batch at a time, and belong to encoding.
"""

import statistics
import time

import numpy as np
import pytest
import torch
from PIL import Image

from aevlp.data.images import IMAGENET_MEAN, IMAGENET_STD, ImageFiles
from aevlp.vision_language.views import cut_views

WIDTH, HEIGHT, GRID, SIZE = 640, 480, 4, 224
PAIRS = 30


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def path(tmp_path):
    """A JPEG of 116 kB with the smooth areas and the fine detail of a photograph."""
    numbers = np.random.default_rng(0)
    smooth = Image.fromarray(numbers.integers(0, 256, (7, 9, 3), dtype=np.uint8)).resize(
        (WIDTH, HEIGHT), Image.Resampling.BICUBIC
    )
    pixels = np.clip(np.asarray(smooth) + numbers.normal(0, 12, (HEIGHT, WIDTH, 3)), 0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.jpg", quality=90)
    return tmp_path / "photo.jpg"


@pytest.fixture
def public_way(path):
    from torchvision import transforms

    view = transforms.Compose([
        transforms.Resize((SIZE, SIZE)), transforms.RandomHorizontalFlip(),
        transforms.ToTensor(), transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD),
    ])  # fmt: skip
    width, height = WIDTH // GRID, HEIGHT // GRID
    corners = [(column * width, row * height) for row in range(GRID) for column in range(GRID)]

    def prepare():
        Image.open(path).convert("RGB")
        image = Image.open(path).convert("RGB")
        return torch.stack([view(image), *(view(image.crop((x, y, x + width, y + height))) for x, y in corners)])

    return prepare


@pytest.fixture
def our_way(path):
    images = ImageFiles(path.parent, [path.name])
    batch = torch.empty(1 + GRID**2, SIZE, SIZE, 3, dtype=torch.uint8).permute(0, 3, 1, 2)

    def prepare():
        return batch.copy_(cut_views(images[0], GRID, SIZE))

    return prepare


@pytest.mark.benchmark(group="17 views of a 640x480 photo")
def test_public_way(benchmark, public_way):
    assert benchmark(public_way).shape == (17, 3, SIZE, SIZE)


@pytest.mark.benchmark(group="17 views of a 640x480 photo")
def test_our_way(benchmark, our_way):
    assert benchmark(our_way).shape == (17, 3, SIZE, SIZE)


def test_our_way_is_four_times_as_fast_in_pairs(public_way, our_way, capsys):
    times = {prepare: [] for prepare in (public_way, our_way)}
    for _ in range(PAIRS):
        for prepare, measured in times.items():
            began = time.process_time()
            prepare()
            measured.append(time.process_time() - began)
    public, ours = (statistics.median(measured) for measured in times.values())
    with capsys.disabled():
        print(f"\n17 views: {1000 * public:.1f} ms the public way, {1000 * ours:.1f} ms here, {public / ours:.1f} times as fast")
    assert public / ours >= 4
