"""Labels of 300,000 photos whose embeddings are cached, 600 classes, grid 2, a budget of 512 MB: at most 1.5 GB of memory.

Not part of the default run: `pytest -n 0 --benchmark-enable tests/benchmarks/test_label_size.py -s` shows the figures. The cache
is made first, of random unit vectors of 512 numbers, 1.5 GB in the temporary folder; no photo is decoded.
"""

import hashlib
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch

from aevlp.config.registry import register
from aevlp.data.dataset import Split
from aevlp.labelers.damp import DAMP, DAMPConfig
from aevlp.vision_language.embedder import Embedder
from aevlp.vision_language.encoders import Encoder, EncoderConfig

PHOTOS, CLASSES, GRID, WIDTH, BUDGET, BATCH = 300_000, 600, 2, 512, 512, 64
LABELED = 60_000  # of them, drawn at random: neither pace nor memory changes after


class Photos:
    """Names and identities alone."""

    def __len__(self):
        return PHOTOS

    def __getitem__(self, row):
        raise AssertionError("all is cached, and yet a photo was decoded")

    def identity(self, row):
        return hashlib.blake2b(str(row).encode(), digest_size=16).digest()


class Random(Encoder):
    """Gives texts random vectors."""

    title, image_size = "random", 224

    def __init__(self, config, *, device):
        pass

    def fingerprint(self):
        return "random"

    def encode_texts(self, texts):
        return torch.randn(len(texts), WIDTH, generator=torch.Generator().manual_seed(1))


def fill(config):
    numbers = torch.Generator().manual_seed(0)
    for part in Embedder(config.encoder, "cpu", print)._parts(Photos(), GRID, False, True):
        for first in range(0, PHOTOS, 1000):
            values = torch.randn(1000, part.views.stop - part.views.start, WIDTH, generator=numbers)
            for row, value in enumerate(torch.nn.functional.normalize(values, dim=-1).half().numpy()):
                part.cached.write(first + row, value)
        part.close()


def label(config):
    observed = np.zeros((PHOTOS, CLASSES), np.int8)
    observed[np.arange(PHOTOS), np.arange(PHOTOS) % CLASSES] = 1
    names = [str(i) for i in range(CLASSES)]
    labeler = DAMP(config, prompt_names=names, flip=False, seed=0, device=torch.device("cpu"), notify=print)
    began = np.array([time.perf_counter(), time.process_time()])
    labeler.prepare(Split(Photos(), observed, None))
    ready = np.array([time.perf_counter(), time.process_time()])
    order = torch.randperm(PHOTOS, generator=torch.Generator().manual_seed(2))[:LABELED]
    count = 0
    for index in order.split(BATCH):
        count += int((labeler.label(index, torch.from_numpy(observed)[index], epoch=1) > 0).sum())
    done = np.array([time.perf_counter(), time.process_time()])
    (prepare, prepare_cpu), (seconds, cpu) = ready - began, done - ready
    print(f"prepared in {prepare:.0f} s ({prepare_cpu:.0f} s of CPU); {count} pseudo-positives, in shuffled batches of {BATCH} "
          f"{LABELED / seconds:.0f} images a second, {LABELED / cpu:.0f} a second of CPU")  # fmt: skip


def main():
    torch.set_num_threads(1)
    register("encoders", "random", config=EncoderConfig)(Random)
    config = DAMPConfig(
        name="damp", grid=GRID, table_mb=BUDGET, temperature=0.02, threshold=0.1, label_graph={"enabled": False},
        encoder={"name": "random"},
    )  # fmt: skip
    fill(config)
    label(config)
    print(f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


def test_labels_of_300_000_photos_take_a_gigabyte_and_a_half():
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    told = subprocess.run([sys.executable, __file__], env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
    print(told)
    assert "computed from the cache as needed" in told
    assert float(told.split()[-2]) < 1536


if __name__ == "__main__":
    main()
