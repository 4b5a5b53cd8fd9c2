"""Where configurations lie: experiments/<dataset>/<method>.yaml is the experiment <dataset>_<method>.

An experiment of your own may also lie in experiments/ itself, under its whole name.
"""

from __future__ import annotations

import os
from pathlib import Path

from aevlp import folders
from aevlp.command import COMMAND
from aevlp.config.errors import ConfigError, suggest

EXPERIMENTS, SUITES = "experiments", "experiments/suites"


def config_roots() -> list[Path]:
    """Folders searched for configs/, experiments/ and sweeps/: next to run.py or installed, then the working folder."""
    return list(dict.fromkeys([folders.checkout() or folders.SHIPPED, Path.cwd()]))


def files(folder: str) -> dict[str, Path]:
    """YAML files in `folder` of the configuration roots by name, the first root winning."""
    return {name: path for root in reversed(config_roots()) for name, path in _files_in(root, folder).items()}


def _files_in(root: Path, folder: str) -> dict[str, Path]:
    deeper = sorted((root / folder).glob("[!.]*/[!.]*.yaml")) if folder == EXPERIMENTS else []
    found = {experiment_name(path): path for path in deeper if path.parent != root / SUITES}
    return found | {path.stem: path for path in sorted((root / folder).glob("[!.]*.yaml"))}


def known_file(folder: str, name: str, where: str = "") -> Path | None:
    """The file of `files` of this name, if any; ConfigError where it hides another one that the working folder has."""
    found = [path for root in config_roots() if (path := _files_in(root, folder).get(name))]
    for hidden in found[1:]:
        if hidden.read_bytes() != found[0].read_bytes():
            also = "" if folder.startswith("configs/") else ", or give its path"
            raise ConfigError(f"{where}{display(hidden)} here is hidden by the shipped one; rename it{also}")
    return found[0] if found else None


def experiment_name(path: Path) -> str:
    """The name of the experiment in a file."""
    return f"{path.parent.name}_{path.stem}" if path.parent.parent.name == EXPERIMENTS else path.stem


def dataset_of(experiment: Path) -> str:
    """The dataset whose folder an experiment lies in; empty for one that lies elsewhere."""
    return experiment.parent.name if experiment.parent.parent.name == EXPERIMENTS else ""


def file_of(kind: str, plural: str, name: str, folder: str) -> Path:
    """The file of a study or suite, given by its path or by its name in `folder`; ConfigError where there is none."""
    if _is_path(name):
        if not os.path.isfile(name):
            raise ConfigError(f"{kind} {name}: no such file")
        return Path(name)
    return _known(kind, plural, name, folder)


def find_experiment(name: str, where: str = "") -> Path:
    """The file of an experiment, given by its path or by its name; ConfigError where there is none."""
    if not _is_path(name):
        return _known("experiment", "experiments", name, EXPERIMENTS, where)
    path = folders.user_path(name)
    if os.path.isfile(path):
        return path.resolve()
    moved = files(EXPERIMENTS).get(path.stem) if path.parent.name == EXPERIMENTS else None
    now = "no such file" if moved is None else f"is now {display(moved)}; its name, {path.stem}, stays"
    raise ConfigError(f"{where}experiment {name}: {now}")


def display(path: Path) -> str:
    """A path as messages have it: relative to the folder in which configurations were searched."""
    for root in config_roots():
        if path.is_relative_to(root):
            return str(path.relative_to(root))
    return str(path)


def _known(kind: str, plural: str, name: str, folder: str, where: str = "") -> Path:
    found = known_file(folder, name, where)
    if found is None:
        raise ConfigError(f"{where}unknown {kind} {name!r}{suggest(name, files(folder))} (see `{COMMAND} list {plural}`)")
    return found


def _is_path(name: str) -> bool:
    return name.endswith((".yaml", ".yml")) or "/" in name
