"""`suite`: many methods under one protocol, and their table."""

from __future__ import annotations

import argparse

from aevlp.config.errors import ConfigError
from aevlp.training.cards import card_named
from aevlp.verbs._flags import add_forms, add_set, add_tracking, add_workers, overrides, require_positive

HELP = "many methods under one protocol, and their table with intervals"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags."""
    parser.add_argument("suite", metavar="NAME", help="a name from `list suites`, or a YAML file")
    parser.add_argument("--dataset", required=True, metavar="D", help="first part of the experiments' names: digits, coco, ...")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="runs of each row, seeds 0 to N-1 (3)")
    parser.add_argument("--rows", nargs="+", metavar="ROW", help="only these, by title or method")
    parser.add_argument("--columns", nargs="+", metavar="COLUMN", help="only these, of a suite that has several")
    add_workers(parser, "runs")
    parser.add_argument(
        "--tune", type=int, metavar="N", help="also tune every row by N validation trials, and run what they found"
    )
    parser.add_argument("--own-stop-rules", action="store_true", help="each row stops as its authors do, not by one rule for all")
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--table", action="store_true", help="run nothing: the table of what has finished")
    only.add_argument("--dry-run", action="store_true", help="train nothing: runs that are left, their hours and memory")
    parser.add_argument(
        "--card", metavar="NAME", help="with --dry-run: what it would take on such a GPU, as H100; assumed, see docs"
    )
    add_set(parser, "change all rows")
    add_tracking(parser)
    add_forms(parser)


def run(arguments: argparse.Namespace) -> None:
    """Run what is missing, print the table."""
    require_positive(seeds=arguments.seeds, workers=arguments.workers, tune=arguments.tune)
    if arguments.card is not None:
        if not arguments.dry_run:
            raise ConfigError("--card: only tells what a suite would take; it goes with --dry-run")
        card_named(arguments.card)
    words = overrides(arguments)
    from aevlp.suites.run import run_suite

    run_suite(
        arguments.suite, arguments.dataset, seeds=arguments.seeds, rows=arguments.rows, columns=arguments.columns,
        workers=arguments.workers, gpus=arguments.gpus, own_stop_rules=arguments.own_stop_rules, trials=arguments.tune,
        words=words, form=arguments.form, table_only=arguments.table, rehearse=arguments.dry_run, card=arguments.card,
    )  # fmt: skip
