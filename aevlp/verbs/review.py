"""`review`: a page that asks for further labels, yes or no."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Final

from aevlp.command import COMMAND
from aevlp.config.errors import ConfigError
from aevlp.inference.label_formats import FORMATS
from aevlp.text import counted, say
from aevlp.verbs._flags import add_changed, changes, refuse_given

if TYPE_CHECKING:
    from aevlp.inference.trained import Trained
    from aevlp.review.questions import Questions

COUNT: Final = 200  # where nothing else is said
ORDER: Final = "value"
BECOMES: Final = "test"
BATCHES = ("trainer.eval_batch_size",)
HELP = "one page that asks a person for further labels: yes or no, a key each; opens without a network"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags."""
    parser.add_argument("source", metavar="RUN|FILE", help="run folder, id or `latest`; or a CSV file that `predict` wrote")
    parser.add_argument(
        "-o", "--output", default=None, metavar="FILE", help="the page (default: review.html; answers.csv with --simulate)"
    )
    parser.add_argument("--count", type=_number, metavar="N", help="questions (default: 200)")
    parser.add_argument("--order", choices=("value", "confident", "random"),
                        help="first what changes most, what is most probable, or by chance (default: value)")  # fmt: skip
    parser.add_argument("--complete", type=_number, default=0, metavar="N",
                        help="ask for every class of N photos drawn at random, for a split with full labels")  # fmt: skip
    parser.add_argument("--becomes", choices=("val", "test"), help="the split that these are for (default: test)")
    parser.add_argument(
        "--simulate", action="store_true", help="answer from the full labels, where they are known, to measure an order"
    )
    parser.add_argument(
        "--seed", type=int, metavar="N", help="another draw of what is asked by chance, as by --complete (default: 0)"
    )
    add_changed(parser)


def run(arguments: argparse.Namespace) -> None:
    """Choose, write, and say what to do with the page."""
    target = Path(arguments.output or ("answers.csv" if arguments.simulate else "review.html"))
    _require_target(target, arguments.simulate)
    if not arguments.complete and arguments.order != "random":
        refuse_given(arguments, "goes with --order random and with --complete: nothing else is drawn by chance", "seed")
    of_predictions = Path(arguments.source).suffix.lower() == ".csv"
    asked, source, take_in = _of_predictions(arguments) if of_predictions else _of_run(arguments)
    from aevlp.review.page import write_review
    from aevlp.review.simulate import write_answers

    for note in asked.notes:
        say(note, error=True)
    if arguments.simulate:
        yes = write_answers(asked, source, target)
        say(f"answers  {target}  {len(asked.rows):,} from the full labels, {yes:,} of them yes")
        return
    written = write_review(asked, source, take_in, target)
    say(
        f"review   {target}  {written.size / 1e6:.1f} MB",
        f"asks     {counted(len(asked.rows), 'question', ',')} about {counted(written.photos, 'photo', ',')}, "
        f"at most {written.side} pixels each",
        "then     open it in a browser, answer by y and n, save answers.csv",
        f"and      {take_in}",
    )


def _require_target(target: Path, simulate: bool) -> None:
    if simulate:
        from aevlp.output import require_own
        from aevlp.review.simulate import is_simulated

        require_own(target, "file whose answers are all marked `--simulate`", is_simulated)
    else:
        from aevlp.reporting.html import require_page

        require_page(target, "review")


def _seed(arguments: argparse.Namespace) -> int:
    if (arguments.seed or 0) < 0:
        raise ConfigError(f"--seed {arguments.seed}: must be 0 or more")
    return arguments.seed or 0


def _of_run(arguments: argparse.Namespace) -> tuple[Questions, str, str]:
    """Questions, what is written beside each answer, and how the answers are taken in."""
    from aevlp.inference.sources import find_trained

    if arguments.complete:
        refuse_given(arguments, "--complete asks for every class of the photos that it draws", "count", "order")
    else:
        refuse_given(arguments, "goes with --complete, which makes a split", "becomes")
    words = changes(arguments)
    found = str(find_trained(arguments.source, words, arguments.exp))
    of_predict = {suffix for form in FORMATS.values() for suffix in form.suffixes}
    if Path(found).is_file() and Path(found).suffix.lower() in of_predict:
        raise ConfigError(f"{found}: review takes a run, or scores as CSV: `{COMMAND} predict RUN IMAGES -o scores.csv`")
    from aevlp.data.formats.folder import FolderConfig, dataset_root
    from aevlp.inference.open import open_trained
    from aevlp.review.questions import questions

    trained = open_trained(found, words, arguments.exp)
    dataset = trained.config.dataset
    # Answers are written into labels.csv with the photos beside it; another table or folder of photos is not touched.
    root = None
    if isinstance(dataset, FolderConfig) and dataset.table is None and dataset.images is None:
        root = str(dataset_root(dataset))
    if arguments.complete and not (root or arguments.simulate):
        raise ConfigError(
            "--complete: makes a split of photos in a table, dataset.root/labels.csv with the photos beside it; "
            f"{trained.config.name} has none"
        )
    if arguments.complete and root is not None and dataset.answers is not None:
        raise ConfigError(
            f"--complete: the answers of {dataset.answers} are not in the table: first `{_import(root, dataset.answers)}`, then "
            "give this command with `--set dataset.answers=null`"
        )
    asked = questions(
        trained, order=arguments.order or ORDER, count=arguments.count or COUNT, photos=arguments.complete,
        becomes=arguments.becomes or BECOMES, seed=_seed(arguments),
    )  # fmt: skip
    # What is drawn otherwise takes no notice of known labels in the table, or would be another draw.
    as_the_table_says = dataset.known == "given" or (dataset.known, dataset.draw) == ("single", "uniform")
    if root is not None and (as_the_table_says or arguments.complete):
        return asked, Path(trained.source).name, _import(root)
    if dataset.answers is not None:
        asked.notes.append(f"{dataset.answers} has earlier answers: add the new lines to it, and do not write over it")
    return asked, Path(trained.source).name, _again(trained, arguments.exp, words)


def _again(trained: Trained, experiment: str | None, words: list[str]) -> str:
    """The run once more, with the answers beside those that it knows already."""
    folder = Path(trained.source)
    if folder.is_dir():
        experiment = str(folder / "config.yaml")
    if trained.config.dataset.answers is None:
        words = [*words, "dataset.answers=answers.csv"]
    changed = f" --set {shlex.join(words)}" if words else ""
    return f"{COMMAND} --exp {shlex.quote(experiment or trained.config.name)}{changed}"


def _of_predictions(arguments: argparse.Namespace) -> tuple[Questions, str, str]:
    from aevlp.review.predictions import questions_of_predictions

    refuse_given(arguments, "goes with a run, not with predictions", "complete", "becomes", "simulate", "exp", "overrides")
    path = Path(arguments.source)
    asked = questions_of_predictions(path, order=arguments.order or ORDER, count=arguments.count or COUNT, seed=_seed(arguments))
    return asked, path.name, _import("FOLDER")


def _import(root: str, answers: str = "answers.csv") -> str:
    return f"{COMMAND} import {shlex.quote(answers)} --root {shlex.quote(root)}"


def _number(word: str) -> int:
    if not word.isdecimal() or not int(word):
        raise argparse.ArgumentTypeError(f"must be a number above 0, is {word!r}")
    return int(word)
