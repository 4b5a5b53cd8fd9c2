"""`sweep run --dry-run`: the trials a study still lacks, and what they will take."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import optuna

from aevlp.config.errors import ConfigError, TrainingError
from aevlp.machine import Machine
from aevlp.sweeps.confirmation import find, num_runs, num_taken_over
from aevlp.sweeps.ledger import ended_for_good
from aevlp.sweeps.plan import Plan
from aevlp.sweeps.space import Parameter
from aevlp.sweeps.storage import storage_errors
from aevlp.sweeps.study import find_study, num_wanted, study_folder
from aevlp.terminal import Terminal
from aevlp.text import duration
from aevlp.training.dry_run import Rehearsal
from aevlp.training.estimate import Estimate, costs_alike

FEW = 10


def dry_run(plan: Plan, name: str, storage: str | None, trials: int | None, machine: Machine, console: Terminal) -> None:
    """Print trials, time and memory; `trials` are those wanted in all, None for the whole of a grid.

    Raises:
        AevlpError: as of `open_study`, for a study that is there; the data are absent or wrong.
        TrainingError: the base, or an end of the space, cannot run; each is told with the reason.
    """
    plan.data  # noqa: B018  absent data are told first
    with storage_errors(storage or study_folder(name)):
        study = find_study(plan, name, storage, console.say)
        trials = num_wanted(plan, study, trials, console.say)
        done = 0 if study is None else len(ended_for_good(study.get_trials(deepcopy=False)))
        taken_over = 0 if study is None else num_taken_over(study)
        fresh = _fresh_runs(plan, study, trials, done, taken_over)
    left = max(0, trials - done)
    seeds = plan.study.seeds
    console.tell(f"study {name}, dry run: nothing is trained")
    each = f", {seeds} runs each" if seeds > 1 else ""
    if plan.study.sampler.name != "grid":
        plan.starts(console.say)
    _tell(console, "trials", f"{trials}: {done} done, {left} left{each}; counted as the base, and none as pruned")
    if fresh:
        confirm = plan.study.confirmation
        assert confirm is not None
        _tell(console, "confirm", f"at most {fresh} runs on fresh seeds, {confirm.seeds} of the base and of each of the "
              f"{min(confirm.best, trials + taken_over - 1)} best others; fewer where some cannot win any more")  # fmt: skip
    if not left + fresh:
        return
    estimate = Estimate(machine, lambda text: console.say(text, style="dim"))
    estimate.add("the base", plan.base, left * seeds + fresh)
    base = estimate.rehearsal("the base", plan.base)
    if base is not None:
        _tell(console, "a run", f"about {duration(base.training_seconds(plan.base.trainer))} with the values of the base")
        for parameter in plan.space.parameters:
            _look_along(parameter, plan, base, estimate, console)
    for title, text in estimate.lines():
        _tell(console, title, text)
    for line in estimate.failure_lines():
        console.tell(line, style="red", indent=2)
    if estimate.failures:
        raise TrainingError("a trial of this study could not run; mend that before it begins")


def _fresh_runs(plan: Plan, study: optuna.Study | None, trials: int, done: int, taken_over: int) -> int:
    """Runs of the confirmation that are left, where none is dropped."""
    confirm = plan.study.confirmation
    if confirm is None:
        return 0
    found = None if study is None else find(study)
    most = num_runs(confirm, max(trials, done) + taken_over)
    return most if found is None else replace(found, config=confirm, base=plan.base_codes).most_left(trials, done)


def _look_along(parameter: Parameter, plan: Plan, base: Rehearsal, estimate: Estimate, console: Terminal) -> None:
    """Count the views that the values of a parameter need, and tell where a run takes longer for them."""
    if parameter.config.fraction_of is not None or parameter.config.when:
        return  # a share, or what hangs on another, changes the loss and not the cost
    seconds = [base.training_seconds(plan.base.trainer)]
    for code in _values(parameter):
        try:
            config = plan.resolve(parameter.words(parameter.value(code)))
        except ConfigError:  # beside other values it may be right
            continue
        estimate.add_views(config, base)
        if not costs_alike(config, plan.base) and code in parameter.ends:
            found = estimate.rehearsal(f"{parameter.path}={code}", config)
            seconds += [] if found is None else [found.training_seconds(config.trainer)]
    if len(seconds) > 1:
        _tell(console, "", f"{duration(min(seconds))} to {duration(max(seconds))} by {parameter.path}")


def _values(parameter: Parameter) -> list[Any]:
    """All values where they are whole numbers and few, else the ends of the range, or all choices."""
    if parameter.config.int_ is not None and parameter.config.int_[1] - parameter.config.int_[0] < FEW:
        return list(range(parameter.config.int_[0], parameter.config.int_[1] + 1, int(parameter.config.step or 1)))
    return parameter.ends


def _tell(console: Terminal, title: str, text: str) -> None:
    console.tell(f"{title:<9} {text}", indent=10)
