"""What a study came to: a table, importances, a CSV file of all trials."""

from __future__ import annotations

import csv
import io
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from aevlp import files
from aevlp.config.errors import AevlpError
from aevlp.layout import NONE, Sheet
from aevlp.reporting.studies import CONFIRMED, NULL
from aevlp.sweeps import verdict
from aevlp.sweeps.confirmation import find
from aevlp.sweeps.ledger import IMPORTED_FROM, REASON, RETRY_OF, RUNS, SURPLUS, WORDS, ended_for_good
from aevlp.sweeps.plan import JUDGED_LOW
from aevlp.sweeps.study import IS_LOW, MARK, STEPS
from aevlp.terminal import Terminal
from aevlp.text import counted

STATES = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed",
          TrialState.RUNNING: "running", TrialState.WAITING: "waiting"}  # fmt: skip


def rows(study: optuna.Study) -> tuple[list[str], list[list[Any]]]:
    """Columns and one row a trial, in the order of their numbers; None where a trial has no such value.

    A trial that was asked for once too often never ran, and has no row.
    """
    metrics: list[str] = study.user_attrs[MARK]["metrics"]
    trials = [trial for trial in study.get_trials(deepcopy=False) if SURPLUS not in trial.user_attrs]
    retried = {trial.user_attrs.get(RETRY_OF): trial.number for trial in trials}
    names = list(dict.fromkeys(name for trial in trials for name in trial.params))
    columns = ["trial", "state", *metrics, "std", "epoch", "seconds", *names, "reason", "retried_as", "imported_from", "runs"]
    table = []
    for trial in trials:
        values = trial.values if trial.state == TrialState.COMPLETE else [_last(trial)] + [None] * (len(metrics) - 1)
        spread = trial.user_attrs.get("std")
        table.append([
            trial.number, STATES[trial.state], *(values or [None] * len(metrics)), spread[0] if spread else None,
            _last_epoch(study, trial), None if trial.duration is None else round(trial.duration.total_seconds(), 1),
            *(trial.params.get(name) for name in names), trial.user_attrs.get(REASON), retried.get(trial.number),
            trial.user_attrs.get(IMPORTED_FROM), " ".join(trial.user_attrs.get(RUNS, [])),
        ])  # fmt: skip
    return columns, table


def _last_epoch(study: optuna.Study, trial: FrozenTrial) -> int | None:
    """The last that was reported, counted from 1 in each run; with several seeds a trial's steps go on from run to run."""
    steps, last = study.user_attrs[MARK].get(STEPS), trial.last_step
    is_known = isinstance(steps, int) and steps > 0  # not of an older version's study
    return (last - 1) % steps + 1 if is_known and last is not None else last


def _last(trial: FrozenTrial) -> float | None:
    return trial.intermediate_values[trial.last_step] if trial.last_step is not None else None


def write_csv(study: optuna.Study, folder: Path) -> None:
    """trials.csv in the study's folder; and confirmed.csv, where some have run on fresh seeds."""
    texts = {"trials.csv": as_csv(study)}
    confirmation = find(study)
    if confirmation is not None:
        texts["confirmed.csv"] = _csv([CONFIRMED, *verdict.rows(confirmation)])
    for name, text in texts.items():
        try:
            files.write(folder / name, text.encode())
        except OSError as error:
            raise AevlpError(f"{folder / name}: cannot be written: {error.strerror}") from error


def as_csv(study: optuna.Study) -> str:
    """All trials; `null` is a choice, and an empty cell a parameter that a trial does not have."""
    columns, table = rows(study)
    trials = study.get_trials(deepcopy=False)
    for row in table:
        params = trials[row[0]].params
        row[:] = [NULL if name in params and params[name] is None else cell for name, cell in zip(columns, row, strict=True)]
    return _csv([columns, *table])


def _csv(table: Iterable[Iterable[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(table)
    return text.getvalue()


def best_trials(study: optuna.Study) -> list[FrozenTrial]:
    """The best trial, on fresh seeds once these have told it, or the Pareto front of several objectives.

    Empty before the first is complete.
    """
    confirmation = find(study)
    first = None if confirmation is None else confirmation.look().first
    return best_of_search(study) if first is None else [study.get_trials(deepcopy=False)[first.trial]]


def best_of_search(study: optuna.Study) -> list[FrozenTrial]:
    """The same by the trials' own figures alone."""
    if not study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        return []
    return study.best_trials if len(study.directions) > 1 else [study.best_trial]


def describe_best(study: optuna.Study, trial: FrozenTrial | None = None) -> str:
    """One line for the best trial (or one a point of the Pareto front), or for the given one; and how sure that is."""
    trials, confirmation = best_trials(study) if trial is None else [trial], find(study)
    lines = []
    for one in trials:
        words = " ".join(one.user_attrs.get(WORDS, []))
        lines.append(f"{'best' if trial is None else 'chosen'}   trial {one.number}: {describe_values(study, one)}: {words}")
    if confirmation is not None and trials and trial is None:
        lines.append(f"         {verdict.describe_others(confirmation)}")
    return "\n".join(lines) or "no trial is complete yet"


def describe_values(study: optuna.Study, trial: FrozenTrial) -> str:
    """Figures of a trial, on fresh seeds where it has run on some."""
    metrics: list[str] = study.user_attrs[MARK]["metrics"]
    confirmation = find(study)
    fresh = "" if confirmation is None else verdict.describe(confirmation, trial)
    if fresh:
        return f"{metrics[0]} {fresh}"
    return ", ".join(f"{metric} {value:.2f}" for metric, value in zip(metrics, trial.values, strict=True))


def importances(study: optuna.Study, objective: int = 0) -> dict[str, float]:
    """Share of each parameter in how good an objective becomes (PED-ANOVA); empty with too few trials."""
    # Given a target, PED-ANOVA looks for what makes it small.
    sign = -1 if study.directions[objective] == optuna.study.StudyDirection.MAXIMIZE else 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return optuna.importance.get_param_importances(
                study,
                evaluator=optuna.importance.PedAnovaImportanceEvaluator(),
                target=lambda trial: sign * trial.values[objective],
            )
        except (ValueError, RuntimeError):  # fewer than two trials, or all alike
            return {}


def _ranking(study: optuna.Study, trials: list[FrozenTrial], metrics: list[str], first: list[str]) -> tuple[Sheet, list[str]]:
    """A row a trial with the settings that differ, those named `first` in front; and the others, as words."""
    names = list(dict.fromkeys([*first, *(name for trial in trials for name in trial.params)]))
    values = {name: [_setting(trial, name) for trial in trials] for name in names}
    varying = [name for name in names if len(set(values[name])) > 1 or len(trials) == 1]
    fixed = [f"{_path(name)}={values[name][0]}" for name in names if values[name] and name not in varying]
    front = {trial.number for trial in best_trials(study)}
    rows = [
        [f"{trial.number}{' *' * (trial.number in front)}", *(f"{value:.2f}" for value in trial.values),
         *(values[name][i] for name in varying)]
        for i, trial in enumerate(trials)
    ]  # fmt: skip
    titles = _short([_path(name) for name in varying])
    lists = {1 + len(metrics) + i: ", " for i, name in enumerate(varying) if any(value[:1] == "[" for value in values[name])}
    return Sheet("", ["trial", *metrics, *titles], rows, wraps=lists), fixed


def _path(name: str) -> str:
    """Of a parameter by its name in Optuna, which for a share has that of the whole as well."""
    return name.partition(" / ")[0]


def _setting(trial: FrozenTrial, name: str) -> str:
    """What a trial had there, or the name of its case."""
    if name not in trial.params:
        return NONE
    words = dict(word.split("=", 1) for word in trial.user_attrs.get(WORDS, []))
    return words.get(_path(name), str(trial.params[name]))


def _short(paths: list[str]) -> list[str]:
    """The last parts of dotted paths, as many as tell each from the others."""

    def tail(path: str, parts: int) -> str:
        return ".".join(path.split(".")[-parts:])

    found = []
    for path in paths:
        parts = 1
        while parts < path.count(".") + 1 and sum(tail(other, parts) == tail(path, parts) for other in paths) > 1:
            parts += 1
        found.append(tail(path, parts))
    return found


def show(study: optuna.Study, console: Terminal | None = None, limit: int = 20) -> None:
    """Print states, the best trials and the importances."""
    console = console or Terminal()
    metrics: list[str] = study.user_attrs[MARK]["metrics"]
    trials = study.get_trials(deepcopy=False)
    ended = ended_for_good(trials)
    counts = [
        f"{sum(t.state == state for t in ended)} {STATES[state]}"
        for state in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
    ]
    running = sum(trial.state == TrialState.RUNNING for trial in trials)
    console.tell(f"study {study.study_name}: {counted(len(ended), 'trial')} ({', '.join(counts)}), {running} running")
    if study.user_attrs[MARK].get(IS_LOW):
        console.tell(JUDGED_LOW, style="yellow", indent=2)
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    sign = -1 if study.directions[0] == optuna.study.StudyDirection.MAXIMIZE else 1
    best = sorted(complete, key=lambda trial: (sign * trial.values[0], trial.number))[:limit]
    shares = {metric: importances(study, i) for i, metric in enumerate(metrics)}
    table, fixed = _ranking(study, best, metrics, list(shares[metrics[0]]))
    console.table(table)
    if fixed:
        console.tell(f"the same in all of these: {' '.join(fixed)}", style="dim", indent=2)
    for metric, found in shares.items():
        if found:
            told = [[name, f"{100 * share:.1f} %"] for name, share in found.items()]
            title = f"what {metric} hangs on: share of each setting (PED-ANOVA, {len(complete)} trials)"
            console.table(Sheet(title, ["setting", "share"], told))
    confirmation = find(study)
    if confirmation is not None and verdict.rows(confirmation):
        console.table(verdict.sheet(confirmation, metrics[0]))
        for line in filter(None, (verdict.describe_noise(confirmation), verdict.describe_others(confirmation))):
            console.tell(line, indent=9)
    failed = [trial for trial in ended if trial.state == TrialState.FAIL]
    for trial in failed[:5]:
        console.tell(f"failed: trial {trial.number}: {trial.user_attrs.get(REASON, '')}")
