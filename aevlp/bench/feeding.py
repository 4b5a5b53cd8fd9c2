"""How busy an encoder is kept: one that computes nothing and is busy for a fixed time a view, so that no GPU is needed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from aevlp.bench.material import draw_photo
from aevlp.data.images import ImageFiles
from aevlp.vision_language.embedder import GPU_BATCH, Embedder
from aevlp.vision_language.encoders import Encoder, EncoderConfig

GRID = 4
RATES, WORKERS = (0.5, 1.0, 2.0), (0, 1, 2)
IN_TURN = "in turn"


class StandIn(Encoder):
    """An encoder of `rate` views a second. It sleeps where a device would compute: a core is left to whoever feeds it."""

    title = "stand-in"
    image_size = 224

    def __init__(self, rate: float, *, in_turn: bool):
        self.rate, self.in_turn = rate, in_turn
        self.busy, self._free_at = 0.0, 0.0
        self._embeddings = torch.full((GPU_BATCH, 512), 512**-0.5)

    def fingerprint(self) -> str:
        """Its embeddings hang on nothing."""
        return self.title

    def encode_images(self, views: Tensor) -> Tensor:
        """Unit-length embeddings (N,512): at once, as a GPU that has been told what to do; in turn, when it is done."""
        seconds = len(views) / self.rate
        self.busy += seconds
        self._free_at = max(self._free_at, time.perf_counter()) + seconds
        if self.in_turn:
            self.event().synchronize()
        return self._embeddings[: len(views)]

    def event(self) -> _Done:
        """Tells when what was asked for so far is done."""
        return _Done(self)


class _Done:
    def __init__(self, encoder: StandIn):
        self._encoder, self._at = encoder, encoder._free_at

    def record(self) -> None:
        """As it is made: what is asked for later does not count."""
        self._at = self._encoder._free_at

    def synchronize(self) -> None:
        """Sleep until then."""
        time.sleep(max(0.0, self._at - time.perf_counter()))


def write_some(folder: Path, photos: int) -> ImageFiles:
    """Photos of 640x480 in a new folder."""
    folder.mkdir()
    for row in range(photos):
        (folder / f"{row}.jpg").write_bytes(draw_photo(row))
    return ImageFiles(folder, [f"{row}.jpg" for row in range(photos)])


def measure_feeding(images: ImageFiles) -> dict[str, Any]:
    """Views a second that one core can feed, and the share of time the encoder is busy, by its rate in parts of that.

    Returns:
        `one_core` views a second: decode, cut, mirror, put together, one after the other; `busy` by rate and workers, "in turn"
        being no worker and an encoder that is waited for before the next image is touched.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        _timed(images, StandIn(1e9, in_turn=True), 0)  # warms up
        one_core = len(images) * 2 * (1 + GRID**2) / _timed(images, StandIn(1e9, in_turn=True), 0)
        busy: dict[str, dict[str, float]] = {}
        for rate in RATES:
            busy[str(rate)] = {IN_TURN: _busy(images, StandIn(rate * one_core, in_turn=True), 0)}
            busy[str(rate)] |= {str(n): _busy(images, StandIn(rate * one_core, in_turn=False), n) for n in WORKERS}
    finally:
        torch.set_num_threads(threads)
    return {"one_core": one_core, "busy": busy}


def embed(images: ImageFiles, encoder: StandIn, workers: int, cache: bool = False) -> None:
    """All views of all images, both flips, through the encoder, or from $AEVLP_CACHE where it is wanted and there."""
    config = EncoderConfig(cache=cache, workers=workers, batch_size=GPU_BATCH)
    embedder = Embedder(config, "cpu", encoder=encoder)
    embedder.event = None if encoder.in_turn else encoder.event
    for _ in embedder.embed(images, GRID, flip=True):
        pass


def _busy(images: ImageFiles, encoder: StandIn, workers: int) -> float:
    seconds = _timed(images, encoder, workers)
    return encoder.busy / seconds


def _timed(images: ImageFiles, encoder: StandIn, workers: int) -> float:
    began = time.perf_counter()
    embed(images, encoder, workers)
    return time.perf_counter() - began
