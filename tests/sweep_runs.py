"""For tests of studies: a study of tiny trials, run by the command, and what it left."""

from __future__ import annotations

import json
import signal

import numpy as np
import optuna
import small_runs as runs

from aevlp.cli import main
from aevlp.config.errors import TrainingError
from aevlp.runs.folder import RunFolder
from aevlp.sweeps.study import load_existing, study_folder
from aevlp.training.signals import RunStopped

STUDY = f"""# A study of trials of a second.
base: digits_gpr
set: [{", ".join(runs.FAST)}, trainer.threads=1]
space:
  trainer.learning_rate: {{float: [0.0001, 0.01], log: true}}
  trainer.weight_decay: {{choice: [0.0, 0.01]}}
sampler: random
pruner: none
trials: 3
confirm: off
"""
CONFIRMED = STUDY.replace("trials: 3\nconfirm: off", "trials: 8\nconfirm: {best: 3, seeds: 2}")
FRESH = (100, 101)


def write(folder, text=STUDY, name="tiny"):
    """Write a study's file; returns its path."""
    path = folder / f"{name}.yaml"
    path.write_text(text)
    return str(path)


def run(path, *words):
    """`sweep run` in this process; returns the exit code."""
    return main(["sweep", "run", path, "--in-process", *words])


def load(name="tiny", storage=None) -> optuna.Study:
    """The study as it stands."""
    return load_existing(name, storage, print)


def states(name="tiny") -> list[str]:
    """States of all trials, in order."""
    return [trial.state.name for trial in load(name).trials]


def run_folders(name="tiny"):
    """Run folders of the study, sorted."""
    return sorted((study_folder(name) / "trials").iterdir())


class Killed(BaseException):
    """The end of a process, at any point."""


class Trained:
    """Runs that take no time; their figure hangs on the learning rate and the seed."""

    def __init__(self):
        self.noise = 3.0
        self.runs: list[tuple[float, int]] = []
        self.failing: tuple[int, ...] = ()
        self.stops_before: int | None = None

    def value(self, rate, seed):
        return 50 + 5 * np.log10(rate / 1e-4) + self.noise * np.random.default_rng([round(rate * 1e6), seed]).normal()

    def resume(self, path, trackers=(), places=None):
        config = RunFolder(path).read_config()
        rate, seed = config.trainer.learning_rate, config.seed
        assert not (path / "summary.json").exists()
        if len(self.runs) == self.stops_before:
            raise RunStopped(signal.SIGINT)
        if seed in self.failing:
            raise TrainingError("the loss is not finite")
        found = float(self.value(rate, seed))
        (path / "summary.json").write_text(json.dumps({"best/val_mAP": found, "val/mAP": found, "seed": seed}))
        self.runs.append((rate, seed))

    def mean(self, rate):
        return float(np.mean([self.value(rate, seed) for seed in FRESH]))
