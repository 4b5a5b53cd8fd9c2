"""`sweep`: Optuna studies: run, look at, take the best from."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from aevlp.config.errors import ConfigError
from aevlp.masking import STORAGE_VARIABLE
from aevlp.text import say
from aevlp.verbs._flags import add_set, add_tracking, add_workers, overrides, require_positive

HELP = "search for better settings: run a study, look at it, save its best"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of each action."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    run_ = _action(actions, "run", "begin or continue a study", "name of a file in sweeps/, or a YAML file")
    run_.add_argument("--trials", type=int, metavar="N", help="trials in all, those already done included")
    run_.add_argument("--timeout", type=float, metavar="MINUTES", help="begin no trial after this time")
    add_workers(run_, "trials")
    run_.add_argument("--in-process", action="store_true", help="no process for each trial: for tiny ones")
    run_.add_argument("--name", metavar="STUDY", help="name of the study, if not that of its file")
    run_.add_argument("--new-study-from", metavar="STUDY", help="take over the trials of another study that fit this one")
    run_.add_argument("--keep-checkpoints", action="store_true", help="also those of trials that are not the best")
    run_.add_argument("--no-confirm", action="store_true", help="take the best of the search, without runs on fresh seeds")
    run_.add_argument("--dry-run", action="store_true", help="train nothing: trials that are left, their hours and memory")
    add_set(run_, "change the base experiment of all trials")
    add_tracking(run_)
    show = _action(actions, "show", "best trials, importances, plots")
    show.add_argument("--limit", type=int, default=20, metavar="N", help="trials in the table")
    show.add_argument("--html", type=Path, metavar="FILE", help="write all plots into one page")
    show.add_argument("--csv", type=Path, metavar="FILE", help="write all trials")
    best = _action(actions, "best", "the best trial, and its experiment file")
    best.add_argument("--trial", type=int, metavar="N", help="another than the best")
    best.add_argument("--save", type=Path, metavar="FILE.yaml", help="write it as an experiment")
    dashboard = _action(actions, "dashboard", "Optuna's dashboard on this machine")
    dashboard.add_argument("--port", type=int, default=8080, metavar="N", help="port on 127.0.0.1")


def _action(actions: Any, name: str, text: str, names: str = "a study that was run") -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(name, help=text, description=text, allow_abbrev=False)
    parser.add_argument("study", metavar="NAME", help=names)
    parser.add_argument(
        "--storage", metavar="URL", default=os.environ.get(STORAGE_VARIABLE) or None,
        help=f"Optuna storage that machines share: postgresql://..., grpc://HOST:PORT (or in ${STORAGE_VARIABLE})",
    )  # fmt: skip
    return parser


def run(arguments: argparse.Namespace) -> None:
    """One action."""
    from aevlp.sweeps.storage import storage_errors

    with storage_errors(arguments.storage or f"study {arguments.study}", files=False):
        {"run": _run, "show": _show, "best": _best, "dashboard": _dashboard}[arguments.action](arguments)


def _run(arguments: argparse.Namespace) -> None:
    require_positive(trials=arguments.trials, timeout=arguments.timeout, workers=arguments.workers)
    if arguments.in_process and arguments.workers > 1:
        raise ConfigError("--in-process runs one trial at a time; leave --workers out")
    if arguments.dry_run and arguments.new_study_from is not None:
        raise ConfigError("--dry-run does not count what --new-study-from takes over; leave one of them out")
    words = overrides(arguments)
    from aevlp.machine import Machine
    from aevlp.sweeps.run import run_study
    from aevlp.sweeps.study_file import load_study

    load_study(arguments.study)  # a wrong name is told before torch counts the GPUs

    run_study(
        arguments.study, name=arguments.name, storage=arguments.storage, trials=arguments.trials, timeout=arguments.timeout,
        machine=Machine.of(arguments.workers, arguments.gpus), in_process=arguments.in_process, new_from=arguments.new_study_from,
        words=words, keep_checkpoints=arguments.keep_checkpoints,
        rehearse=arguments.dry_run, confirm=not arguments.no_confirm,
    )  # fmt: skip


def _show(arguments: argparse.Namespace) -> None:
    from aevlp.sweeps.study import load_existing
    from aevlp.sweeps.summary import as_csv, show

    study = load_existing(arguments.study, arguments.storage, say)
    show(study, limit=arguments.limit)
    if arguments.csv is not None:
        from aevlp.output import marked, output_file, require_own

        require_own(arguments.csv, "table of trials", marked("trial,state,"), "--csv")
        with output_file(arguments.csv, "--csv") as aside:
            aside.write_text(as_csv(study), encoding="utf-8")
        say(f"trials  {arguments.csv}")
    if arguments.html is not None:
        from aevlp.sweeps.plots import write_page

        write_page(study, arguments.html)
        say(f"plots   {arguments.html}")


def _best(arguments: argparse.Namespace) -> None:
    from aevlp.sweeps.best import choose, save
    from aevlp.sweeps.study import load_existing
    from aevlp.sweeps.summary import describe_best

    study = load_existing(arguments.study, arguments.storage, say)
    if arguments.save is None and arguments.trial is None:
        say(*describe_best(study).split("\n"))
        return
    trial = choose(study, arguments.trial)
    if arguments.save is not None:
        save(study, trial, arguments.save)
        say(f"saved trial {trial.number} as {arguments.save}")
    else:
        say(*describe_best(study, trial).split("\n"))


def _dashboard(arguments: argparse.Namespace) -> None:
    from aevlp.sweeps.dashboard import serve

    serve(arguments.study, arguments.storage, arguments.port)
