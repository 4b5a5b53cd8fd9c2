"""Commands of the manual that are looked at but not run: are there such programs, flags, experiments, settings and extras?"""

from __future__ import annotations

import contextlib
import io
import re
from typing import Any

from doc_pages import ROOT, Command

from aevlp.cli import build_parser
from aevlp.config import registry
from aevlp.config.errors import AevlpError
from aevlp.config.loading import load_experiment
from aevlp.config.schema import ExperimentConfig
from aevlp.suites.plan import Plan, load_plan
from aevlp.sweeps.study_file import load_study

TOOLS = {
    "bash", "cat", "cp", "git", "head", "less", "ls", "mkdir", "mkdocs", "mypy", "nohup", "open", "pre-commit", "pytest", "ruff",
    "sbatch", "scontrol", "tail", "unzip", "wandb", "wget", "xdg-open",
}  # fmt: skip


class Wrong(Exception):
    """What is wrong with a command."""


def program_words(command: Command) -> tuple[str, ...] | None:
    """What aevlp was given, after "aevlp", or "launched" by torchrun or srun; a script after "script"; None for other tools."""
    words = command.words
    if words[0] == "nohup":
        words = words[1:]
    if words[0] in ("srun", "torchrun"):
        if "run.py" not in words:
            raise Wrong("starts nothing of this project")
        return ("launched", *words[words.index("run.py") + 1 :])
    if words in (("python",), ("python3",)):
        return None
    if words[0] in ("python", "python3"):
        if words[1:3] == ("-m", "aevlp"):
            return ("aevlp", *words[3:])
        if words[1] == "run.py":
            return ("aevlp", *words[2:])
        if words[1] == "-m":
            return None if words[2] in ("venv", "pip") else _unknown(words[2])
        if (ROOT / words[1]).is_file():
            return None
        return ("script", *words[1:])
    if words[0] == "aevlp":
        return ("aevlp", *words[1:])
    if words[0] in ("pip", "pip3"):
        check_extras(words)
        return None
    return None if words[0] in TOOLS else _unknown(words[0])


def _unknown(program: str) -> None:
    raise Wrong(f"{program}: unknown to tests/doc_checks.py: add it there, or mark the block with <!-- not run: why -->")


def check_extras(words: tuple[str, ...]) -> None:
    """Wrong unless the extras that a `pip install` names are those of setup.cfg."""
    known = set(re.findall(r"^([\w]+) =$", (ROOT / "setup.cfg").read_text().partition("[options.extras_require]")[2], re.M))
    named = {extra for word in words for extras in re.findall(r"^(?:\.|aevlp)\[([\w,]+)\]$", word) for extra in extras.split(",")}
    if not named <= known:
        raise Wrong(f"setup.cfg has no extra {', '.join(sorted(named - known))}")


def parse(words: tuple[str, ...]) -> Any:
    """The arguments of a command line; Wrong with what argparse says."""
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
            return build_parser().parse_args(words)
    except SystemExit as stop:
        if stop.code == 0:  # --help, --version
            return build_parser().parse_args(["list"])
        raise Wrong(errors.getvalue().strip().rpartition("\n")[2]) from None


def check(arguments: Any) -> None:
    """Wrong unless the experiment that a command names, with its changes, is valid."""
    exp, words = getattr(arguments, "exp", None), getattr(arguments, "overrides", [])
    with parts_put_back():
        try:
            for plugin in arguments.plugin:
                registry.load_plugin(plugin)
            if exp is not None:
                load_experiment(exp, words)
            elif hasattr(arguments, "suite"):
                plan(arguments)
            elif getattr(arguments, "action", None) == "run":
                load_experiment(load_study(arguments.study)[1].base, words)
        except AevlpError as error:
            raise Wrong(str(error)) from error


def plan(arguments: Any) -> Plan:
    """What a suite would run."""
    return load_plan(
        arguments.suite, arguments.dataset, 1, rows=arguments.rows, own_stop_rules=arguments.own_stop_rules,
        words=tuple(arguments.overrides),
    )  # fmt: skip


def loaded(arguments: Any) -> ExperimentConfig:
    """The experiment that a command names; Wrong where it is not valid."""
    check(arguments)
    with parts_put_back():
        for plugin in arguments.plugin:
            registry.load_plugin(plugin)
        return load_experiment(arguments.exp or "digits_an", getattr(arguments, "overrides", []))


@contextlib.contextmanager
def parts_put_back():
    """Forget the plugins that were loaded inside: another page may have a part of the same name."""
    known, plugins = {kind: dict(found) for kind, found in registry._components.items()}, list(registry.plugin_files)
    try:
        yield
    finally:
        forget(known)
        registry.plugin_files[:] = plugins


def forget(known: dict[str, dict[str, Any]]) -> None:
    """Leave of the parts of plugins only those that are known."""
    for kind, found in known.items():
        loaded = registry._components[kind]
        for name in [name for name, part in loaded.items() if part.build.__module__.startswith("aevlp_plugin_")]:
            if name not in found:
                del loaded[name]
