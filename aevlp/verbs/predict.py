"""`predict`: scores and labels of photos from a trained model."""

from __future__ import annotations

import argparse
import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from aevlp.config.errors import ConfigError
from aevlp.output import marked, require_own
from aevlp.text import counted, listed, say
from aevlp.verbs._flags import add_labels_file, given_labels_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aevlp.inference.trained import Trained

FEW = 10  # validation photos of a class
BATCHES = ("--batch-size",)
HELP = "scores and labels of photos, by a run or an export"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags."""
    parser.add_argument("source", metavar="RUN", help="run folder, id or `latest`, or exported folder")
    parser.add_argument("images", nargs="+", metavar="IMAGES", help="image files, and folders of them at any depth")
    add_labels_file(parser)
    parser.add_argument("--threshold", type=float, metavar="T",
                        help="probability from which a class is a label (default: one a class, from validation)")  # fmt: skip
    parser.add_argument("--batch-size", type=int, default=32, metavar="N", help="images per forward pass (default: 32)")
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="threads that decode images (default: 2)")
    parser.add_argument("--on-bad-image", choices=("error", "quarantine"), default="error",
                        help="a file that is no image: stop, or leave it out and list it in FILE.quarantine.csv")  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Score, and say what was left out; 1 where that was named itself."""
    for flag, value in (("--batch-size", arguments.batch_size), ("--workers", arguments.workers)):
        if not 1 <= value <= 65_536:
            raise ConfigError(f"{flag} {value}: must be from 1 to 65536")
    if arguments.threshold is not None and not 0 <= arguments.threshold <= 1:
        raise ConfigError(f"--threshold {arguments.threshold}: must be a probability, from 0 to 1")
    if Path(arguments.source).is_file():
        raise ConfigError(f"{arguments.source}: is a file; predict takes a run or an exported folder, which tell class names")
    from aevlp.inference.sources import find_trained

    source = str(find_trained(arguments.source))
    for path in arguments.images:
        if not os.path.exists(path):
            raise ConfigError(f"{path}: no such file or folder")
    output, form = given_labels_file(arguments)
    if output is not None:
        require_own(output.with_name(f"{output.name}.quarantine.csv"), "list that `predict` wrote", marked("image,problem\n"))
    from aevlp.inference.open import open_trained
    from aevlp.inference.predict import find_images, predict
    from aevlp.training.begun_on import encoder_notes

    found = find_images(arguments.images)
    for link in found.links:
        say(f"note  {link}: a link to a folder, which is not followed; name it to have its images scored", error=True)
    trained = open_trained(source)
    for note in encoder_notes(trained.config, Path(source), ("model",)):
        say(f"note  {note}", error=True)
    bad = predict(
        trained, found, output, form, threshold=arguments.threshold,
        batch_size=arguments.batch_size, threads=arguments.workers, on_bad_image=arguments.on_bad_image,
    )  # fmt: skip
    if found.others:
        say(f"note  {_passed_over(found.others)}", error=True)
    for problem in bad.values():
        say(f"left out  {problem}", error=True)
    count, listed = len(found.images) + len(found.closed) - len(bad), "" if output is None else f" ({output}.quarantine.csv)"
    left_out, where = f", {len(bad)} left out{listed}" if bad else "", "" if output is None else f": {output}"
    say(f"{counted(count, 'image')} scored{left_out}{where}", error=output is None)
    if arguments.threshold is None:
        for line in _thresholds_told(trained):
            say(line, error=output is None)
    return int(any(os.path.normpath(path) in bad for path in arguments.images))


def _thresholds_told(trained: Trained) -> Iterator[str]:
    """By what the labels were chosen, and how far that can be trusted."""
    labels = trained.validated_on
    chosen_on = "" if labels is None else f", chosen on {counted(len(labels), 'validation photo')}"
    yield f"labels by the run's thresholds{chosen_on}; --threshold 0.5 sets one"
    few = 0 if labels is None else int(((labels > 0).sum(axis=0) < FEW).sum())
    if labels is not None and few:
        which = f"{few} of {labels.shape[1]} classes {'has' if few == 1 else 'have'} fewer than {FEW} of these photos"
        yield f"note  {which}: thresholds from so few are chance"


def _passed_over(names: list[str]) -> str:
    kinds = Counter(os.path.splitext(name)[1].lower() or "none" for name in names).most_common(10)
    told = ", ".join(f"{suffix} {count}" for suffix, count in kinds)
    what = (
        "1 file is passed over, as its name does not end"
        if len(names) == 1
        else f"{len(names)} files are passed over, as their names do not end"
    )
    return f"{what} as those of photos do ({told}): {listed(names, 3)}"
