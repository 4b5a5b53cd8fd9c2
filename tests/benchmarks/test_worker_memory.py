"""Memory that each loader worker takes for itself with a million rows of 80 classes: at most 25 MB above that of a few rows.

Not part of the default run: `pytest -n 0 --benchmark-enable tests/benchmarks/test_worker_memory.py -s` shows the figures.
"""

import multiprocessing
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from aevlp.data.dataset import Split
from aevlp.data.images import ImageFiles
from aevlp.data.loaders import TrainLoader

CLASSES, FILES = 80, 100


def own_megabytes(process):
    """Pages that no other process shares."""
    lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024


def of_workers(split):
    loader = TrainLoader(split, image_size=32, flip=True, batch_size=16, num_workers=2, seed=0)
    batches = loader.epoch(1)
    for _ in range(200):
        next(batches)
    children = [child for child in psutil.Process().children() if "resource_tracker" not in " ".join(child.cmdline())]
    return [own_megabytes(child) for child in children]


@pytest.fixture(params=["fork", "spawn"])
def start_method(request):
    before = multiprocessing.get_start_method()
    multiprocessing.set_start_method(request.param, force=True)
    yield request.param
    multiprocessing.set_start_method(before, force=True)


def test_workers_hold_no_copy_of_labels_and_names(start_method, tmp_path):
    for i in range(FILES):
        Image.fromarray(np.full((32, 32, 3), i, np.uint8)).save(tmp_path / f"{i:02d}.png")

    def split(count):
        names = np.char.add(np.char.zfill((np.arange(count) % FILES).astype(str), 2), ".png")
        names = np.char.add("." + "/" * 30, names)  # as long as those of a large dataset
        return Split(ImageFiles(tmp_path, names), np.zeros((count, CLASSES), np.int8), None)

    few, many = of_workers(split(10_000)), of_workers(split(1_000_000))
    print(f"{start_method}: {max(few):.0f} MB a worker with 10,000 rows, {max(many):.0f} MB with 1,000,000")
    assert len(few) == len(many) == 2
    assert max(many) - max(few) < 25
