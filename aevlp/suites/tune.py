"""`--tune N`: the same number of validation trials for every row, each a study of its own."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aevlp.config.describe import lookup
from aevlp.config.errors import AevlpError, ConfigError, TrainingError, in_one_line
from aevlp.config.loading import read_mapping
from aevlp.config.yaml_reading import write_yaml
from aevlp.folders import runs_root
from aevlp.machine import Machine
from aevlp.runs.folder import RunFolder
from aevlp.suites.plan import Line, Plan, make_job
from aevlp.suites.suite_file import TuneConfig
from aevlp.sweeps.best import choose
from aevlp.sweeps.confirmation import is_at_end
from aevlp.sweeps.ledger import WORDS
from aevlp.sweeps.plan import Plan as StudyPlan
from aevlp.sweeps.run import run_study
from aevlp.sweeps.study import load_existing, study_folder
from aevlp.sweeps.study_file import ConfirmConfig, ParameterConfig
from aevlp.terminal import Terminal
from aevlp.training.signals import RunStopped

LEARNING_RATE = "trainer.learning_rate"
RATE = TuneConfig(times=(0.25, 4.0), log=True)


@dataclass(frozen=True)
class Tuning:
    """The study of a row."""

    line: Line
    name: str
    file: Path
    trials: int


def prepare(plan: Plan, trials: int) -> list[Tuning]:
    """Write and check the study of every row, named by its settings and what is tuned: another suite has another study.

    Data are no part of the name, so that it is known without them; the study itself goes on only on those it was begun on.

    Raises:
        ConfigError: a row names a setting to tune that it does not have, or a range that is not allowed.
    """
    folder = RunFolder(runs_root() / "suites" / plan.label)
    studies = []
    for line in plan.lines:
        space = _space(line)
        study = _study(line, trials, space)
        _check(line, study)
        name = _name(plan, line, trials, space)
        studies.append((Tuning(line, name, folder.path / f"{name}.yaml", trials), study))
    folder.path.mkdir(parents=True, exist_ok=True)
    for one, study in studies:
        folder.write(one.file.name, study.encode())
    return [one for one, _ in studies]


def _name(plan: Plan, line: Line, trials: int, space: dict[str, Any]) -> str:
    slug = re.sub(r"[^A-Za-z0-9]+", "_", line.title).strip("_").lower()[:24]
    row, job = f"{re.sub(r'[^A-Za-z0-9_-]', '_', plan.label)[:20]}-{slug}", line.jobs[0]
    with contextlib.suppress(ConfigError):  # there is none, most of the time
        older = f"{row}-{job.key[:6]}-{trials}"  # as studies were called before the space was part of it
        if read_mapping(study_folder(older) / "study.yaml")[0].get("space") == space:
            return older
    tuned = hashlib.sha256(f"{job.config.hash}{json.dumps(space, sort_keys=True)}".encode()).hexdigest()
    return f"{row}-{tuned[:6]}-{trials}"


def _check(line: Line, study: str) -> None:
    with tempfile.TemporaryDirectory() as aside:
        file = Path(aside) / "study.yaml"
        file.write_text(study, encoding="utf-8")
        try:
            StudyPlan.load(str(file))
        except ConfigError as error:
            raise ConfigError(f"--tune: row {line.title!r}: {str(error).replace(f'{file}:', 'line ')}") from error


def tune(plan: Plan, tunings: list[Tuning], seeds: int, *, machine: Machine, console: Terminal, run: bool = True) -> None:
    """Run or continue every study, and give its row a tuned job for each seed, or the reason why there is none.

    A trial runs seed 0 and is judged by best/val_mAP; the row as it stands is the first of them. The best are trained again on
    fresh seeds, which are none of the row's.

    Raises:
        RunStopped: after a signal; the same command continues.
    """

    def say(text: str) -> None:
        console.say(text)

    for one in tunings:
        try:
            if run:
                run_study(str(one.file), name=one.name, trials=one.trials, machine=machine, console=console)
            elif not study_folder(one.name).is_dir():
                raise TrainingError("its study has not been begun yet")
            study = load_existing(one.name, None, say)
            if not is_at_end(study, one.trials):
                raise TrainingError("its study is not at its end")
            words = choose(study, None).user_attrs[WORDS]
            one.line.tuned = [make_job(one.line, seed, plan.label, words) for seed in range(seeds)]
            if one.line.jobs[0].data is not None:
                plan.look_at_data(one.line.tuned)
        except RunStopped:
            raise
        except AevlpError as error:
            why = in_one_line(error)
            if "--name" in why:  # the study's way out, which is a flag of `sweep run`
                why += f"; a suite has no --name: move {study_folder(one.name)} away"
            one.line.tuning_failure = why
            say(f"{one.line.title}: not tuned: {one.line.tuning_failure}")


def confirmed_by(trials: int) -> ConfirmConfig:
    """How the best of so many trials are confirmed, for every row alike: a third of them.

    At 6 trials: 3 seeds of the row as it stands and of 2 others, 9 runs.
    """
    return ConfirmConfig(best=min(5, max(1, trials // 3)))


def _space(line: Line) -> dict[str, Any]:
    return {
        path: _in_numbers(line, path, parameter).model_dump(by_alias=True, exclude_defaults=True, mode="json")
        for path, parameter in {LEARNING_RATE: RATE, **line.row.tune}.items()
    }


def _study(line: Line, trials: int, space: dict[str, Any]) -> str:
    content = {
        "base": line.experiment, "set": [*line.words, "seed=0"], "trials": trials, "space": space,
        "confirm": confirmed_by(trials).model_dump(),
        "sampler": {"name": "tpe", "startup": max(1, trials // 3)},
    }  # fmt: skip
    return f"# {line.title}, tuned by its suite.\n{write_yaml(content)}"


def _in_numbers(line: Line, path: str, parameter: TuneConfig) -> ParameterConfig:
    if parameter.times is None:
        return parameter
    try:
        return parameter.around(lookup(line.jobs[0].config.to_dict(), path))
    except KeyError as error:
        raise ConfigError(f"--tune: row {line.title!r}: {path}: the row has no such setting") from error
    except ValueError as error:
        raise ConfigError(f"--tune: row {line.title!r}: {path}: {error}") from error
