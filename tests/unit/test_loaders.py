"""Batches: their order and flips hang on (seed, epoch, index) alone, and a training batch holds no true label."""

import dataclasses

import numpy as np
import pytest
import torch

from aevlp.data import loaders
from aevlp.data.dataset import Split
from aevlp.data.image_cache import CachedImages
from aevlp.data.images import ArrayImages, ImageFiles, resize
from aevlp.data.loaders import TrainBatch, TrainLoader, eval_loader
from aevlp.data.rows import take_rows
from aevlp.random import IMAGE_FLIP, VIEW_FLIP, flips

COUNT, SIZE = 23, 12


class Counted(ArrayImages):
    """Images in memory that remember which rows were read."""

    def __init__(self, images):
        super().__init__(images)
        self.rows = []

    def __getitem__(self, row):
        self.rows.append(row)
        return super().__getitem__(row)


@pytest.fixture
def split():
    numbers = np.random.default_rng(0)
    observed = np.eye(COUNT, 4, dtype=np.uint8)
    return Split(Counted(numbers.integers(0, 256, (COUNT, 15, 18, 3), dtype=np.uint8)), observed, None)


def loader(split, flip=True, workers=0, seed=5, batch_size=5):
    return TrainLoader(split, image_size=SIZE, flip=flip, batch_size=batch_size, num_workers=workers, seed=seed)


def order(batches):
    return torch.cat([batch.index for batch in batches]).tolist()


def by_row(batches):
    """Images in row order."""
    batches = list(batches)
    result = torch.empty(COUNT, 3, SIZE, SIZE, dtype=torch.uint8)
    result[torch.cat([batch.index for batch in batches])] = torch.cat([batch.image for batch in batches])
    return result


def assert_equal(first, second):
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        assert all(torch.equal(getattr(a, field.name), getattr(b, field.name)) for field in dataclasses.fields(TrainBatch))


@pytest.mark.parametrize(
    ("cores", "ranks_here", "workers"), [(1, 1, 0), (2, 1, 1), (16, 1, 15), (64, 1, 16), (64, 8, 7), (4, 4, 0)]
)
def test_auto_takes_all_cores_but_one_and_none_for_images_in_memory(cores, ranks_here, workers, split, tmp_path, monkeypatch):
    monkeypatch.setattr(loaders, "usable_cores", lambda: cores)
    monkeypatch.setattr(loaders.ranks, "count", lambda: ranks_here)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(ranks_here))
    files = ImageFiles(tmp_path, [])
    assert loaders.useful_workers("auto", files) == workers
    assert loaders.useful_workers(256, files) == cores
    some = take_rows(split, np.arange(3)).images
    cached = CachedImages(some, SIZE, None)
    assert [loaders.useful_workers("auto", images) for images in (split.images, some, cached)] == [0, 0, 0]
    assert loaders.useful_workers("auto", CachedImages(files, SIZE, None)) == workers


def test_a_batch_holds_image_observed_and_index_and_nothing_else(split):
    assert [field.name for field in dataclasses.fields(TrainBatch)] == ["image", "observed", "index"]
    batches = list(loader(split).epoch(1))
    assert [len(batch.index) for batch in batches] == [5, 5, 5, 5, 3]
    for batch in batches:
        assert batch.image.dtype == torch.uint8
        assert batch.image.shape == (len(batch.index), 3, SIZE, SIZE)
        assert batch.index.dtype == torch.int64
        np.testing.assert_array_equal(batch.observed.numpy(), split.observed[batch.index])
    assert sorted(order(batches)) == list(range(COUNT))


def test_the_order_hangs_on_seed_and_epoch_alone(split):
    first = loader(split)
    orders = [order(first.epoch(epoch)) for epoch in (1, 2, 3)]
    assert len({tuple(o) for o in orders}) == 3
    assert order(first.epoch(2)) == orders[1]
    torch.manual_seed(99)
    np.random.seed(99)
    assert order(loader(split, batch_size=7).epoch(3)) == orders[2]
    assert order(loader(split, seed=6).epoch(1)) != orders[0]


def test_workers_change_nothing(split):
    plain, parallel = loader(split), loader(split, workers=2)
    for epoch, start in ((1, 0), (2, 2), (3, 0)):
        assert_equal(list(parallel.epoch(epoch, start)), list(plain.epoch(epoch, start)))


def test_an_epoch_left_half_way_does_not_leak_into_the_next(split):
    expected = list(loader(split).epoch(2))
    for workers in (0, 2):
        found = loader(split, workers=workers)
        next(found.epoch(1))
        assert_equal(list(found.epoch(2)), expected)


@pytest.mark.parametrize("start", range(6))
def test_start_skips_as_many_batches_without_reading_their_images(split, start):
    whole = list(loader(split).epoch(4))
    split.images.rows.clear()
    rest = list(loader(split).epoch(4, start))
    assert_equal(rest, whole[start:])
    assert split.images.rows == order(whole)[5 * start :]


def test_flips_hang_on_seed_epoch_and_index_alone(split):
    plain = resize(torch.stack([split.images[row] for row in range(COUNT)]), SIZE)
    torch.testing.assert_close(by_row(loader(split, flip=False).epoch(1)), plain, rtol=0, atol=0)
    patterns = []
    for epoch in (1, 2, 3):
        found = by_row(loader(split).epoch(epoch))
        flipped = (found != plain).flatten(1).any(dim=1)
        assert torch.equal(found[flipped], plain.flip(-1)[flipped])
        assert flipped.tolist() == flips(IMAGE_FLIP, 5, epoch, range(COUNT), 1)[:, 0].tolist()
        assert torch.equal(found, by_row(loader(split, batch_size=4).epoch(epoch)))
        patterns.append(tuple(flipped.tolist()))
    assert len(set(patterns)) == 3
    assert not torch.equal(by_row(loader(split, seed=6).epoch(1)), by_row(loader(split).epoch(1)))


def test_coins_are_fair_and_independent_of_each_other():
    image, views = flips(IMAGE_FLIP, 1, 1, range(2000), 1), flips(VIEW_FLIP, 1, 1, range(2000), 3)
    later, seeded = flips(IMAGE_FLIP, 1, 2, range(2000), 1), flips(IMAGE_FLIP, 2, 1, range(2000), 1)
    coins = np.concatenate([image, views, later, seeded], axis=1)
    assert np.abs(coins.mean(axis=0) - 0.5).max() < 0.05
    assert np.abs(np.triu(np.corrcoef(coins.T), 1)).max() < 0.08
    np.testing.assert_array_equal(flips(VIEW_FLIP, 1, 1, [7, 3], 3), views[[7, 3]])


@pytest.mark.parametrize("workers", [0, 2])
def test_evaluation_is_in_row_order_and_never_flipped(split, workers):
    batches = list(eval_loader(split, image_size=SIZE, batch_size=10, num_workers=workers))
    assert [len(batch) for batch in batches] == [10, 10, 3]
    assert torch.equal(torch.cat(batches), resize(torch.stack([split.images[row] for row in range(COUNT)]), SIZE))


def test_loading_leaves_the_global_random_state_alone(split):
    state = torch.get_rng_state()
    for workers in (0, 2):
        list(loader(split, workers=workers).epoch(1))
        list(eval_loader(split, image_size=SIZE, batch_size=10, num_workers=workers))
    assert torch.equal(state, torch.get_rng_state())
