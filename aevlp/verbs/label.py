"""`label`: the pseudo-labels of an experiment as a file."""

from __future__ import annotations

import argparse

from aevlp.config.errors import ConfigError
from aevlp.text import say
from aevlp.verbs._experiment import add_experiment, given_experiment
from aevlp.verbs._labels_file import add_labels_file, given_labels_file
from aevlp.vision_language.shards import WHOLE, Shard, add_shard

HELP = "pseudo-labels of the training images as a file, with score, sign and the tile that spoke"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags."""
    parser.add_argument("source", nargs="?", metavar="RUN", help="run folder, id or `latest`: the same as its --exp config.yaml")
    add_experiment(parser)
    add_labels_file(parser)
    add_shard(parser)


def run(arguments: argparse.Namespace) -> None:
    """Label, and say how much of what."""
    shard = Shard.parse(arguments.shard)
    path, form = given_labels_file(arguments)
    if arguments.source is not None:
        if arguments.exp is not None:
            raise ConfigError(f"--exp {arguments.exp}: run {arguments.source} knows its own; give one of the two")
        from aevlp.runs.folder import find_run

        arguments.exp = str(find_run(arguments.source) / "config.yaml")
    config = given_experiment(arguments, "whose images to label")
    from aevlp.inference.label import write_pseudo_labels
    from aevlp.inference.label_summary import print_labeled
    from aevlp.terminal import Terminal

    found = write_pseudo_labels(config, path, form, shard)
    for note in found.notes:
        say(note, error=True)
    count, where = int(found.assigned.sum() + found.absent.sum()), "" if path is None else f": {path}"
    part = "" if shard == WHOLE else f" of shard {shard}"
    say(f"{count} pseudo-labels of {found.num_images} training images{part}{where}", error=path is None)
    print_labeled(found, Terminal(stderr=path is None))
