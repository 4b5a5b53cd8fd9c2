"""One trial: its configuration, its runs, what it reports, and how it ends."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import optuna
from optuna.trial import TrialState

from aevlp.config.errors import DataError
from aevlp.owner import SEEN_SECONDS, this_process
from aevlp.reading import number, read_json
from aevlp.runs.folder import RunFolder
from aevlp.sweeps.ledger import OWNER, RUNS, SEEN, WORDS
from aevlp.sweeps.plan import Plan
from aevlp.sweeps.space import Parameter
from aevlp.sweeps.study import steps_each
from aevlp.tracking import read_metrics


@dataclass(frozen=True)
class Outcome:
    """How a trial ended."""

    state: Literal["complete", "pruned", "failed", "crashed", "stopped", "lost"]
    """failed: it would fail again; crashed: it may be tried again; stopped: by the user; lost: another machine has it now."""
    values: tuple[float, ...] = ()
    reason: str = ""


class NotMeasuredError(Exception):
    """A run has no value for the objective."""


class Trial:
    """A trial that this process owns. `begin` opens the next run; `report` tells Optuna of an epoch."""

    def __init__(self, plan: Plan, trial: optuna.Trial, folder: Path, machine_words: tuple[str, ...]):
        self.plan, self.trial, self.folder, self.machine_words = plan, trial, folder, machine_words
        self.number = trial.number
        self.began = time.time()
        self.pruned = False
        self.latest: float | None = None
        self.epoch = 0
        self._done: list[list[float]] = []
        self._reported: set[int] = set()
        self._next_sign = 0.0
        self.sign()
        self.runs: list[str] = list(trial.user_attrs.get(RUNS, []))
        self.words = self._choose()
        trial.set_user_attr(WORDS, self.words)

    def _choose(self) -> list[str]:
        return self.plan.space.walk(self.plan.values, self._suggest)[1]

    @property
    def seeds(self) -> list[int]:
        """Of its runs, in their order."""
        return [self.plan.base.seed + index for index in range(self.plan.study.seeds)]

    @property
    def title(self) -> str:
        """What messages call it."""
        return f"trial {self.number}"

    @property
    def run_name(self) -> str:
        """First part of the names of its folders."""
        return f"{self.folder.name[:60]}.t{self.number:04d}"

    def _suggest(self, parameter: Parameter) -> Any:
        return self.trial._suggest(parameter.name, parameter.distribution)

    def sign(self) -> None:
        """Write down, now and then, that this process has the trial and lives."""
        if time.time() < self._next_sign:
            return
        if not self._next_sign:
            self.trial.set_user_attr(OWNER, this_process())
        self.trial.set_user_attr(SEEN, time.time())
        self._next_sign = time.time() + SEEN_SECONDS

    @property
    def seed_index(self) -> int:
        """Which of the runs is under way, from 0."""
        return len(self._done)

    @cached_property
    def steps_each(self) -> int:
        """Of each seed, asked of the storage once."""
        return steps_each(self.trial.study, self.plan)

    @cached_property
    def epochs(self) -> int:
        """Of each of its runs; the space may hold them."""
        return self.plan.resolve(self.words).trainer.epochs

    def begin(self) -> RunFolder | None:
        """Folder of the next run, made unless an earlier attempt has left it; None where all runs are finished.

        Raises:
            ConfigError: these values do not go together.
        """
        while self.seed_index < len(self.seeds):
            path = self._folder_of_run()
            if not _is_whole(read_summary(path), self.plan.metrics):
                return RunFolder(path)
            for row in self.epoch_rows(path):  # an earlier attempt reported them, not this one, by which later trials are judged
                self.report(row, may_prune=False)
            self.finish_run(path)
        return None

    def _folder_of_run(self) -> Path:
        root = self.folder / "trials"
        if self.seed_index < len(self.runs):
            path = root / self.runs[self.seed_index]
            if (path / "config.yaml").is_file():
                return path
        config = self.plan.resolve([
            *self.machine_words, *self.words, f"seed={self.seeds[self.seed_index]}", f"name={self.run_name}",
            f"tracking.group={json.dumps(self.folder.name)}", "tracking.job_type=sweep-trial",
        ])  # fmt: skip
        folder = RunFolder.create(config, root=root)
        if self.plan.data is not None and config.dataset == self.plan.base.dataset:
            folder.write_fingerprint(self.plan.data)  # data that change while the study runs are noticed by the run
        path = folder.path
        self.runs = [*self.runs[: self.seed_index], path.name]
        self.trial.set_user_attr(RUNS, self.runs)
        return path

    def moved(self, folder: RunFolder) -> dict[str, str | None]:
        """Where the data of a run of this trial lie by now, where that is elsewhere than when it began."""
        return folder.moved(self.plan.resolve(self.words))

    def epoch_rows(self, path: Path) -> list[dict[str, Any]]:
        """Rows of a run that close an epoch, to be reported; not what is damaged, as the run's figure lies in its summary."""
        try:
            rows = [row for row in read_metrics(path / "metrics.jsonl") if "train/loss" in row]
        except (FileNotFoundError, ValueError):
            return []
        metric = self.plan.metrics[0]
        whole = (row for row in rows if row.get(metric) is None or number(row[metric]) is not None)
        return [row for row in whole if (number(row.get("trainer/epoch")) or 0) >= 1]

    def report(self, row: dict[str, Any], *, may_prune: bool = True) -> None:
        """Tell Optuna of an epoch's row; sets `pruned` where the trial is to be given up, unless its run is over already."""
        self.epoch = int(row["trainer/epoch"])
        value = row.get(self.plan.metrics[0])
        self.latest = value
        step = self.seed_index * self.steps_each + self.epoch  # the same seed and epoch in every trial
        if len(self.plan.metrics) > 1 or value is None or step in self._reported:
            return
        self._reported.add(step)
        # With several seeds, the mean of those that are over and the one under way.
        self.trial.report(float(np.mean([*(values[0] for values in self._done), value])), step)
        is_last = self.seed_index == len(self.seeds) - 1 and self.epoch >= self.epochs
        self.pruned = may_prune and not is_last and self.trial.should_prune()

    def finish_run(self, path: Path) -> dict[str, Any]:
        """Note the values of a finished run, whose summary is given; NotMeasuredError where it has none."""
        summary = read_summary(path)
        values: list[float] = []
        if not _is_whole(summary, self.plan.metrics):
            raise NotMeasuredError(f"{path / 'summary.json'}: cannot be read, or a word stands where a number belongs")
        for metric in self.plan.metrics:
            value = number(summary.get(metric))
            if value is None:
                raise NotMeasuredError(f"{path.name} has no value for {metric}; {_remedy(metric)}")
            values.append(value)
        self._done.append(values)
        return summary

    def result(self) -> Outcome:
        """The outcome once all runs are over: means over the seeds."""
        if len(self._done) > 1:
            self.trial.set_user_attr("std", [float(spread) for spread in np.std(self._done, axis=0, ddof=1)])
        return Outcome("complete", tuple(float(mean) for mean in np.mean(self._done, axis=0)))


def read_summary(path: Path) -> dict[str, Any]:
    """summary.json of a run; empty where there is none, or it cannot be read, as after a power cut."""
    try:
        found = read_json(path / "summary.json")
    except (FileNotFoundError, DataError):
        return {}
    return found if isinstance(found, dict) else {}


def _is_whole(summary: dict[str, Any], metrics: list[str]) -> bool:
    """Whether it tells of the metrics what a run writes: a number, or null. One that does not is written anew on resuming."""
    return bool(summary) and all(summary.get(name) is None or number(summary[name]) is not None for name in metrics)


def _remedy(metric: str) -> str:
    """What objective a run has where it lacks this one."""
    if metric == "best/val_mAP_observed":
        return "full labels choose its epoch: take objective best/val_mAP, or selection.labels=observed"
    return "it takes full labels, or a labeler; every run has best/val_mAP, by known labels where there are no others"


def remove_checkpoints(study: optuna.Study, folder: Path, keep: set[int]) -> None:
    """Of the trials that have ended, but for those to keep and those that may go on; they take most of a study's space."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED)):
        for run in trial.user_attrs.get(RUNS, []) if trial.number not in keep else []:
            shutil.rmtree(folder / "trials" / run / "checkpoints", ignore_errors=True)
