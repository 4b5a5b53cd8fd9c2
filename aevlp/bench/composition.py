"""What labels and whole runs cost on cards that are not here: computed from what a photo takes of a core, which is measured.

A card is told by the views a second that it encodes. Loader processes of the baseline, and threads here, have as many cores as
are said, and work while the card does: a photo takes the longer of the two. The baseline encodes the views of every photo in
every epoch of every trial, after decoding and cutting them; this project once, both flips, and later reads them from its cache.
Left out, in favour of the baseline: its prompts, encoded in every step, and that its loaders hand over floats.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from aevlp.bench.baseline import pillow_views, to_tensor
from aevlp.bench.feeding import GRID, StandIn, embed
from aevlp.data.dataset import IDENTITY_THREADS, identities
from aevlp.data.images import ImageFiles, resize

VIEWS = 1 + GRID**2
IMAGE_SIZE = 448
CACHED_ROWS = 512
EPOCHS, TRIALS = 8, 10
CARDS, CORES = (2000, 5000, 8000, 10000), 16


@dataclass(frozen=True)
class Stages:
    """CPU seconds of one core a photo."""

    baseline_label: float
    """Decode and cut, for the encoder."""
    baseline_classify: float
    """Decode and squash, for the classifier."""
    label: float
    """Decode, cut and mirror: what threads do."""
    label_alone: float
    """Put batches together and take embeddings: what one thread does beside them."""
    identity: float
    """Read the file of a photo, by which its embeddings are found."""
    cached: float
    """Read its embeddings."""
    classify: float
    """Decode and squash."""


def measure_stages(images: ImageFiles) -> Stages:
    """Look at the clock of the processor, on one thread of torch, so that others on the machine count little.

    The embeddings go to $AEVLP_CACHE.
    """
    paths, rows = [images.root / images.name(row) for row in range(len(images))], range(len(images))

    def squash(path: Path) -> Tensor:
        return to_tensor(Image.open(path).convert("RGB").resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BILINEAR))

    def feed() -> None:
        embed(images, StandIn(1e9, in_turn=False), 1)

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        alone = _cpu_seconds(feed, time.thread_time)
        seconds = Stages(
            baseline_label=_cpu_seconds(lambda: [pillow_views(Image.open(path).convert("RGB"), GRID, 224) for path in paths]),
            baseline_classify=_cpu_seconds(lambda: [squash(path) for path in paths]),
            label=_cpu_seconds(feed) - alone,
            label_alone=alone,
            identity=_cpu_seconds(lambda: identities(images)),
            cached=_cached_seconds(images),
            classify=_cpu_seconds(lambda: [resize(images[row][None], IMAGE_SIZE) for row in rows]),
        )
    finally:
        torch.set_num_threads(threads)
    return Stages(**{name: value / len(images) for name, value in vars(seconds).items()})


def _cached_seconds(images: ImageFiles) -> float:
    """To read what is cached; of many rows, so that opening files counts as little as it does for a dataset."""
    rows = np.arange(CACHED_ROWS) % len(images)
    many = ImageFiles(images.root, images.names[rows].tolist())

    def read() -> None:
        embed(many, StandIn(1e9, in_turn=False), 1, cache=True)

    read()  # encodes
    return _cpu_seconds(read, time.thread_time) * len(images) / CACHED_ROWS


def _cpu_seconds(function: Callable[[], object], clock: Callable[[], float] = time.process_time) -> float:
    """Of the fastest of three, the first of which warms up."""
    taken = []
    for _ in range(3):
        began = clock()
        function()
        taken.append(clock() - began)
    return min(taken)


def compose(stages: Stages, step_in_views: float, card: float, cores: int = CORES) -> dict[str, float]:
    """Ratios baseline / this project, above 1 where this project is cheaper.

    Args:
        stages: as measured.
        step_in_views: views that are encoded in the time of a training step of the classifier on one photo.
        card: views a second.
        cores: that decode.
    """
    step = step_in_views / card
    baseline_labels = max(stages.baseline_label / cores, VIEWS / card)
    baseline_epoch = max((stages.baseline_label + stages.baseline_classify) / cores, VIEWS / card + step)
    once = max(stages.label / cores, stages.label_alone, 2 * VIEWS / card)
    cached = stages.identity / min(IDENTITY_THREADS, cores) + stages.cached
    epoch = max(stages.classify / cores, step)
    return {
        "labels of 8 epochs": EPOCHS * baseline_labels / (once + cached),
        "labels of 10 trials": TRIALS * EPOCHS * baseline_labels / (once + TRIALS * cached),
        "run of 8 epochs": EPOCHS * baseline_epoch / (once + cached + EPOCHS * epoch),
        "sweep of 10 trials": TRIALS * EPOCHS * baseline_epoch / (once + TRIALS * (cached + EPOCHS * epoch)),
    }
