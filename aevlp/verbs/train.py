"""Training: `--exp` starts a run, `--resume` continues one. It is what the command line does without a verb."""

from __future__ import annotations

import argparse

from aevlp.config.errors import ConfigError
from aevlp.config.loading import value_of
from aevlp.config.schema import PLACES
from aevlp.verbs._flags import add_experiment, add_name, given_experiment


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of training."""
    add_experiment(parser)
    add_name(parser)
    parser.add_argument("--resume", metavar="RUN", help="continue a run: its folder, its id, or `latest`")
    parser.add_argument(
        "--dry-run", action="store_true", help="two steps, one validation batch, save, reload; memory and time estimate"
    )


def run(arguments: argparse.Namespace) -> None:
    """Train, rehearse or resume."""
    if arguments.resume is not None:
        _resume(arguments)
        return
    config = given_experiment(arguments, "to train, or --resume RUN to continue")
    if arguments.dry_run:
        from aevlp.training.dry_run import dry_run

        dry_run(config)
    else:
        from aevlp.training.run import train

        train(config)


def _resume(arguments: argparse.Namespace) -> None:
    words = dict(word.partition("=")[::2] for word in arguments.overrides)
    given = (arguments.exp, arguments.seed, arguments.run_name)
    if any(value is not None for value in given) or arguments.dry_run or words.keys() - {"trainer.epochs", *PLACES}:
        raise ConfigError(
            "--resume takes no --exp, --seed, --name or --dry-run, and of --set only trainer.epochs=N, dataset.root=FOLDER and "
            "dataset.arrays=FOLDER"
        )
    epochs = words.pop("trainer.epochs", None)
    if epochs is not None and not (epochs.isdecimal() and int(epochs) > 0):
        raise ConfigError(f"--set trainer.epochs={epochs}: must be a number above 0")
    places = {path: value_of(place, f"--set {path}") for path, place in words.items()}
    from aevlp.runs.folder import find_run

    run = find_run(arguments.resume)
    from aevlp.training.run import resume

    resume(run, None if epochs is None else int(epochs), arguments.tracking, places=places)
