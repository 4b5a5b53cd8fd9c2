"""For tests of studies: a study of tiny trials, run by the command, and what it left."""

from __future__ import annotations

import optuna
import small_runs as runs

from aevlp.cli import main
from aevlp.sweeps.study import load_existing, study_folder

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
