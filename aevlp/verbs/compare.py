"""`compare`: finished runs side by side."""

from __future__ import annotations

import argparse
from pathlib import Path

from aevlp.verbs._flags import add_baseline, add_forms

HELP = "finished runs side by side: means and 95 %% intervals over seeds, differences, classes, settings"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags."""
    parser.add_argument("runs", nargs="*", metavar="RUN", help="run folders or ids, or folders of runs; all if none is named")
    add_baseline(parser)
    add_forms(parser)


def run(arguments: argparse.Namespace) -> None:
    """Print the tables."""
    from aevlp.folders import runs_root
    from aevlp.reporting.compare import compare

    paths = [Path(run) for run in arguments.runs] or [runs_root()]
    compare(paths, form=arguments.form, baseline=arguments.baseline)
