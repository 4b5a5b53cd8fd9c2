"""For tests that train: a run of one second, ways to stop it, and what it leaves behind."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import aevlp
from aevlp.config import registry
from aevlp.config.schema import ComponentConfig, ExperimentConfig
from aevlp.losses.an import assume_negative
from aevlp.models._classifier import Classifier
from aevlp.runs.checkpoints import Checkpoint, CheckpointStore
from aevlp.tracking import read_metrics
from aevlp.training.task import Task

FAST = (
    "labeler=none", "loss=an", "dataset.image_size=32", "dataset.num_train=48", "dataset.num_val=40", "dataset.num_test=40",
    "trainer.batch_size=16", "trainer.eval_batch_size=20", "trainer.epochs=2", "trainer.log_every=2", "trainer.patience=null",
    "trainer.max_drop=null", "trainer.learning_rate=0.001", "tracking.mode=off",
)  # fmt: skip
STEPS_PER_EPOCH = 3


def config(*overrides: str) -> ExperimentConfig:
    """A digits experiment of three steps an epoch, without a labeler."""
    return aevlp.load_experiment("digits_gpr", [*FAST, *overrides])


def only_run() -> Path:
    """Folder of the one run there is."""
    from aevlp.folders import runs_root

    (run,) = (path.parent for path in runs_root().glob("*/config.yaml"))
    return run


def newest(run: Path) -> Checkpoint:
    """The newest checkpoint of a run; fails where a damaged one had to be passed over."""
    said: list[str] = []
    checkpoint = CheckpointStore(run / "checkpoints", said.append).latest()
    assert checkpoint is not None
    assert said == []
    return checkpoint


def checkpoint_names(run: Path) -> list[str]:
    """Names of the checkpoint folders, sorted."""
    return sorted(path.name for path in (run / "checkpoints").glob("epoch-*"))


def epoch_rows(run: Path) -> list[dict[str, Any]]:
    """Rows of metrics.jsonl that close an epoch."""
    return [row for row in read_metrics(run / "metrics.jsonl") if "train/loss" in row]


def outcome(run: Path) -> dict[str, Any]:
    """Everything a run left that has to be the same however often it was stopped: all but ids and times."""
    checkpoint = newest(run)
    summary = json.loads((run / "summary.json").read_text())
    arrays = {name: np.load(run / f"{name}.npz") for name in ("val_scores", "test_scores", "pseudo_labels", "samples")}
    state = checkpoint.state()
    return {
        "rows": [_without_times(row) for row in read_metrics(run / "metrics.jsonl")],
        "summary": _without_times(summary),
        "weights": {name: checkpoint.weights(name) for name in ("model", "ema") if checkpoint.has(name)},
        "task": state["task"], "progress": state["progress"], "row": _without_times(state["last_row"]),
        "arrays": {f"{name}/{key}": torch.from_numpy(value) for name, file in arrays.items() for key, value in file.items()
                   if value.dtype.kind != "U"},
        "per_class": [(run / name).read_text() for name in ("per_class.csv", "pseudo_per_class.csv") if (run / name).is_file()],
    }  # fmt: skip


def _without_times(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if not key.startswith("perf/") and key != "run_id"}


def differences(first: Any, second: Any, path: str = "") -> list[str]:
    """Dotted paths at which two nested results are not equal bit for bit."""
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        same = first.dtype == second.dtype and torch.equal(first, second)
        return [] if same else [path]
    if isinstance(first, dict) and isinstance(second, dict) and first.keys() == second.keys():
        return [found for key in first for found in differences(first[key], second[key], f"{path}.{key}")]
    if isinstance(first, list | tuple) and isinstance(second, list | tuple) and len(first) == len(second):
        return [found for i in range(len(first)) for found in differences(first[i], second[i], f"{path}[{i}]")]
    return [] if type(first) is type(second) and first == second else [path]


def after_step(patch: Any, number: int, do: Any) -> None:
    """Call `do()` right after optimiser step `number` of the run, counted from 1."""
    step_of_task = Task.step

    def step_and_do(self, batch, *, epoch, step):
        loss = step_of_task(self, batch, epoch=epoch, step=step)
        if step + 1 == number:
            do()
        return loss

    patch.setattr(Task, "step", step_and_do)


def signal_after_step(patch: Any, number: int, which: int = signal.SIGTERM) -> None:
    """Send this process a real signal right after a step."""
    after_step(patch, number, lambda: signal.raise_signal(which))


class PlainConfig(ComponentConfig):
    """No settings."""


class MemoryLoss(nn.Module):
    """Assume-negative, with a parameter of its own, a memory of what it was shown, and a log of its hook."""

    def __init__(self, config: PlainConfig, num_classes: int, num_samples: int):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(num_classes))
        self.register_buffer("memory", torch.zeros(num_samples, num_classes))
        self.register_buffer("hook_calls", torch.zeros((), dtype=torch.int64))
        self.seen: list[tuple[int, Tensor, Tensor]] = []

    def forward(self, logits: Tensor, observed: Tensor, pseudo: Tensor, *, index: Tensor, **_: Any) -> Tensor:
        return assume_negative(logits * self.scale, observed) + (torch.sigmoid(logits) - self.memory[index]).square().mean()

    def on_epoch_end(self, predict: Any, epoch: int) -> None:
        self.hook_calls += 1
        for index, probabilities in predict():
            self.seen.append((epoch, index, probabilities))
            self.memory[index] = 0.5 * self.memory[index] + 0.5 * probabilities


def build_dropout_cnn(config: PlainConfig, *, num_classes: int, **_: Any) -> Classifier:
    return Classifier(nn.Sequential(nn.Conv2d(3, 8, 3, stride=4), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.5)), 8, num_classes)


def add_components(patch: Any) -> None:
    """Register loss `memory` and model `dropout_cnn` for the time of a test."""
    for kind, name, build in (("losses", "memory", MemoryLoss), ("models", "dropout_cnn", build_dropout_cnn)):
        patch.setitem(registry._components[kind], name, registry.Component(name, PlainConfig, build))


class Crash(BaseException):
    """The process ends here: nothing may catch this."""


def crash() -> None:
    """End as a killed process would."""
    raise Crash
