"""Flags for a file of labels, shared by the verbs that write one."""

from __future__ import annotations

import argparse
from pathlib import Path

from aevlp.inference.label_formats import FORMATS, STDOUT, format_of
from aevlp.output import require_place


def add_labels_file(parser: argparse.ArgumentParser) -> None:
    """-o and --format."""
    parser.add_argument("-o", "--output", required=True, metavar="FILE",
                        help="labels.csv, .jsonl, .parquet or .json; - is standard output")  # fmt: skip
    parser.add_argument("--format", choices=tuple(FORMATS), help="what FILE is to be (default: as its name tells)")


def given_labels_file(arguments: argparse.Namespace) -> tuple[Path | None, str]:
    """The file, None for standard output, and the name of its format; ConfigError where it cannot be written."""
    if arguments.output == STDOUT:
        return None, format_of(arguments.output, arguments.format)
    require_place(Path(arguments.output))
    return Path(arguments.output), format_of(arguments.output, arguments.format)
