"""`label`: the pseudo-labels of an experiment as a file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from aevlp.config.errors import ConfigError
from aevlp.text import say
from aevlp.verbs._flags import (
    add_experiment,
    add_labels_file,
    add_shard,
    given_experiment,
    given_labels_file,
    given_shard,
)  # fmt: skip
from aevlp.vision_language.shards import WHOLE

if TYPE_CHECKING:
    from aevlp.config.schema import ExperimentConfig

MANY_PROCESSES = True  # which divide the work among themselves
BATCHES = ("labeler.encoder.batch_size",)
HELP = "pseudo-labels of the training images as a file, with score, sign and the tile that spoke"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags."""
    parser.add_argument("source", nargs="?", metavar="RUN", help="run folder, id or `latest`: the same as its --exp config.yaml")
    add_experiment(parser)
    add_labels_file(parser)
    add_shard(parser)


def run(arguments: argparse.Namespace) -> None:
    """Label, and say how much of what."""
    shard = given_shard(arguments)
    path, form = given_labels_file(arguments)
    folder = None
    if arguments.source is not None:
        if arguments.exp is not None:
            raise ConfigError(f"--exp {arguments.exp}: run {arguments.source} knows its own; give one of the two")
        from aevlp.runs.folder import find_run

        folder = find_run(arguments.source)
        arguments.exp = str(folder / "config.yaml")
    config = given_experiment(arguments, "whose images to label")
    from aevlp.inference.label import write_pseudo_labels
    from aevlp.inference.label_summary import print_labeled
    from aevlp.terminal import Terminal

    found = write_pseudo_labels(config, path, form, None if folder is None else _kept(folder, config), shard)
    for note in found.notes:
        say(note, error=True)
    count, where = int(found.assigned.sum() + found.absent.sum()), "" if path is None else f": {path}"
    part = "" if shard == WHOLE else f" of shard {shard}"
    say(f"{count} pseudo-labels of {found.num_images} training images{part}{where}", error=path is None)
    print_labeled(found, Terminal(stderr=path is None))


def _kept(folder: Path, config: ExperimentConfig) -> dict[str, float] | None:
    """What the run's labeler found before training, unless --set has changed the labeler since."""
    from aevlp.runs.folder import RunFolder
    from aevlp.training.labels_worth import read_figures

    return read_figures(folder) if RunFolder(folder).read_config().labeler == config.labeler else None
