"""The command line: parser, plugins, errors and exit codes. The verbs are the files of `aevlp.verbs`."""

from __future__ import annotations

import argparse
import errno
import importlib
import logging
import os
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from aevlp import __version__
from aevlp.config import registry
from aevlp.config.errors import AevlpError, shortened, suggest
from aevlp.text import SayHandler, printable, say
from aevlp.verbs import train

VERBS = (
    "prepare", "eval", "label", "predict", "export", "list", "show", "schema", "compare", "report", "sync", "watch", "dashboard",
    "sweep", "suite", "cache", "bench",
)  # fmt: skip


MAX_LETTERS = 2000  # of a line of an error, which may repeat a word of a file


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0 done, 1 failed, 2 wrong usage or configuration, 130/143 stopped."""
    words = list(sys.argv[1:] if argv is None else argv)
    parser = build_parser()
    if any("\0" in word for word in words):
        parser.error("an argument holds a zero byte")
    if not words:
        parser.print_help()
        return 2
    arguments = parser.parse_args(words)
    logging.getLogger("aevlp").handlers = [SayHandler()]
    try:
        for plugin in arguments.plugin:
            registry.load_plugin(plugin)
        code = int(arguments.run(arguments) or 0)
        sys.stdout.flush()
        return code
    except AevlpError as error:
        others = os.environ.get("RANK", "0") != "0"
        for line in [] if (others if error.silent is None else error.silent) else str(error).split("\n"):
            # Each line is an error of its own, unless it is indented; a clean stop is no error.
            line = shortened(line, MAX_LETTERS)
            say(f"error: {line}" if error.exit_code in (1, 2) and not line.startswith(" ") else line, error=True)
        return error.exit_code
    except BrokenPipeError:  # whoever read the output has gone, as in `list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        if error.filename is None:
            raise
        say(f"error: {os.fsdecode(error.filename)}: {error.strerror}", error=True)
        return 2 if error.errno == errno.ENAMETOOLONG else 1
    except KeyboardInterrupt:
        say("error: interrupted", error=True)
        return 130


class _Parser(argparse.ArgumentParser):
    color = property(lambda _: False, lambda *_: None)  # Python 3.14 would put escapes into help and errors

    def error(self, message: str) -> NoReturn:
        wrong = re.search(r"invalid choice: '(.*?)' \(choose from (.*)\)", message)
        if wrong:
            word, known = wrong[1], re.findall(r"'(.*?)'", wrong[2])
            message = (
                f"{word!r} is no value on its own; write --set {word}"
                if "=" in word
                else f"unknown {word!r}{suggest(word, known)}"
            )
        super().error(printable(message))

    def _print_message(self, message: str, file: Any = None) -> None:
        """All that argparse prints: help, usage, what is wrong with an argument."""
        if message:
            say(*message.removesuffix("\n").split("\n"), error=file is sys.stderr)


def build_parser() -> argparse.ArgumentParser:
    """All verbs and flags."""
    parser = _Parser(
        prog="run.py", allow_abbrev=False, description="Single-positive multi-label learning with vision-language pseudo-labels.",
        epilog="`python run.py --exp digits_gpr` trains; `python run.py list` shows what else there is.",
    )  # fmt: skip
    parser.set_defaults(run=train.run)
    parser.add_argument("--version", action="version", version=f"aevlp {__version__}")
    parser.add_argument("--plugin", action="append", default=[], metavar="FILE.py", help="Python file that registers components")
    train.add_arguments(parser)
    verbs = parser.add_subparsers(title="other verbs", metavar="")
    for name in VERBS:
        _add_verb(verbs, name, importlib.import_module(f"aevlp.verbs.{name}"))
    return parser


def _add_verb(verbs: Any, name: str, module: Any) -> None:
    text = module.HELP
    parser = verbs.add_parser(name, help=text, description=text.replace("%%", "%"), allow_abbrev=False)
    # Suppressed: a default here would overwrite what stood before the verb.
    parser.add_argument("--plugin", action="append", default=argparse.SUPPRESS, metavar="FILE.py", help=argparse.SUPPRESS)
    module.add_arguments(parser)
    parser.set_defaults(run=module.run)
