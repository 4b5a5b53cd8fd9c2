"""A rehearsal: every part of a run once, on a handful of images, with memory and time for the whole."""

from __future__ import annotations

import math
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from aevlp import ranks
from aevlp.config.errors import CheckpointError, ConfigError, TrainingError
from aevlp.config.schema import ExperimentConfig
from aevlp.data.build import build_dataset
from aevlp.data.dataset import Split, SPMLData
from aevlp.data.rows import take_rows
from aevlp.data.workers import deaths_told
from aevlp.labelers import Labeler
from aevlp.runs.folder import RunFolder
from aevlp.terminal import Terminal
from aevlp.tracking import Trackers
from aevlp.tracking.base import duration
from aevlp.training.memory import peak_memory_mb
from aevlp.training.run import build_trainer, check_data
from aevlp.training.signals import StopFlag
from aevlp.training.trainer import Trainer


def first_images(split: Split, count: int) -> Split:
    """The first `count` images of a split."""
    return take_rows(split, np.arange(min(count, len(split))))


def dry_run(config: ExperimentConfig) -> None:
    """Two steps, one validation batch, save, reload; prints memory and an estimate of the whole run.

    Raises:
        AevlpError: whatever the run itself would raise; CheckpointError where weights do not survive saving.
    """
    if ranks.announced() > 1:
        raise ConfigError("--dry-run takes one process: start it without torchrun, or unset WORLD_SIZE")
    settings = config.trainer
    data: SPMLData = build_dataset(config.dataset)
    check_data(data)
    short = replace(
        data,
        train=first_images(data.train, 2 * settings.batch_size),
        val=first_images(data.val, settings.eval_batch_size),
        test=None,
    )
    with tempfile.TemporaryDirectory() as root, StopFlag(settings.stop_signals) as stop, deaths_told():
        trainer = build_trainer(config, short, RunFolder.create(config, Path(root)), Trackers([]), stop)
        task, clock = trainer.task, time.perf_counter
        task.labeler.uses_cache = False
        task.labeler.prepare(first_images(short.train, 1))  # warms up
        views, began = task.labeler.num_images_encoded, clock()
        task.labeler.prepare(short.train)
        views, encode = task.labeler.num_images_encoded - views, clock() - began
        task.model.train()
        for number, batch in enumerate(trainer.loader.epoch(1)):
            began = clock()  # the last of the two steps counts
            loss = float(task.step(batch, epoch=1, step=number))
            step = clock() - began
            if not math.isfinite(loss):
                raise TrainingError(f"loss {config.loss.name}: gave {loss} at step {number + 1}")
        began = clock()
        trainer.predict(short.val, "validate")
        evaluate = (clock() - began) / len(short.val)
        size = _save_and_reload(trainer)
    encoding = encode / max(views, 1) * _views_to_encode(task.labeler, config, data)
    training = settings.epochs * (step * -(-len(data.train) // settings.batch_size) + evaluate * len(data.val))
    console = Terminal(soft_wrap=True)
    console.print(f"[bold]{config.name}[/bold]  dry run: two steps, one validation batch, saved and reloaded", markup=True)
    console.print(f"  loss         {loss:.4f}")
    console.print(f"  step         {1000 * step:.0f} ms for {settings.batch_size} images")
    console.print(f"  views        {views // len(short.train)} per training image")
    console.print(f"  memory       {peak_memory_mb():.0f} MB at most so far")
    console.print(f"  checkpoint   {size:.1f} MB; up to three are kept")
    console.print(f"  whole run    about {duration(encoding)} to encode views, {duration(training)} for {settings.epochs} epochs")


def _views_to_encode(labeler: Labeler, config: ExperimentConfig, data: SPMLData) -> int:
    """Views of the whole run that are not cached."""
    splits = [(data.train, config.dataset.flip)]
    if config.trainer.evaluate_labeler:
        splits += [(split, False) for split in (data.val, data.test) if split is not None]  # never mirrored
    return sum(labeler.count_missing(split, flip) for split, flip in splits)


def _save_and_reload(trainer: Trainer) -> float:
    """Size of a checkpoint in MB, after a round trip that must not change a weight."""
    trainer.save("epoch-000-step-2")
    before = {name: tensor.clone() for name, tensor in trainer.task.weights()["model"].items()}
    checkpoint = trainer.store.latest()
    if checkpoint is None:
        raise CheckpointError("the checkpoint just saved cannot be read back")
    trainer.restore(checkpoint)
    if not all(torch.equal(tensor, before[name]) for name, tensor in trainer.task.weights()["model"].items()):
        raise CheckpointError("weights changed by saving and loading them")
    return sum(file["bytes"] for file in checkpoint.manifest["files"].values()) / 2**20
