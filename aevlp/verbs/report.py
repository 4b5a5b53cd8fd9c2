"""`report`: runs as one HTML page that needs no network."""

from __future__ import annotations

import argparse
from pathlib import Path

from aevlp.config.errors import ConfigError
from aevlp.text import say
from aevlp.verbs._flags import add_baseline

HELP = "one HTML page of runs: ranking, curves, classes, thresholds, images; opens without a network"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags."""
    parser.add_argument("runs", nargs="*", metavar="RUN", help="run folders or ids, or folders of runs; all if none is named")
    parser.add_argument("-o", "--output", metavar="FILE", help="the page (default: report.html)")
    parser.add_argument("--bundle", metavar="FILE", help="instead, one zip archive to send: settings and figures, no photos")
    add_baseline(parser)


def run(arguments: argparse.Namespace) -> None:
    """Write the page, or the archive."""
    from aevlp.folders import runs_root

    paths = [Path(run) for run in arguments.runs] or [runs_root()]
    if arguments.bundle is not None:
        if arguments.output is not None or arguments.baseline is not None:
            raise ConfigError("--bundle: is written instead of the page; leave out -o and --baseline")
        from aevlp.reporting.bundle import write_bundle

        write_bundle(paths, Path(arguments.bundle))
        return
    from aevlp.reporting.page import write_report

    output = arguments.output or "report.html"
    size = write_report(paths, Path(output), arguments.baseline)
    say(f"report  {output}  {size / 1e6:.1f} MB")
