"""Flags that name an experiment, shared by training and by the verbs that take one."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from aevlp.command import COMMAND
from aevlp.config.errors import ConfigError

if TYPE_CHECKING:
    from aevlp.config.schema import ExperimentConfig


def add_experiment(parser: argparse.ArgumentParser) -> None:
    """--exp, --set, --seed and --tracking."""
    parser.add_argument("--exp", metavar="NAME", help="experiment: a name from `list`, or a YAML file")
    parser.add_argument("--set", nargs="+", action="extend", default=[], metavar="a.b=c", dest="overrides",
                        help="change values: loss.rho=0.8, loss.beta[1]=8; or whole components: loss=an")  # fmt: skip
    parser.add_argument("--seed", type=int, metavar="N", help="same as --set seed=N")
    parser.add_argument("--tracking", choices=("online", "offline", "off"),
                        help="Weights & Biases, same as --set tracking.mode=...")  # fmt: skip


def add_name(parser: argparse.ArgumentParser) -> None:
    """--name, of commands that make one run."""
    parser.add_argument("--name", dest="run_name", metavar="NAME",
                        help="what compare, report and W&B call the run, same as --set tracking.name=...")  # fmt: skip


def overrides(arguments: argparse.Namespace) -> list[str]:
    """All that was given as --set, --seed, --tracking and --name, as --set words."""
    result = list(arguments.overrides)
    if arguments.seed is not None:
        result.append(f"seed={arguments.seed}")
    if arguments.tracking is not None:
        result.append(f"tracking.mode={arguments.tracking}")
    if getattr(arguments, "run_name", None) is not None:
        result.append(f"tracking.name={json.dumps(arguments.run_name)}")  # a name, whatever YAML would take it for
    return result


def given_experiment(arguments: argparse.Namespace, what_for: str) -> ExperimentConfig:
    """The experiment that --exp names, with its overrides; ConfigError where none is named."""
    if arguments.exp is None:
        raise ConfigError(f"give --exp NAME {what_for} (see `{COMMAND} list experiments`)")
    from aevlp.config.loading import load_experiment

    load_parts(arguments.exp)
    return load_experiment(arguments.exp, overrides(arguments))


def load_parts(experiment: str) -> None:
    """Load the plugins that a run keeps, where an experiment is the config.yaml of one."""
    from aevlp.runs.plugins import load_kept

    path = Path(experiment)
    if path.name == "config.yaml" and os.path.isfile(path):
        load_kept(path.parent)
