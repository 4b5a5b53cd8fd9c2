"""Labels of 300,000 photos whose embeddings are cached, 600 classes, grid 2, a budget of 512 MB: at most 1.5 GB of memory.

Not part of the default run: `pytest -n 0 --benchmark-enable tests/benchmarks/test_label_size.py -s` shows the figures. The cache
is made of random unit vectors of 512 numbers, 1.5 GB in the temporary folder, in a minute or two; no photo is decoded.
"""

import os
import subprocess
import sys

import pytest

PHOTOS, CLASSES, GRID, WIDTH, BUDGET = 300_000, 600, 2, 512, 512

MEASURE = f"""
import hashlib, resource, sys, time
import numpy as np, torch
from aevlp.data.dataset import Split
from aevlp.labelers.damp import DAMP, DAMPConfig
from aevlp.vision_language.embedder import Embedder

class Photos:
    def __len__(self): return {PHOTOS}
    def __getitem__(self, row): raise AssertionError("a photo was decoded")
    def name(self, row): return f"{{row}}.jpg"
    def identity(self, row): return hashlib.blake2b(b"%d" % row, digest_size=16).digest()

class Encoder:
    image_size = 224
    def encode_texts(self, texts):
        return torch.randn(len(texts), {WIDTH}, generator=torch.Generator().manual_seed(1))

config = DAMPConfig(name="damp", grid={GRID}, table_mb={BUDGET}, temperature=0.02, threshold=0.3, top_k=5,
                    label_graph={{"enabled": False}}, encoder={{"source": "bundled"}})
photos = Photos()
if sys.argv[1] == "fill":
    embedder = Embedder(config.encoder, "cpu", print, Encoder)
    numbers = torch.Generator().manual_seed(0)
    for part in embedder._parts(photos, {GRID}, False, True):
        for first in range(0, {PHOTOS}, 1000):
            values = torch.randn(1000, part.views.stop - part.views.start, {WIDTH}, generator=numbers)
            for row, value in enumerate(torch.nn.functional.normalize(values, dim=-1).half().numpy()):
                part.cached.write(first + row, value)
        part.close()
else:
    from aevlp.labelers import damp
    damp.DualEncoder = lambda *_: Encoder()
    observed = np.zeros(({PHOTOS}, {CLASSES}), np.int8)
    observed[np.arange({PHOTOS}), np.arange({PHOTOS}) % {CLASSES}] = 1
    labeler = DAMP(config, prompt_names=[str(i) for i in range({CLASSES})], flip=False, seed=0,
                   device=torch.device("cpu"), notify=print)
    began = time.perf_counter(), time.process_time()
    labeler.prepare(Split(photos, observed, None))
    opened = time.perf_counter(), time.process_time()
    pseudo, order = 0, torch.randperm({PHOTOS}, generator=torch.Generator().manual_seed(2))
    for index in order.split(64):
        pseudo += int((labeler.label(index, torch.from_numpy(observed)[index], epoch=1) > 0).sum())
    done = time.perf_counter(), time.process_time()
    assert labeler._streamed is not None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{{pseudo}} pseudo-labels", peak, *(b - a for a, b in zip(began, opened)), *(b - a for a, b in zip(opened, done)))
"""


def test_labels_of_300_000_photos_take_a_gigabyte_and_a_half(tmp_path):
    environment = os.environ | {"AEVLP_CACHE": str(tmp_path / "cache")}
    for what in ("fill", "label"):
        command = [sys.executable, "-c", MEASURE, what]
        told = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.splitlines()
    peak, *seconds = map(float, told[-1].split()[2:])
    prepare, prepare_cpu, label, label_cpu = seconds
    print(told[0])
    print(f"peak {peak:.0f} MB; prepared in {prepare:.0f} s ({prepare_cpu:.0f} s of CPU); an epoch of labels in batches of 64, "
          f"shuffled, {PHOTOS / label:.0f} images a second ({PHOTOS / label_cpu:.0f} a CPU second)")  # fmt: skip
    assert peak < 1536
