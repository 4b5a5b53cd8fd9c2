"""`compare`: finished runs side by side."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "finished runs side by side, mean and 95 %% interval over seeds"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags."""
    parser.add_argument("runs", nargs="*", metavar="RUN", help="run folders or ids, or folders of runs; all if none is named")


def run(arguments: argparse.Namespace) -> None:
    """Print the table."""
    from aevlp.reporting.compare import compare
    from aevlp.training.run_folder import runs_root

    compare([Path(run) for run in arguments.runs] or [runs_root()])
