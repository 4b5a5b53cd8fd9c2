"""`suite`: many methods under one protocol, and their table."""

from __future__ import annotations

import argparse

from aevlp.config.errors import ConfigError
from aevlp.training.cards import card_named
from aevlp.verbs._forms import add_forms

HELP = "many methods under one protocol, and their table with intervals"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags."""
    parser.add_argument("suite", metavar="NAME", help="a name from `list suites`, or a YAML file")
    parser.add_argument("--dataset", required=True, metavar="D", help="first part of the experiments' names: digits, coco, ...")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="runs of each row, seeds 0 to N-1 (3)")
    parser.add_argument("--rows", nargs="+", metavar="ROW", help="only these, by title or method")
    parser.add_argument("--columns", nargs="+", metavar="COLUMN", help="only these, of a suite that has several")
    parser.add_argument(
        "--workers", type=int, default=1, metavar="N", help="runs at a time; cores and GPUs are shared among them"
    )
    parser.add_argument("--gpus", metavar="0,1", help="CUDA devices, one a worker in turn; all visible ones if left out")
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
    parser.add_argument(
        "--set", nargs="+", action="extend", default=[], metavar="a.b=c", dest="overrides", help="change all rows"
    )
    parser.add_argument("--tracking", choices=("online", "offline", "off"), help="Weights & Biases")
    add_forms(parser)


def run(arguments: argparse.Namespace) -> None:
    """Run what is missing, print the table."""
    for flag, value in (("--seeds", arguments.seeds), ("--workers", arguments.workers), ("--tune", arguments.tune)):
        if value is not None and value <= 0:
            raise ConfigError(f"{flag} {value}: must be above 0")
    if arguments.card is not None:
        if not arguments.dry_run:
            raise ConfigError("--card: only tells what a suite would take; it goes with --dry-run")
        card_named(arguments.card)
    tracking = [f"tracking.mode={arguments.tracking}"] if arguments.tracking else []
    from aevlp.suites.run import run_suite

    run_suite(
        arguments.suite, arguments.dataset, seeds=arguments.seeds, rows=arguments.rows, columns=arguments.columns,
        workers=arguments.workers,
        gpus=arguments.gpus, own_stop_rules=arguments.own_stop_rules, trials=arguments.tune,
        words=(*arguments.overrides, *tracking), form=arguments.form, table_only=arguments.table, rehearse=arguments.dry_run,
        card=arguments.card,
    )  # fmt: skip
