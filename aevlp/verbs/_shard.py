"""The flag by which a job array divides a verb's work."""

from __future__ import annotations

import argparse

from aevlp.vision_language.shards import WHOLE, Shard


def add_shard(parser: argparse.ArgumentParser) -> None:
    """--shard."""
    parser.add_argument("--shard", default=str(WHOLE), metavar="i/n", help="only part i of n, counted from 0: for job arrays")


def given_shard(arguments: argparse.Namespace) -> Shard:
    """The part of the images that is asked for; ConfigError where there is none such."""
    return Shard.parse(arguments.shard)
