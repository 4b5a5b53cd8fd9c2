"""The command line: parser, plugins, errors and exit codes. The verbs are the files of `aevlp.verbs`."""

from __future__ import annotations

import argparse
import contextlib
import errno
import importlib
import io
import itertools
import logging
import os
import re
import shlex
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, NoReturn

from aevlp import __version__, ranks
from aevlp.command import COMMAND, PROGRAM
from aevlp.config import registry
from aevlp.config.errors import GPU_FULL, AevlpError, nearest, shortened, suggest
from aevlp.config.finding import EXPERIMENTS, files
from aevlp.folders import user_path
from aevlp.system import require_posix
from aevlp.text import SayHandler, printable, say
from aevlp.verbs import train

VERBS = (
    "import", "prepare", "eval", "label", "predict", "export", "list", "show", "schema", "compare", "report", "sync", "watch",
    "review", "dashboard", "sweep", "suite", "cache", "bench",
)  # fmt: skip


MAX_LETTERS = 2000  # of a line of an error, which may repeat a word of a file
BATCHES = ("trainer.batch_size", "trainer.eval_batch_size", "labeler.encoder.batch_size")  # unless a verb has others


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0 done, 1 failed, 2 wrong usage or configuration, 128 + n stopped by signal n.

    On Linux that is 130 (Ctrl-C), 143 (SIGTERM), 129 (SIGHUP), 138 (SIGUSR1) and 140 (SIGUSR2).
    """
    words = list(sys.argv[1:] if argv is None else argv)
    batches = BATCHES
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal or pipe that is not UTF-8 gets question marks; stderr escapes
    try:
        require_posix()  # before a verb imports what only these systems have
        parser = build_parser()
        if any("\0" in word for word in words):
            parser.error("an argument holds a zero byte")
        if not words:
            parser.print_help()
            return 2
        arguments = parser.parse_args(words)
        batches = arguments.batches
        logging.getLogger("aevlp").handlers = [SayHandler()]
        for name, value in vars(arguments).items():
            setattr(arguments, name, _from_home(value))
        for plugin in arguments.plugin:
            registry.load_plugin(plugin)
        ranks.require(many=arguments.many_processes)
        with _terminable():
            code = int(arguments.run(arguments) or 0)
        if sys.stdout is not None:  # closed, as by >&-
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
        if error.filename is None and error.errno in (errno.ENOSPC, errno.EDQUOT):  # a file would have its name
            say(f"error: standard output: {error.strerror}", error=True)
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # not once more at the end
            return 1
        if error.filename is None:
            raise
        say(f"error: {os.fsdecode(error.filename)}: {error.strerror}", error=True)
        return 2 if error.errno == errno.ENAMETOOLONG else 1
    except RuntimeError as error:
        if type(error).__name__ != "OutOfMemoryError":  # that of torch, which need not be imported here
            raise
        say(f"error: {GPU_FULL.format(' or '.join(batches))}", error=True)
        return 1
    except KeyboardInterrupt as error:
        say("error: interrupted", error=True)
        return 143 if isinstance(error, _Terminated) else 130


class _Terminated(KeyboardInterrupt):
    """SIGTERM where nothing is saved before the end."""


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM end a command as Ctrl-C does, so that what was written aside is removed; training has its own handler."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return

    def end(*_: object) -> NoReturn:
        raise _Terminated

    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _from_home(value: Any) -> Any:
    """What a flag was given, with `~` as the home folder: the shell leaves it in `--out=~/x` and in quotes."""
    if isinstance(value, list):
        return [_from_home(item) for item in value]
    return type(value)(user_path(value)) if isinstance(value, str | Path) and str(value).startswith("~") else value


class _Parser(argparse.ArgumentParser):
    color = property(lambda _: False, lambda *_: None)  # Python 3.14 would put escapes into help and errors
    words: ClassVar[list[str]] = []

    def __init__(self, *words: Any, **settings: Any):
        super().__init__(*words, **settings)
        self.register("action", "parsers", _Verbs)

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Of the whole command, whose words parsers of its verbs need where one is wrong."""
        _Parser.words = list(args or ())
        return super().parse_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        wrong = re.fullmatch(r"(argument .*?: )?invalid choice: '(.*?)'.* \(choose from (.*)\)", message)
        if wrong:
            word = wrong[2]
            before = self.words[self.words.index(word) - 1] if word in self.words[1:] else ""
            if before.startswith("--") and "=" not in before and before not in self._option_string_actions:
                self.error(f"unrecognized arguments: {before} {word}")  # the value of a flag that there is not
            known = [part.strip().strip("'") for part in wrong[3].split(",")]  # newer versions of Python print no quotes
            meant = _meant(word) or suggest(word, known)
            where = "" if "did you mean" in meant or wrong[1] in (None, "argument : ") else wrong[1]
            is_change = "=" in word
            message = f"{word!r} is no value on its own; write --set {word}" if is_change else f"{where}unknown {word!r}{meant}"
        left_over = message.partition("unrecognized arguments: ")[2].split()
        if left_over:
            wrong_flag = left_over[0].startswith("--")
            message += _instead(build_parser(), left_over[0], self.words) if wrong_flag else _meant(left_over[0])
        super().error(printable(message))

    def _print_message(self, message: str, file: Any = None) -> None:
        """All that argparse prints: help, usage, what is wrong with an argument."""
        if message:
            say(*message.removesuffix("\n").split("\n"), error=file is sys.stderr)


class _Verbs(argparse._SubParsersAction):
    """Flags before a verb count as those behind it do, whatever the verb's defaults; one that it does not take is refused."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        flags = [action for action in parser._actions if action.option_strings and action.default is not argparse.SUPPRESS]
        before = {action: getattr(namespace, action.dest) for action in flags}
        super().__call__(parser, namespace, values, option_string)
        taken = _flags_of(self.choices[values[0]], values[1:])
        for action, given in before.items():
            if given == action.default:
                continue
            flag = action.option_strings[-1]
            if flag not in taken:
                parser.error(f"{flag} stands before {values[0]}, which does not take it")
            its = taken[flag]
            if its.dest != action.dest:  # --name of a study is none of a run
                setattr(namespace, action.dest, action.default)
            behind = getattr(namespace, its.dest)
            if behind == its.default:
                setattr(namespace, its.dest, given)
            elif isinstance(given, list):
                setattr(namespace, its.dest, given + behind)


def _flags_of(parser: argparse.ArgumentParser, words: Sequence[str]) -> dict[str, argparse.Action]:
    """The flags that a verb takes, and the action of it that the words name."""
    found: dict[str, argparse.Action] = {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            chosen = next((word for word in words if word in action.choices), None)
            found |= {} if chosen is None else _flags_of(action.choices[chosen], words)
        found |= dict.fromkeys(action.option_strings, action)
    return found


def _instead(parser: argparse.ArgumentParser, wrong: str, words: Sequence[str]) -> str:
    """What to write in place of a flag that there is not: a setting that is called so, or a flag that is called nearly so."""
    from aevlp.config.validation import settings_called

    given = [word for word in words if word.startswith("--")]
    flag, is_told, value = next((word for word in given if word.startswith(wrong)), wrong).partition("=")
    if not is_told and flag in words:
        value = next((word for word in words[words.index(flag) + 1 :][:1] if not word.startswith("--")), "")
    verbs = next(action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    verb = next((word for word in words if word in verbs), "")
    taken = _flags_of(verbs.get(verb, parser), words)
    paths: list[str] = []
    if verb in _TRAINING:
        paths = settings_called(_values(words), flag.removeprefix("--").replace("-", "_"))
        paths = [path for path in paths if "--resume" not in words or path == "trainer.epochs"]  # all that it may change
    near = [f"--set {shlex.quote(f'{path}={value}') if value else f'{path}=...'}" for path in paths]
    near = near or nearest(flag, (one for one in taken if one.startswith("--") and one != "--help"))[:1]
    return f"; did you mean {' or '.join(near)}?" if near else ""


_TRAINING = ("", "suite", "sweep", "show", "cache")  # verbs of which --set takes what a run has


def _values(words: Sequence[str]) -> dict[str, Any]:
    """The settings of the experiment that the words name, if it is one: then those of its loss are known, too."""
    from aevlp.config.loading import load_experiment

    named = [after if word == "--exp" else word.partition("=")[2] for word, after in itertools.pairwise([*words, ""])
             if word.startswith("--exp")]  # fmt: skip
    with contextlib.suppress(AevlpError, OSError):
        return load_experiment(named[0]).to_dict() if named else {}
    return {}


def _meant(word: str) -> str:
    """What to write where a word names an experiment, or the method of some, without --exp."""
    names = files(EXPERIMENTS)
    found = [word] if word in names else sorted(name for name in names if name.endswith(f"_{word}"))
    return f"; did you mean --exp {' or '.join(found)}?" if found else ""


def build_parser() -> argparse.ArgumentParser:
    """All verbs and flags."""
    parser = _Parser(
        prog=PROGRAM, allow_abbrev=False, description="Single-positive multi-label learning with vision-language pseudo-labels.",
        epilog=f"`{COMMAND} --exp digits_gpr` trains; `{COMMAND} list` shows what else there is.",
    )  # fmt: skip
    parser.set_defaults(run=train.run, many_processes=True, batches=BATCHES)
    parser.add_argument("--version", action="version", version=f"aevlp {__version__}")
    parser.add_argument("--plugin", action="append", default=[], metavar="FILE.py", help="Python file that registers components")
    train.add_arguments(parser)
    verbs = parser.add_subparsers(title="other verbs", metavar="")
    for name in VERBS:
        _add_verb(verbs, name, importlib.import_module(f"aevlp.verbs.{'import_' if name == 'import' else name}"))
    return parser


def _add_verb(verbs: Any, name: str, module: Any) -> None:
    text = module.HELP
    parser = verbs.add_parser(name, help=text, description=text.replace("%%", "%"), allow_abbrev=False)
    module.add_arguments(parser)
    actions = [action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    for taking in (parser, *(action for choices in actions for action in choices.values())):
        taking.add_argument("--plugin", action="append", default=[], metavar="FILE.py", help=argparse.SUPPRESS)
    parser.set_defaults(
        run=module.run, many_processes=getattr(module, "MANY_PROCESSES", False), batches=getattr(module, "BATCHES", BATCHES)
    )
