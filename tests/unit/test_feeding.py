"""Work ahead of the encoder: in order, no further than agreed, over errors and stops; the same bits by any number of workers."""

import threading
import time

import numpy as np
import pytest
import torch
from fake_cuda import WaitsForTheDeviceError, fake_cuda

from aevlp.data.images import ArrayImages
from aevlp.vision_language.embedder import Embedder
from aevlp.vision_language.encoders.huggingface import HuggingFaceConfig
from aevlp.vision_language.feeding import AHEAD, Fetched, Views, ahead, in_batches, put_together


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_results_come_in_order_and_no_further_ahead_than_agreed(workers):
    asked, most = 0, 0

    def items():
        nonlocal asked
        for i in range(100):
            asked = i + 1
            yield i

    def slow_first(i):
        time.sleep(0.002 * (i % 3 == 0))
        return i * i

    for i, result in enumerate(ahead(slow_first, items(), workers)):
        assert result == i * i
        most = max(most, asked - i)
    assert most <= AHEAD * workers + 1


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_is_raised_in_its_turn_and_nothing_runs_on(workers):
    def fails(i):
        if i == 5:
            raise ValueError("five")
        return i

    results = ahead(fails, range(1000), workers)
    assert [next(results) for _ in range(5)] == list(range(5))
    with pytest.raises(ValueError, match="five"):
        next(results)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("views")]


def test_who_stops_asking_leaves_no_thread_behind():
    results = ahead(lambda i: i, iter(int, 1), 2)
    assert next(results) == 0
    results.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("views")]


@pytest.mark.parametrize("size", [1, 3, 8, 64])
def test_batches_are_full_and_hold_every_view_once(size):
    counts = [1, 16, 1, 16, 5, 9]
    views = [Views(part, part, 0, torch.full((count, 1, 1, 1), part)) for part, count in enumerate(counts)]
    batches = list(in_batches(views, size))
    lengths = [sum(map(len, batch)) for batch in batches]
    assert lengths == [size] * (sum(counts) // size) + [sum(counts) % size] * (sum(counts) % size > 0)
    seen = [(block.part, block.first + i) for batch in batches for block in batch for i in range(len(block))]
    assert seen == [(part, i) for part, count in enumerate(counts) for i in range(count)]


@pytest.mark.parametrize("workers", [1, 2])
def test_embeddings_are_the_same_to_the_bit_by_any_number_of_workers(workers):
    images = ArrayImages(np.random.default_rng(0).integers(0, 256, (70, 40, 50, 3), dtype=np.uint8))

    def embedded(count):
        config = HuggingFaceConfig(source="bundled", cache=False, workers=count)
        found = dict(Embedder(config, "cpu", print).embed(images, grid=2, flip=True))
        return torch.cat([found[rows] for rows in sorted(found, key=lambda rows: rows.start)])

    assert torch.equal(embedded(workers), embedded(0))


def test_a_batch_is_filled_up_with_zeros_and_keeps_the_order():
    views = [
        Views(0, 0, 0, torch.full((2, 3, 4, 4), 7, dtype=torch.uint8)),
        Views(1, 0, 0, torch.full((1, 3, 4, 4), 9, dtype=torch.uint8)),
    ]
    batch = put_together(views, 5, pinned=False)
    assert batch[:, 0, 0, 0].tolist() == [7, 7, 9, 0, 0]
    assert batch.is_contiguous(memory_format=torch.channels_last)


class Device:
    """Stands in for a device that works on by itself: what happens to its queue, in order."""

    def __init__(self):
        self.happened = []

    def event(self):
        return self

    def record(self):
        self.happened.append("queued")

    def synchronize(self):
        self.happened.append("waited")


def test_a_batch_is_waited_for_once_the_next_is_queued_and_bits_are_the_same():
    images = ArrayImages(np.random.default_rng(0).integers(0, 256, (9, 40, 50, 3), dtype=np.uint8))
    found, device = [], Device()
    for event in (None, device.event):
        embedder = Embedder(HuggingFaceConfig(source="bundled", cache=False, batch_size=8), "cpu", print)
        embedder.event = event
        found.append(torch.cat([embeddings for _, embeddings in embedder.embed(images, grid=2, flip=True)]))
    assert torch.equal(*found)
    batches = -(-9 * 2 * 5 // 8)
    assert device.happened == ["queued", *["queued", "waited"] * (batches - 1), "waited"]


def test_feeding_a_gpu_waits_for_it_only_where_it_says():
    class Event:
        def record(self):
            pass

    with fake_cuda():
        views = [Views(0, 0, 0, torch.zeros(3, 3, 8, 8, dtype=torch.uint8))]
        batch = put_together(views, 4, pinned=False).to("cuda", non_blocking=True)
        Fetched(batch.flatten(1)[:3].half(), Event)
        with pytest.raises(WaitsForTheDeviceError):
            Fetched(batch, None)
