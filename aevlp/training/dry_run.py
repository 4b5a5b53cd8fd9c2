"""A rehearsal: every part of a run once, on a handful of images, with memory and time for the whole."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor

from aevlp.config import registry
from aevlp.config.errors import CheckpointError
from aevlp.config.schema import ExperimentConfig
from aevlp.data.dataset import ImageSource, Split, SPMLData
from aevlp.tracking import Trackers
from aevlp.training.memory import peak_memory_mb
from aevlp.training.run import build_trainer
from aevlp.training.run_folder import RunFolder
from aevlp.training.signals import StopFlag


@dataclass(frozen=True)
class _First:
    images: ImageSource
    count: int

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, row: int) -> Tensor:
        return self.images[row]

    def label(self, row: int) -> str:
        return self.images.label(row)


def head(split: Split, count: int) -> Split:
    """The first `count` images of a split."""
    count = min(count, len(split))
    return Split(_First(split.images, count), split.observed[:count], None if split.targets is None else split.targets[:count])


def dry_run(config: ExperimentConfig) -> None:
    """Two steps, one validation batch, save, reload; prints memory and an estimate of the whole run.

    Raises:
        AevlpError: whatever the run itself would raise; CheckpointError where weights do not survive saving.
    """
    data: SPMLData = registry.build("datasets", config.dataset)
    short = replace(
        data, train=head(data.train, 2 * config.trainer.batch_size), val=head(data.val, config.trainer.eval_batch_size), test=None
    )
    with tempfile.TemporaryDirectory() as root, StopFlag() as stop:
        folder = RunFolder.create(config, Path(root))
        trainer = build_trainer(config, short, folder, Trackers([]), stop)
        encoded, encode = trainer.task.labeler.num_images_encoded, _Seconds()
        trainer.task.labeler.prepare(short.train)
        encode.stop()
        trainer.task.model.train()
        for batch in trainer.loader.epoch(1):
            step = _Seconds()  # the last of the two counts: the first one warms up
            loss = float(trainer.task.step(batch, epoch=1, step=0))
            step.stop()
        evaluate = _Seconds()
        trainer.predict(short.val, "validate")
        evaluate.stop()
        trainer.save("epoch-000-step-2")
        before = {name: tensor.clone() for name, tensor in trainer.task.weights()["model"].items()}
        checkpoint = trainer.store.latest()
        if checkpoint is None:
            raise CheckpointError("the checkpoint just saved cannot be read back")
        trainer.restore(checkpoint)
        if not all(torch.equal(tensor, before[name]) for name, tensor in trainer.task.weights()["model"].items()):
            raise CheckpointError("weights changed by saving and loading them")
        size = sum(file["bytes"] for file in checkpoint.manifest["files"].values()) / 2**20
    steps = -(-len(data.train) // config.trainer.batch_size)
    encoding = encode.total * len(data.train) / len(short.train)
    training = config.trainer.epochs * (steps * step.total + evaluate.total * len(data.val) / len(short.val))
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"[bold]{config.name}[/bold]  dry run: two steps, one validation batch, saved and reloaded")
    console.print(f"  loss              {loss:.4f}")
    console.print(f"  step              {1000 * step.total:.0f} ms for {config.trainer.batch_size} images")
    console.print(f"  memory            {peak_memory_mb():.0f} MB at most so far")
    console.print(f"  checkpoint        {size:.1f} MB; up to three are kept")
    console.print(
        f"  estimated time    {_clock(encoding)} to encode views, {_clock(training)} for {config.trainer.epochs} epochs"
    )
    if encoded:
        console.print(f"  views encoded     {encoded} for {len(short.train)} images")
    console.print(f"start it            python run.py --exp {config.name}")


class _Seconds:
    def __init__(self) -> None:
        self.began, self.total = time.perf_counter(), 0.0

    def stop(self) -> None:
        self.total = time.perf_counter() - self.began


def _clock(seconds: float) -> str:
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"
