"""`sync`: runs that were tracked offline go to W&B."""

from __future__ import annotations

import argparse

HELP = "upload runs that W&B tracked offline, each as one run however often it was resumed"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags."""
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run folder, id, or `latest`; or a study, with its trials")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be uploaded")


def run(arguments: argparse.Namespace) -> None:
    """Hand each run to `wandb sync`."""
    from aevlp.runs.folder import find_run, find_study
    from aevlp.tracking.wandb_commands import sync, with_trials

    folders = []
    for name in arguments.runs:
        study = find_study(name)
        folders += [find_run(name)] if study is None else with_trials(study)
    for folder in folders:
        sync(folder, arguments.dry_run)
