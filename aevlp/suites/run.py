"""`suite`: from its flags to the table."""

from __future__ import annotations

import sys
from typing import Any

from rich.console import Console

from aevlp.config.errors import ConfigError, TrainingError
from aevlp.machine import Machine
from aevlp.reporting.sheets import as_json, console_for_tables, latex, markdown, print_sheet
from aevlp.suites.plan import Job, find_runs, load_plan
from aevlp.suites.runner import run_jobs
from aevlp.suites.table import as_csv, measure, notes, sheet
from aevlp.suites.tune import tune
from aevlp.suites.wandb_summary import log_suite


def run_suite(
    name: str, dataset: str, *, seeds: int = 3, rows: list[str] | None = None, workers: int = 1, gpus: str | None = None,
    own_stop_rules: bool = False, trials: int | None = None, words: tuple[str, ...] = (), form: str | None = None,
    table_only: bool = False,
) -> None:  # fmt: skip
    """Run what is missing of a suite and print its table; arguments as the flags of `suite`.

    Raises:
        ConfigError: before anything is run.
        TrainingError: a run failed; the others were finished and the table printed all the same.
        RunStopped: after Ctrl-C or SIGTERM, once every run has saved its state; the same command continues.
    """
    plan = load_plan(name, dataset, seeds, rows=rows, own_stop_rules=own_stop_rules, words=words)
    console = console_for_tables(form)
    machine = Machine.of(workers, gpus)
    if table_only:
        find_runs(plan.jobs)
    else:
        console.print(
            f"suite {plan.name} on {dataset}: {len(plan.lines)} methods, {seeds} seeds; stopped, the same command continues",
            markup=False,
        )
        run_jobs(plan.jobs, machine, console)
        if trials is not None:
            tune(plan, trials, seeds, workers=workers, gpus=gpus)
            run_jobs([job for line in plan.lines for job in line.tuned], machine, console)
    if not any(job.run for job in plan.jobs):
        raise ConfigError("no run of this suite has finished") if table_only else TrainingError(_failures(plan.jobs))
    data = measure(plan)
    _print(data, form, console)
    if not table_only:
        log_suite(plan, data, lambda text: console.print(text, markup=False, soft_wrap=True))
    failed = [job for line in plan.lines for job in line.jobs + line.tuned if job.failure]
    if failed:
        raise TrainingError(_failures(failed) + "; the same command tries again")


def _print(data: dict[str, Any], form: str | None, console: Console) -> None:
    if form is None:
        print_sheet(console, sheet(data))
    else:
        write = {
            "json": as_json,
            "csv": as_csv,
            "markdown": lambda data: markdown(sheet(data)),
            "latex": lambda data: latex(sheet(data)),
        }
        sys.stdout.write(write[form](data))
    for note in notes(data):
        console.print(note, style="dim", markup=False, soft_wrap=True)


def _failures(jobs: list[Job]) -> str:
    names = ", ".join(f"{job.title} (seed {job.config.seed})" for job in jobs if job.failure)
    return f"{sum(job.failure is not None for job in jobs)} runs failed: {names}"
