"""`list`: experiments, suites, studies and components by name."""

from __future__ import annotations

import argparse

from aevlp.config import registry
from aevlp.text import say

HELP = "what there is to run"
LISTS = ("experiments", "suites", "sweeps", *registry.KINDS)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags."""
    parser.add_argument("kind", nargs="?", choices=LISTS, help="only this kind")


def run(arguments: argparse.Namespace) -> None:
    """Print name and one line of each."""
    from aevlp.config.describe import describe

    for kind in [arguments.kind] if arguments.kind else LISTS:
        say(kind)
        rows = describe(kind)
        width = max((len(name) for name, _ in rows), default=0)
        for name, text in rows:
            say(f"  {name:<{width}}  {text}")
