"""`watch`: W&B's terminal viewer on a run."""

from __future__ import annotations

import argparse

HELP = "look at a run in W&B's terminal viewer, also while it trains"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags."""
    parser.add_argument("run_name", nargs="?", default="latest", metavar="RUN", help="run folder or id (default: the latest)")


def run(arguments: argparse.Namespace) -> int:
    """Open it; returns its exit code."""
    from aevlp.runs.folder import find_run
    from aevlp.tracking.wandb_commands import watch

    return watch(find_run(arguments.run_name))
