"""The plugins that a run or a study was made with: copies in its folder, by which it is opened again.

A copy is code. It is loaded by itself only from below the user's own folder of runs; from elsewhere, it may be a stranger's.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aevlp import files
from aevlp.config import registry
from aevlp.config.errors import ConfigError
from aevlp.config.loading import read_mapping
from aevlp.folders import runs_root
from aevlp.input import open_file
from aevlp.text import say

FOLDER = "plugins"


def keep(folder: Path) -> None:
    """Copy the files that were given with --plugin into a folder of a run or a study; one there is of that name stays.

    Raises:
        ConfigError: a file has gone since it was loaded.
        OSError: the folder cannot be written.
    """
    for given in map(Path, registry.plugin_files):
        target = folder / FOLDER / given.name
        if not target.exists():
            content = _content(given, f"--plugin {given}")
            target.parent.mkdir(exist_ok=True)
            files.write(target, content)


def kept(folder: Path) -> list[Path]:
    """The copies in a folder of a run or a study."""
    return sorted((folder / FOLDER).glob("*.py"))


def load_kept(folder: Path, config: str = "config.yaml") -> None:
    """Load the copies in `folder` where `config`, a file in it, names a part that is not known without.

    A file of the same name that was given with --plugin is taken in place of the copy, and told where it is another.

    Raises:
        ConfigError: the folder is not below the user's own folder of runs.
    """
    given = {Path(file).name: Path(file) for file in registry.plugin_files}
    missing = []
    for copy in kept(folder):
        if copy.name not in given:
            missing.append(copy)
        elif _content(copy, str(copy)) != _content(given[copy.name], f"--plugin {given[copy.name]}"):
            say(f"note  --plugin {given[copy.name]} is taken, and is not what {folder.name} was made with, {copy}", error=True)
    if not missing or set(_names(read_mapping(folder / config)[0])) <= _known():
        return
    if not folder.resolve().is_relative_to(runs_root().resolve()):
        words = " ".join(f"--plugin {shlex.quote(str(copy))}" for copy in missing)
        raise ConfigError(
            f"{folder}: needs code that came with it, which is run by itself only below {runs_root()}/; read it, and add {words}"
        )
    for copy in missing:
        registry.load_plugin(copy)


def _content(path: Path, shown: str) -> bytes:
    try:
        with open_file(path) as file:
            return file.read()
    except OSError as error:
        raise ConfigError(f"{shown}: cannot be read: {error.strerror or error}") from error


def _names(values: Any) -> Iterator[tuple[str, str]]:
    """Kind and name of the parts in a configuration, and of the parts of these."""
    waiting = [(kind, values.get(section)) for section, kind in registry.SECTIONS.items()]
    while waiting:
        kind, found = waiting.pop()
        if isinstance(found, dict):
            waiting += [(registry.PARTS[key][0], value) for key, value in found.items() if key in registry.PARTS]
            if isinstance(found.get("name"), str):
                yield kind, found["name"]


def _known() -> set[tuple[str, str]]:
    return {(kind, name) for kind in registry.KINDS for name in registry.names(kind)}
