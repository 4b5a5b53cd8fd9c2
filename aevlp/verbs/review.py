"""`review`: a page that asks for the labels worth most."""

from __future__ import annotations

import argparse
from pathlib import Path

from aevlp.text import say

HELP = "one page that asks a person for the labels worth most: yes or no, a key each; opens without a network"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags."""
    parser.add_argument("source", metavar="RUN", help="run folder, id or `latest`")
    parser.add_argument(
        "-o", "--output", default=None, metavar="FILE", help="the page (default: review.html; answers.csv with --simulate)"
    )
    parser.add_argument("--count", type=_number, default=200, metavar="N", help="questions (default: 200)")
    parser.add_argument("--order", choices=("value", "confident", "random"), default="value",
                        help="first what changes most, what is most probable, or by chance (default: value)")  # fmt: skip
    parser.add_argument("--complete", type=_number, default=0, metavar="N",
                        help="ask for every class of N photos drawn at random, for a split with full labels")  # fmt: skip
    parser.add_argument("--becomes", choices=("val", "test"), default="test", help="the split that these are for (default: test)")
    parser.add_argument(
        "--simulate", action="store_true", help="answer from the full labels, where they are known, to measure an order"
    )


def run(arguments: argparse.Namespace) -> None:
    """Choose, write, and say what to do with the page."""
    from aevlp.inference.sources import find_trained
    from aevlp.output import require_place

    target = Path(arguments.output or ("answers.csv" if arguments.simulate else "review.html"))
    require_place(target)
    find_trained(arguments.source)
    from aevlp.inference.open import open_trained
    from aevlp.review.page import write_review
    from aevlp.review.questions import questions
    from aevlp.review.simulate import write_answers

    trained = open_trained(arguments.source, arguments.overrides)
    asked = questions(
        trained, order=arguments.order, count=arguments.count, photos=arguments.complete, becomes=arguments.becomes,
        seed=arguments.seed or 0,
    )  # fmt: skip
    for note in asked.data.notes:
        say(note, error=True)
    source = Path(trained.source).name
    if arguments.simulate:
        yes = write_answers(asked, source, target)
        say(f"answers  {target}  {len(asked.rows):,} from the full labels, {yes:,} of them yes")
        return
    root = getattr(trained.config.dataset, "root", None) if trained.config.dataset.name == "folder" else None
    written = write_review(asked, source, Path(root) if root else None, target)
    say(
        f"review   {target}  {written.size / 1e6:.1f} MB",
        f"asks     {len(asked.rows):,} questions about {written.photos:,} photos, at most {written.side} pixels each",
        "then     open it in a browser, answer by y and n, save answers.csv",
    )


def _number(word: str) -> int:
    if not word.isdecimal() or not int(word):
        raise argparse.ArgumentTypeError(f"must be a number above 0, is {word!r}")
    return int(word)
