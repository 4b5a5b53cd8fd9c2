"""`label`: the pseudo-labels of an experiment as a file."""

from __future__ import annotations

import argparse
from pathlib import Path

from aevlp.text import say
from aevlp.verbs._experiment import add_experiment, given_experiment

HELP = "pseudo-labels of the training images as a file, with score, sign and the tile that spoke"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags."""
    add_experiment(parser)
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="labels.csv or labels.parquet")


def run(arguments: argparse.Namespace) -> None:
    """Label, and say how many."""
    from aevlp.output import require_place

    require_place(Path(arguments.output))
    config = given_experiment(arguments, "whose images to label")
    from aevlp.inference.label import write_pseudo_labels

    labels, images, notes = write_pseudo_labels(config, Path(arguments.output))
    for note in notes:
        say(note, error=True)
    say(f"{labels} pseudo-labels of {images} training images: {arguments.output}")
