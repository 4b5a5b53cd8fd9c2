"""The command line. Verbs import what they need when they run, so that help and lists answer at once."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from aevlp import __version__
from aevlp.config import registry
from aevlp.config.errors import AevlpError, ConfigError, suggest

LISTS = ("experiments", *registry.KINDS)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0 done, 1 failed, 2 wrong usage or configuration, 130/143 stopped."""
    words = list(sys.argv[1:] if argv is None else argv)
    parser = build_parser()
    if not words:
        parser.print_help()
        return 2
    arguments = parser.parse_args(words)
    try:
        for plugin in arguments.plugin:
            registry.load_plugin(plugin)
        code = int(arguments.run(arguments) or 0)
        sys.stdout.flush()
        return code
    except AevlpError as error:
        for line in str(error).splitlines():
            print(f"error: {line}" if error.exit_code in (1, 2) else line, file=sys.stderr)  # a clean stop is no error
        return error.exit_code
    except BrokenPipeError:  # whoever read the output has gone, as in `list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        return 130


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        wrong = re.search(r"invalid choice: '(.*?)' \(choose from (.*)\)", message)
        if wrong:
            word, known = wrong[1], re.findall(r"'(.*?)'", wrong[2])
            message = (
                f"{word!r} is no value on its own; write --set {word}"
                if "=" in word
                else f"unknown {word!r}{suggest(word, known)}"
            )
        super().error(message)


def build_parser() -> argparse.ArgumentParser:
    """All verbs and flags."""
    parser = _Parser(
        prog="run.py", allow_abbrev=False, description="Single-positive multi-label learning with vision-language pseudo-labels.",
        epilog="`python run.py --exp digits_gpr` trains; `python run.py list` shows what else there is.",
    )  # fmt: skip
    parser.set_defaults(run=run_train)
    parser.add_argument("--version", action="version", version=f"aevlp {__version__}")
    _add_experiment(parser)
    parser.add_argument("--resume", metavar="RUN", help="continue a run: its folder, its id, or `latest`")
    parser.add_argument(
        "--dry-run", action="store_true", help="two steps, one validation batch, save, reload; memory and time estimate"
    )
    verbs = parser.add_subparsers(title="other verbs", metavar="")

    verb = _verb(verbs, "list", run_list, "what there is to run")
    verb.add_argument("kind", nargs="?", choices=LISTS, help="only this kind")

    verb = _verb(verbs, "show", run_show, "a resolved experiment, and where each value came from")
    _add_experiment(verb)
    verb.add_argument("--diff", nargs="+", metavar="OTHER", help="only what differs from another experiment (or between two)")

    _verb(verbs, "schema", run_schema, "JSON schema of experiments, for editors")

    verb = _verb(verbs, "compare", run_compare, "finished runs side by side, mean and 95 %% interval over seeds")
    verb.add_argument("runs", nargs="*", metavar="RUN", help="run folders or ids, or folders of runs; all runs if none is named")
    return parser


def _verb(verbs: Any, name: str, run: Any, text: str) -> argparse.ArgumentParser:
    parser = verbs.add_parser(name, help=text, description=text.replace("%%", "%"), allow_abbrev=False)
    # Suppressed: a default here would overwrite what stood before the verb.
    parser.add_argument("--plugin", action="append", default=argparse.SUPPRESS, metavar="FILE.py", help=argparse.SUPPRESS)
    parser.set_defaults(run=run)
    return parser


def _add_experiment(parser: argparse.ArgumentParser) -> None:
    top = parser.prog == "run.py"
    unset = None if top else argparse.SUPPRESS  # as in `_verb`
    parser.add_argument("--exp", default=unset, metavar="NAME", help="experiment: a name from `list`, or a YAML file")
    parser.add_argument("--set", nargs="+", action="extend", default=[] if top else unset, metavar="a.b=c", dest="overrides",
                        help="change values: loss.rho=0.8, loss.beta[1]=8; or whole components: loss=an")  # fmt: skip
    parser.add_argument("--seed", type=int, default=unset, metavar="N", help="same as --set seed=N")
    parser.add_argument("--tracking", choices=("online", "offline", "off"), default=unset,
                        help="Weights & Biases, same as --set tracking.mode=...")  # fmt: skip
    if top:
        parser.add_argument(
            "--plugin", action="append", default=[], metavar="FILE.py", help="Python file that registers components"
        )


def _overrides(arguments: argparse.Namespace) -> list[str]:
    result = list(arguments.overrides)
    if arguments.seed is not None:
        result.append(f"seed={arguments.seed}")
    if arguments.tracking is not None:
        result.append(f"tracking.mode={arguments.tracking}")
    return result


def run_train(arguments: argparse.Namespace) -> int:
    """`--exp` or `--resume`."""
    if arguments.resume is not None:
        return _resume(arguments)
    if arguments.exp is None:
        raise ConfigError("give --exp NAME to train (see `python run.py list experiments`), or --resume RUN to continue")
    from aevlp.config.loading import load_experiment

    config = load_experiment(arguments.exp, _overrides(arguments))
    if arguments.dry_run:
        from aevlp.training.dry_run import dry_run

        dry_run(config)
    else:
        from aevlp.training.run import train

        train(config)
    return 0


def _resume(arguments: argparse.Namespace) -> int:
    words = arguments.overrides
    other = [word for word in words if not word.startswith("trainer.epochs=")]
    if arguments.exp is not None or arguments.seed is not None or arguments.dry_run or other:
        raise ConfigError("--resume takes no --exp, --seed or --dry-run, and of --set only trainer.epochs=N")
    epochs = words[-1].partition("=")[2] if words else None
    if epochs is not None and not (epochs.isdecimal() and int(epochs) > 0):
        raise ConfigError(f"--set trainer.epochs={epochs}: must be a number above 0")
    from aevlp.training.run import resume
    from aevlp.training.run_folder import find_run

    resume(find_run(arguments.resume), None if epochs is None else int(epochs), arguments.tracking)
    return 0


def run_list(arguments: argparse.Namespace) -> int:
    """`list`."""
    from aevlp.config.describe import describe

    for kind in [arguments.kind] if arguments.kind else LISTS:
        print(kind)
        rows = describe(kind)
        width = max((len(name) for name, _ in rows), default=0)
        for name, text in rows:
            print(f"  {name:<{width}}  {text}")
    return 0


def run_show(arguments: argparse.Namespace) -> int:
    """`show`."""
    from aevlp.config.describe import flatten
    from aevlp.config.loading import resolve

    names = ([arguments.exp] if arguments.exp else []) + (arguments.diff or [])
    if len(names) != (2 if arguments.diff else 1):
        raise ConfigError("show takes --exp NAME, --exp NAME --diff OTHER, or --diff NAME OTHER")
    first = resolve(names[0], _overrides(arguments))
    values = flatten(first.config.to_dict())
    if arguments.diff:
        second = flatten(resolve(names[1]).config.to_dict())
        paths = [path for path in {**values, **second} if path != "name" and values.get(path) != second.get(path)]
        rows = [(path, _text(values, path), _text(second, path)) for path in paths]
        if not rows:
            print("no differences")
            return 0
        rows.insert(0, ("", " ".join([names[0], *_overrides(arguments)]), names[1]))
    else:
        rows = [(path, _text(values, path), first.origins.get(path, "default")) for path in values]
    widths = [max(len(row[i]) for row in rows) for i in (0, 1)]
    for path, value, last in rows:
        print(f"{path:<{widths[0]}}  {value:<{widths[1]}}  {last}")
    return 0


def _text(values: dict[str, Any], path: str) -> str:
    return json.dumps(values[path], ensure_ascii=False) if path in values else "–"  # noqa: RUF001


def run_schema(arguments: argparse.Namespace) -> int:
    """`schema`."""
    from aevlp.config.describe import schema

    print(json.dumps(schema(), indent=1))
    return 0


def run_compare(arguments: argparse.Namespace) -> int:
    """`compare`."""
    from aevlp.reporting.compare import compare
    from aevlp.training.run_folder import runs_root

    compare([Path(run) for run in arguments.runs] or [runs_root()])
    return 0
