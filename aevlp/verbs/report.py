"""`report`: runs as one HTML page that needs no network."""

from __future__ import annotations

import argparse
from pathlib import Path

from aevlp.text import say

HELP = "one HTML page of runs: ranking, curves, classes, thresholds, images; opens without a network"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags."""
    parser.add_argument("runs", nargs="*", metavar="RUN", help="run folders or ids, or folders of runs; all if none is named")
    parser.add_argument("-o", "--output", default="report.html", metavar="FILE", help="the page (default: report.html)")
    parser.add_argument("--baseline", metavar="EXPERIMENT", help="what differences are taken against; else the one with loss an")


def run(arguments: argparse.Namespace) -> None:
    """Write the page."""
    from aevlp.folders import runs_root
    from aevlp.reporting.page import write_report

    paths = [Path(run) for run in arguments.runs] or [runs_root()]
    size = write_report(paths, Path(arguments.output), arguments.baseline)
    say(f"report  {arguments.output}  {size / 1e6:.1f} MB")
