"""`suite`: from its flags to the table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aevlp.config.errors import AevlpError, ConfigError, TrainingError
from aevlp.machine import Machine
from aevlp.reporting.sheets import as_json, latex, markdown
from aevlp.runs import child
from aevlp.suites.find import find_runs
from aevlp.suites.measure import measure
from aevlp.suites.plan import Job, Plan, load_plan
from aevlp.suites.runner import run_jobs
from aevlp.suites.table import as_csv, notes, sheet
from aevlp.suites.tune import prepare, tune
from aevlp.suites.wandb_summary import log_suite
from aevlp.terminal import Terminal
from aevlp.text import counted, write_out


def run_suite(
    name: str, dataset: str, *, seeds: int, rows: list[str] | None, columns: list[str] | None, workers: int, gpus: str | None,
    own_stop_rules: bool, trials: int | None, words: Sequence[str], form: str | None, table_only: bool, rehearse: bool,
    card: str | None,
) -> None:  # fmt: skip
    """Run what is missing of a suite and print its table; arguments as the flags of `suite`.

    Raises:
        ConfigError: before anything is run.
        TrainingError: a run failed; the others were finished and the table printed all the same.
        RunStopped: after a signal, once every run has saved its state; the same command continues.
    """
    plan = load_plan(name, dataset, seeds, rows=rows, columns=columns, own_stop_rules=own_stop_rules, words=words)
    if trials is not None and any(line.column for line in plan.lines):
        raise ConfigError("--tune: the table of a suite with columns has no place for it; write a suite of one column's words")
    console = Terminal(stderr=form is not None)  # with a form, stdout is left to it
    machine = Machine.of(workers, gpus)
    try:
        plan.leave_out_what_data_lack()
    except AevlpError as error:
        if not table_only:
            raise
        console.tell(f"the data cannot be read here, so runs on any data are taken: {str(error).splitlines()[0]}", style="yellow")
    if rehearse:
        from aevlp.suites.dry_run import dry_run  # needs torch, which nothing else here does
        from aevlp.training.cards import card_named

        for note in plan.notes:
            console.tell(note, style="yellow", indent=2)
        dry_run(plan, machine, trials, console, None if card is None else card_named(card))
        return
    tunings = [] if trials is None else prepare(plan, trials)
    if table_only:
        _find(plan.jobs, console)
    else:
        console.tell(f"suite {plan.name} on {dataset}: {_size(plan)}, {counted(seeds, 'seed')}; "
                      "Ctrl-C stops it, the same command continues")  # fmt: skip
        for note in plan.notes:
            console.tell(note, style="yellow", indent=2)
        if not run_jobs(plan.jobs, machine, console):
            for one in tunings:  # whose trials would fail alike, too
                one.line.tuning_failure = child.GAVE_UP
            tunings = []
    tune(plan, tunings, seeds, machine=machine, console=console, run=not table_only)
    tuned = [job for line in plan.lines for job in line.tuned]
    if table_only:
        _find(tuned, console)
    elif tuned:
        run_jobs(tuned, machine, console)
    if not any(job.run for job in plan.jobs):
        raise ConfigError("no run of this suite has finished") if table_only else TrainingError(_failures(plan))
    data = measure(plan)
    _print(data, form, console)
    if not table_only:
        log_suite(plan, data, console.say)
    if _failed(plan) or any(line.tuning_failure for line in plan.lines):
        raise TrainingError(f"{_failures(plan)}; the same command {'without --table ' * table_only}tries again")


def _size(plan: Plan) -> str:
    columns = len({line.column for line in plan.lines})
    return counted(len(plan.lines) // columns, "method") + (f", {columns} columns" if columns > 1 else "")


def _find(jobs: list[Job], console: Terminal) -> None:
    for note in find_runs(jobs):
        console.tell(note, style="yellow", indent=2)


def _print(data: dict[str, Any], form: str | None, console: Terminal) -> None:
    if form is None:
        console.table(sheet(data))
    else:
        writes = {"json": as_json, "csv": as_csv}
        as_text = {"markdown": markdown, "latex": latex}
        write_out(writes[form](data) if form in writes else as_text[form](sheet(data)))
    for note in notes(data):
        console.tell(note, style="dim", indent=2)


def _failed(plan: Plan) -> list[Job]:
    return [job for line in plan.lines for job in line.jobs + line.tuned if job.failure]


def _failures(plan: Plan) -> str:
    names = [f"{job.title} (seed {job.config.seed})" for job in _failed(plan)]
    names += [f"{line.title} (tuning)" for line in plan.lines if line.tuning_failure]
    return f"{len(names)} failed: {', '.join(names)}"
