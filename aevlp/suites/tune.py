"""`--tune N`: the same number of validation trials for every row, each a study of its own."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from aevlp.config.yaml_reading import write_yaml
from aevlp.suites.plan import Line, Plan, make_job
from aevlp.sweeps.best import choose
from aevlp.sweeps.ledger import WORDS
from aevlp.sweeps.run import run_study
from aevlp.sweeps.study import load_existing
from aevlp.training.run_folder import RunFolder, runs_root

LEARNING_RATE = "trainer.learning_rate"
RATE_FACTOR = 4.0
"""The learning rate is searched from a quarter of its value to four times."""


def tune(plan: Plan, trials: int, seeds: int, *, workers: int, gpus: str | None) -> None:
    """Run or continue the study of each row, and give the row a tuned job for each seed.

    A trial runs seed 0 and is judged by best/val_mAP; the row as it stands is the first of them.

    Raises:
        AevlpError: as `run_study`; the same command continues.
    """
    folder = runs_root() / "suites" / plan.label
    folder.mkdir(parents=True, exist_ok=True)
    for line in plan.lines:
        name = f"{plan.label}-{_slug(line.title)}"[:60]
        file = folder / f"{_slug(line.title)}.yaml"
        _write(file, line, trials)
        run_study(str(file), name=name, trials=trials, workers=workers, gpus=gpus)
        study = load_existing(name, None, print)
        words = choose(study, None).user_attrs[WORDS]
        line.tuned = [make_job(line, seed, plan.label, words) for seed in range(seeds)]


def _write(file: Path, line: Line, trials: int) -> None:
    rate = line.jobs[0].config.trainer.learning_rate
    space: dict[str, Any] = {
        LEARNING_RATE: {"float": [rate / RATE_FACTOR, rate * RATE_FACTOR], "log": True},
        **{
            path: parameter.model_dump(by_alias=True, exclude_defaults=True, mode="json")
            for path, parameter in line.row.tune.items()
        },
    }
    content = {
        "base": line.experiment, "set": [*line.words, "seed=0"], "trials": trials, "space": space,
        "sampler": {"name": "tpe", "startup": max(1, trials // 3)},
    }  # fmt: skip
    text = f"# {line.title}, tuned by its suite.\n{write_yaml(content)}"
    RunFolder(file.parent).write(file.name, text.encode())


def _slug(title: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "_", title.replace("+", "_and_")).strip("_").lower()
