"""`schema`: the JSON schema of experiments."""

from __future__ import annotations

import argparse
import json

from aevlp.text import write_out

HELP = "JSON schema of experiments, for editors"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """No flags."""


def run(arguments: argparse.Namespace) -> None:
    """Print the schema."""
    from aevlp.config.describe import schema

    write_out(json.dumps(schema(), indent=1) + "\n")
