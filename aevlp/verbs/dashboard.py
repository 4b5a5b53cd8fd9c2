"""`dashboard`: the W&B workspaces of a project."""

from __future__ import annotations

import argparse
import json

from aevlp.text import say, write_out

HELP = "build the project's workspaces in W&B: overview, pseudo-labels, classes, efficiency; and one for sweeps"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags."""
    parser.add_argument("--entity", metavar="E", help="user or team (default: the login's)")
    parser.add_argument("--project", default="aevlp", metavar="P", help="project (default: aevlp)")
    parser.add_argument("--dry-run", action="store_true", help="only print the specification")


def run(arguments: argparse.Namespace) -> None:
    """Print or save it."""
    from aevlp.reporting.dashboard import save, specification

    spec = specification(arguments.entity, arguments.project)
    if arguments.dry_run:
        write_out(json.dumps(spec, indent=1) + "\n")
        return
    for address in save(spec):
        say(f"workspace  {address}")
