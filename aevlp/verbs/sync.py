"""`sync`: runs that were tracked offline go to W&B."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "upload runs that W&B tracked offline, each as one run however often it was resumed"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags."""
    parser.add_argument(
        "runs", nargs="+", metavar="RUN", help="run folder, id, or `latest`; a study, with its trials; or a suite's folder"
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what would be uploaded")


def run(arguments: argparse.Namespace) -> None:
    """Hand each run to `wandb sync`."""
    from aevlp.runs.folder import find_run, find_study
    from aevlp.tracking.wandb_commands import is_tracked, sync, with_trials

    folders = []
    for name in arguments.runs:
        study = find_study(name)
        if study is not None:
            folders += with_trials(study)
        else:  # a suite's folder has no config.yaml
            folders.append(Path(name) if is_tracked(Path(name)) else find_run(name))
    sync(folders, arguments.dry_run)
