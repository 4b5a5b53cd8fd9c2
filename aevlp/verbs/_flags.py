"""Flags that several verbs share, and what they say."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from aevlp.command import COMMAND
from aevlp.config import registry
from aevlp.config.errors import ConfigError
from aevlp.inference.label_formats import FORMATS, STDOUT, format_of
from aevlp.output import require_own
from aevlp.vision_language.shards import WHOLE, Shard

if TYPE_CHECKING:
    from aevlp.config.schema import ExperimentConfig


def add_set(parser: argparse.ArgumentParser, text: str, form: str = "a.b=c") -> None:
    """--set."""
    parser.add_argument("--set", nargs="+", action="extend", default=[], metavar=form, dest="overrides", help=text)


def add_tracking(parser: argparse.ArgumentParser) -> None:
    """--tracking."""
    parser.add_argument("--tracking", choices=("online", "offline", "off"),
                        help="Weights & Biases, same as --set tracking.mode=...")  # fmt: skip


def add_changed(parser: argparse.ArgumentParser) -> None:
    """--exp and --set."""
    parser.add_argument("--exp", metavar="NAME", help="experiment: a name from `list`, or a YAML file")
    add_set(parser, "change values: loss.rho=0.8, loss.beta[1]=8; or whole components: loss=an")


def add_experiment(parser: argparse.ArgumentParser) -> None:
    """--exp, --set, --seed and --tracking."""
    add_changed(parser)
    parser.add_argument("--seed", type=int, metavar="N", help="same as --set seed=N")
    add_tracking(parser)


def add_name(parser: argparse.ArgumentParser) -> None:
    """--name, of commands that make one run."""
    parser.add_argument("--name", dest="run_name", metavar="NAME",
                        help="what compare, report and W&B call the run, same as --set tracking.name=...")  # fmt: skip


def changes(arguments: argparse.Namespace) -> list[str]:
    """The words of --set; ConfigError where a later one takes back what an earlier one says."""
    words = list(arguments.overrides)
    paths = [word.partition("=")[0].strip() for word in words]
    for i, later in enumerate(paths):
        whole = _replaced(later)
        for word, path in zip(words[:i], paths, strict=False):
            if path.startswith((f"{whole}.", f"{whole}[")) and _replaced(path) != whole and path not in paths[i:]:
                raise ConfigError(f"--set {word} is undone by --set {words[i]}; put it behind")
    return words


def refuse_given(arguments: argparse.Namespace, why: str, *names: str) -> None:
    """ConfigError where one of these flags is given, on which nothing hangs here."""
    for name in names:
        if getattr(arguments, name) not in (None, 0, []):
            raise ConfigError(f"--{'set' if name == 'overrides' else name}: {why}")


def _replaced(path: str) -> str:
    """The path of all that a word replaces: that of the component where it gives another name."""
    whole = path.removesuffix(".name")
    return whole if whole in registry.SECTIONS or whole.rpartition(".")[2] in registry.PARTS else path


def overrides(arguments: argparse.Namespace) -> list[str]:
    """All that was given as --set, --seed, --tracking and --name, as --set words; ConfigError as above."""
    given = {name: getattr(arguments, name, None) for name in ("seed", "tracking", "run_name")}
    result = changes(arguments)
    if given["seed"] is not None:
        result.append(f"seed={given['seed']}")
    if given["tracking"] is not None:
        result.append(f"tracking.mode={given['tracking']}")
    if given["run_name"] is not None:
        result.append(f"tracking.name={json.dumps(given['run_name'])}")  # a name, whatever YAML would take it for
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


def add_workers(parser: argparse.ArgumentParser, what: str) -> None:
    """--workers and --gpus, of commands that make many runs."""
    parser.add_argument("--workers", type=int, default=1, metavar="N",
                        help=f"{what} at a time; cores and GPUs are shared among them")  # fmt: skip
    parser.add_argument("--gpus", metavar="0,1", help="CUDA devices, one a worker in turn; all visible ones if left out")


def require_positive(**numbers: float | None) -> None:
    """ConfigError where the number of a flag is given and not above 0."""
    for flag, value in numbers.items():
        if value is not None and not value > 0:
            raise ConfigError(f"--{flag} {value:g}: must be above 0")


def add_baseline(parser: argparse.ArgumentParser) -> None:
    """--baseline."""
    parser.add_argument("--baseline", metavar="EXPERIMENT", help="what differences are taken against; else the one with loss an")


def add_forms(parser: argparse.ArgumentParser) -> None:
    """--json, --csv, --markdown, --latex; `form` is None without."""
    forms = parser.add_mutually_exclusive_group()
    for form in ("json", "csv", "markdown", "latex"):
        forms.add_argument(f"--{form}", dest="form", action="store_const", const=form, help=f"as {form} on stdout")


def add_shard(parser: argparse.ArgumentParser) -> None:
    """--shard, by which a job array divides a verb's work."""
    parser.add_argument("--shard", default=str(WHOLE), metavar="i/n", help="only part i of n, counted from 0: for job arrays")


def given_shard(arguments: argparse.Namespace) -> Shard:
    """The part of the images that is asked for; ConfigError where there is none such."""
    return Shard.parse(arguments.shard)


def add_labels_file(parser: argparse.ArgumentParser) -> None:
    """-o and --format, of verbs that write labels."""
    parser.add_argument("-o", "--output", required=True, metavar="FILE",
                        help="labels.csv, .jsonl, .parquet or .json; - is standard output")  # fmt: skip
    parser.add_argument("--format", choices=tuple(FORMATS), help="what FILE is to be (default: as its name tells)")


def given_labels_file(arguments: argparse.Namespace) -> tuple[Path | None, str]:
    """The file, None for standard output, and the name of its format; ConfigError where it cannot be written."""
    if arguments.output == STDOUT:
        return None, format_of(arguments.output, arguments.format)
    from aevlp.inference.label_files import is_own

    require_own(Path(arguments.output), "file that `predict` or `label` wrote", is_own)
    return Path(arguments.output), format_of(arguments.output, arguments.format)
