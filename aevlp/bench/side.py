"""One side of the benchmark, in a process of its own so that its peak memory is its own.

python -m aevlp.bench.side baseline|aevlp|feeding MATERIAL BATCH [a.b=c ...]      prints JSON: seconds per image and stage
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from aevlp.bench.stages import Stopwatch
from aevlp.config.describe import flatten
from aevlp.config.errors import GPU_FULL, ConfigError
from aevlp.config.schema import ExperimentConfig
from aevlp.text import say

EXPERIMENT = "coco_gpr"
EPOCHS = 2  # of the real pair
FED = 64  # photos
# What the baseline is, whatever --set says. It follows the loss, the labeler's rule, grid and first prompt, and the image size.
FIXED = {
    "dataset.name": "arrays", "labeler.name": "damp", "labeler.encoder.name": "huggingface", "loss.name": "gpr",
    "model.name": "resnet", "model.depth": 50, "model.boost": None, "dataset.flip": True, "trainer.optimizer": "adam",
    "trainer.ema_decay": None,
}  # fmt: skip


def experiment(material: Path, batch: int, changes: Sequence[str]) -> ExperimentConfig:
    """The experiment of both sides; ConfigError where the baseline, which has one model, rule and loss, would be of another."""
    from aevlp import load_experiment

    config = load_experiment(EXPERIMENT, overrides(material, batch, changes))
    values = flatten(config.to_dict())
    fixed = FIXED | {"labeler.encoder.source": str(material / "encoder"), "trainer.batch_size": batch}
    for path, value in fixed.items():
        if values[path] != value:
            what, its, given = path.removesuffix(".name"), *(json.dumps(word).strip('"') for word in (value, values[path]))
            raise ConfigError(f"bench: the baseline is of {what} {its}, not {given}; leave --set {what}={given} out")
    return config


def overrides(material: Path, batch: int, changes: Sequence[str]) -> list[str]:
    """The benchmark's experiment: values of COCO, photos and encoder of the material."""
    return [
        "dataset=arrays", f"dataset.root={material / 'photos'}", f"labeler.encoder.source={material / 'encoder'}",
        "model.weights=none", f"trainer.batch_size={batch}", f"trainer.epochs={EPOCHS}", "trainer.num_workers=0",
        "trainer.eval_batch_size=1", "tracking.mode=off", *changes,
    ]  # fmt: skip


def measure_baseline(material: Path, batch: int, changes: Sequence[str] = ()) -> dict[str, Any]:
    """Stages of one step, then two whole epochs by the clock."""
    from aevlp.bench.baseline import Baseline
    from aevlp.config import registry

    config: Any = experiment(material, batch, changes)
    data = registry.build("datasets", config.dataset)
    paths = [data.train.images.root / data.train.images.name(row) for row in range(len(data.train))]
    labeler = config.labeler
    rule = ("temperature", "eta", "threshold", "top_k", "negative_ratio", "negatives")
    side = Baseline(
        paths, data.train.observed, [labeler.prompts[0].format(name) for name in data.prompt_names], material / "encoder",
        config.loss, {key: getattr(labeler, key) for key in rule}, image_size=config.dataset.image_size, grid=labeler.grid,
        device=torch.device("cuda" if torch.cuda.is_available() else "cpu"),
    )  # fmt: skip
    side.step([0, 1])  # warms up
    side.watch.per(1)
    rows = list(range(len(paths)))
    side.step(rows[:batch])
    stages = side.watch.per(batch)
    prompts = stages.pop("prompts") * batch  # once a step, whatever the batch
    began = time.perf_counter()
    for _ in range(EPOCHS):
        for first in range(0, len(rows), batch):
            side.step(rows[first : first + batch])
    return {
        "per_image": stages, "per_step": {"prompts": prompts}, "pair_seconds": time.perf_counter() - began,
        "encodes_per_image_and_epoch": 1 + labeler.grid**2,
    }  # fmt: skip


def measure_project(material: Path, batch: int, changes: Sequence[str] = ()) -> dict[str, Any]:
    """Stages of one step, then the views of all photos and two whole epochs by the clock."""
    from aevlp.bench.probe import measure_probe
    from aevlp.config import registry
    from aevlp.data.images import resize
    from aevlp.runs.folder import RunFolder
    from aevlp.tracking import Trackers
    from aevlp.training.run import build_trainer
    from aevlp.training.signals import StopFlag
    from aevlp.vision_language.views import cut_views

    config: Any = experiment(material, batch, changes)
    data, watch = registry.build("datasets", config.dataset), Stopwatch()
    with tempfile.TemporaryDirectory() as root, StopFlag() as stop:
        os.environ["AEVLP_CACHE"] = str(Path(root) / "cache")
        folder = RunFolder.create(config, Path(root))
        trainer = build_trainer(config, data, folder, Trackers([]), stop)
        task: Any = trainer.task
        train = data.train
        encoder, encodes = task.labeler.encoder, task.labeler.num_images_encoded / len(train)
        task.labeler.prepare(train)
        with watch("cache"):
            task.labeler.prepare(train)
        warm = task.labeler.num_images_encoded / len(train) - encodes
        stages = watch.per(len(train))
        stages |= _stages_of_views(watch, encoder, train.images, config, resize, cut_views)
        task.model.train()
        for _ in range(2):  # the first warms up
            watch.per(1)
            _step_by_stages(watch, task, next(iter(trainer.loader.epoch(1))))
        stages |= watch.per(batch)
        task.labeler.uses_cache = False
        began = time.perf_counter()
        task.labeler.prepare(train)
        for epoch in range(EPOCHS):
            trainer.progress.epochs_done, trainer.progress.batches_done = epoch, 0
            performance = trainer.train_epoch()
        pair = time.perf_counter() - began
        probe = measure_probe(overrides(material, batch, changes), EXPERIMENT, data, Path(root), stop)
    return {
        "per_image": stages, "pair_seconds": pair, "encodes_per_image": encodes, "encodes_per_image_when_warm": warm,
        "probe": probe, "data_wait": performance["perf/data_wait"],
        "precision": {"classifier": task.accelerator.mixed_precision, "encoder": encoder.precision},
    }  # fmt: skip


def _stages_of_views(watch: Stopwatch, encoder: Any, images: Any, config: Any, resize: Any, cut_views: Any) -> dict[str, float]:
    count = min(4, len(images))
    for row in range(count):
        with watch("decode"):
            image = images[row]
        with watch("resize"):
            resize(image[None], config.dataset.image_size)
        with watch("views"):
            views = cut_views(image, config.labeler.grid, encoder.image_size)
        with watch("encode"):
            encoder.encode_images(torch.cat([views, views.flip(-1)]))
    return watch.per(count)


def _step_by_stages(watch: Stopwatch, task: Any, batch: Any) -> None:
    """`Task.step`, stage by stage."""
    observed = batch.observed.to(task.device)
    with watch("assign"):
        pseudo = task.labeler.label(batch.index, observed, epoch=1)
    with watch("forward"):
        logits = task.logits(task.model, batch.image)
    with watch("loss"):
        loss = task.loss(logits, observed, pseudo, epoch=1, num_epochs=EPOCHS, index=batch.index.to(task.device))
    with watch("backward"):
        task.optimizer.zero_grad()
        task.accelerator.backward(loss)
    with watch("optimizer"):
        task.optimizer.step()


def measure_feeding_side(material: Path, batch: int, changes: Sequence[str] = ()) -> dict[str, Any]:
    """How busy an encoder is kept, and what a photo takes of a core; whatever the batch and the settings."""
    from aevlp.bench.composition import measure_stages
    from aevlp.bench.feeding import measure_feeding, write_some

    os.environ["AEVLP_CACHE"] = str(material / "cache")
    images = write_some(material / "fed", FED)
    return measure_feeding(images) | {"stages": vars(measure_stages(images))}


def main() -> None:
    """Measure the side that the command line names."""
    from aevlp.training.cost import peak_memory_mb

    name, material, batch = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    np.random.seed(0)
    torch.manual_seed(0)
    sides = {"baseline": measure_baseline, "aevlp": measure_project, "feeding": measure_feeding_side}
    try:
        result = sides[name](material, batch, sys.argv[4:])
    except torch.OutOfMemoryError:
        say(GPU_FULL.format("--batch-size"), error=True)
        sys.exit(1)
    on_gpu = {"peak_gpu_memory_mb": torch.cuda.max_memory_allocated() / 2**20} if torch.cuda.is_available() else {}
    say(json.dumps(result | {"peak_memory_mb": peak_memory_mb()} | on_gpu))


if __name__ == "__main__":
    main()
