"""`eval`: what a trained model reaches on a split."""

from __future__ import annotations

import argparse
from pathlib import Path

from aevlp.config.errors import ConfigError
from aevlp.output import require_folder
from aevlp.text import say
from aevlp.verbs._flags import add_changed, changes

BATCHES = ("trainer.eval_batch_size",)
HELP = "mAP, and precision, recall and F1 at thresholds, of a run, an export or a published checkpoint"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags."""
    parser.add_argument("source", metavar="RUN|FILE", help="run folder, id or `latest`; exported folder; published checkpoint")
    parser.add_argument("--split", choices=("train", "val", "test"), help="images to score (default: test, or val without one)")
    parser.add_argument(
        "-o", "--output", metavar="FOLDER", help="also write <split>_per_class.csv, <split>_thresholds.csv and <split>_scores.npz"
    )
    add_changed(parser)


def run(arguments: argparse.Namespace) -> None:
    """Score, and print the tables."""
    from aevlp.inference.sources import find_trained
    from aevlp.runs.folder import RunFolder

    words, folder = changes(arguments), None if arguments.output is None else Path(arguments.output)
    source = str(find_trained(arguments.source, words, arguments.exp))
    if folder is not None:
        require_folder(folder)
        if RunFolder(folder).has_begun:
            raise ConfigError(f"-o {folder}: is a run, whose own scores would be written over; name another folder")
    from aevlp.inference.evaluate import evaluate
    from aevlp.inference.evaluation_tables import print_evaluation, write_evaluation
    from aevlp.inference.open import open_trained

    trained = open_trained(source, words, arguments.exp)
    found = evaluate(trained, arguments.split)
    print_evaluation(found, trained.source)
    if folder is not None:
        for path in write_evaluation(found, folder):
            say(f"written  {path}")
