"""`show`: a resolved experiment, or what differs between two."""

from __future__ import annotations

import argparse
import json
from typing import Any

from aevlp.config.errors import ConfigError
from aevlp.layout import NONE, Sheet
from aevlp.terminal import Terminal
from aevlp.verbs._flags import add_experiment, load_parts, overrides

HELP = "a resolved experiment, and where each value came from"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags."""
    add_experiment(parser)
    parser.add_argument("--diff", nargs="+", metavar="OTHER", help="only what differs from another experiment (or between two)")


def run(arguments: argparse.Namespace) -> None:
    """Print a line a value."""
    from aevlp.config.describe import flatten
    from aevlp.config.loading import resolve

    names = ([arguments.exp] if arguments.exp else []) + (arguments.diff or [])
    if len(names) != (2 if arguments.diff else 1):
        raise ConfigError("show takes --exp NAME, --exp NAME --diff OTHER, or --diff NAME OTHER")
    changes = overrides(arguments)
    for name in names:
        load_parts(name)
    first = resolve(names[0], changes)
    console = Terminal()
    values = flatten(first.config.to_dict())
    if arguments.diff:
        second = flatten(resolve(names[1]).config.to_dict())
        paths = [path for path in {**values, **second} if path != "name" and values.get(path) != second.get(path)]
        rows = [[path, _text(values, path), _text(second, path)] for path in paths]
        if not rows:
            console.say("no differences")
            return
        header = ["", " ".join([names[0], *changes]), names[1]]
    else:
        rows = [[path, _text(values, path), first.origins.get(path, "default")] for path in values]
        header = [""] * 3
    console.table(Sheet("", header, rows, numeric=False, wraps={2: " "}))


def _text(values: dict[str, Any], path: str) -> str:
    return json.dumps(values[path], ensure_ascii=False) if path in values else NONE
