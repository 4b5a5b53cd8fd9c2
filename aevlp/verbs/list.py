"""`list`: experiments, suites, studies and components by name."""

from __future__ import annotations

import argparse

from aevlp.command import COMMAND
from aevlp.config import registry
from aevlp.layout import Sheet
from aevlp.terminal import Terminal

HELP = "what there is to run"
LISTS = ("experiments", "suites", "sweeps", *registry.KINDS)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags."""
    parser.add_argument("kind", nargs="?", choices=LISTS, help="only this kind")


def run(arguments: argparse.Namespace) -> None:
    """Print name and one line of each; experiments by dataset, with the command that prepares it."""
    from aevlp.config.describe import describe, describe_groups

    console = Terminal()
    for number, kind in enumerate([arguments.kind] if arguments.kind else LISTS):
        if number:
            console.say("")
        console.say(kind, style="bold")
        if kind != "experiments":
            _print(console, describe(kind), indent=2)
            continue
        console.tell(f"  train one: {COMMAND} --exp NAME", style="dim", indent=2)
        for group in describe_groups():
            console.say("")
            console.tell(f"  {group.title}", style="bold", indent=2)
            for line in group.preparation:
                console.tell(f"  {line}", style="dim", indent=2)
            _print(console, group.experiments, indent=4)


def _print(console: Terminal, rows: list[tuple[str, str]], indent: int) -> None:
    console.table(Sheet("", ["", ""], [list(row) for row in rows], numeric=False, wraps={1: " "}, indent=indent))
