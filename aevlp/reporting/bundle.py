"""`report --bundle`: what somebody else needs to compare runs with theirs, in one archive without photos."""

from __future__ import annotations

import json
import os
import re
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aevlp.config.errors import AevlpError, in_one_line
from aevlp.config.loading import read_mapping
from aevlp.config.yaml_reading import write_yaml
from aevlp.input import open_file
from aevlp.masking import mask
from aevlp.output import output_file, require_own
from aevlp.reading import read_bytes, read_json
from aevlp.runs.collect import Run, collect, require_runs
from aevlp.text import counted, say

HIDDEN = "PATH"
LEFT_OUT = "photos, their names, scores and labels of single photos, weights, plugins, changes to the code, W&B settings"
_EARLIEST = (1980, 1, 1, 0, 0, 0)
# From where a path begins, to the end: what follows a space may belong to it.
_PATH = re.compile(r"(?:(?<![\w:/.~-])(?:~\w*|\.{1,2})?/|(?<!\w)[A-Za-z]:[\\/]|file:|\\\\).*", re.DOTALL)
# The last words of settings that name a file or folder, however few folders it lies in.
_OF_FILES = ("root", "table", "arrays", "images", "texts", "classes", "prompt_names", "answers", "relation", "weights")


def write_bundle(paths: list[Path], target: Path) -> None:
    """Write the archive, complete or not at all, and print what it holds and what it does not.

    Raises:
        ConfigError: there is no run, or `target` is no path for a file, or holds something else.
        DataError: the file cannot be written.
    """
    require_own(target, "bundle", _is_bundle, "--bundle")
    found = collect(paths)
    require_runs(found, paths)
    held: Counter[str] = Counter()
    notes = [*found.notes, *(f"{study.name}: is a study, whose trials are not bundled" for study in found.studies)]
    with output_file(target, "--bundle") as aside, zipfile.ZipFile(aside, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, run in _named(found.runs):
            for file, read in FILES.items():
                if not run.has(file):
                    continue
                try:
                    content = read(run.path / file)
                except (AevlpError, OSError, ValueError) as error:
                    notes.append(f"{file} of {name} is left out: {in_one_line(error)}")
                    continue
                archive.writestr(zipfile.ZipInfo(f"{name}/{file}", _EARLIEST), content, zipfile.ZIP_DEFLATED)
                held[file] += 1
    say(
        f"bundle   {target}  {target.stat().st_size / 1e6:.1f} MB, {counted(len(found.runs), 'run')}",
        f"holds    {', '.join(f'{file} ({number})' for file, number in held.items())}",
        f"without  {LEFT_OUT}",
        f"hidden   paths of this machine, which read {HIDDEN}",
        "look at  names of classes, experiments and runs, which are in it, before you send it",
        "open     unpack it into a folder, and give that to `compare` or `report`",
        *(f"note     {note}" for note in notes),
    )


def _is_bundle(path: Path) -> bool:
    try:
        with open_file(path) as file, zipfile.ZipFile(file) as archive:
            return all(name.count("/") == 1 and name.rpartition("/")[2] in FILES for name in archive.namelist())
    except zipfile.BadZipFile:
        return False


def _named(runs: list[Run]) -> list[tuple[str, Run]]:
    """Each run by the name of its folder, numbered where two are called alike."""
    seen: Counter[str] = Counter()
    named = []
    for run in runs:
        name = Path(os.path.realpath(run.path)).name
        seen[name] += 1
        named.append((name if seen[name] == 1 else f"{name}-{seen[name]}", run))
    return named


def _config(path: Path) -> str:
    config = _without_paths(read_mapping(path)[0])
    tracking = config.get("tracking")
    if isinstance(tracking, dict):  # names of users and teams
        config["tracking"] = {name: tracking[name] for name in ("name",) if name in tracking}
    return write_yaml(config)


def _environment(path: Path) -> str:
    environment = read_json(path)
    if isinstance(environment, dict) and isinstance(environment.get("git"), dict):
        environment["git"].pop("diff", None)
    return _as_json(environment)


def _as_json(data: Any) -> str:
    return json.dumps(_without_paths(data), indent=1, ensure_ascii=False) + "\n"


FILES: dict[str, Callable[[Path], str | bytes]] = {
    "config.yaml": _config,
    "environment.json": _environment,
    "summary.json": lambda path: _as_json(read_json(path)),
    "data.json": read_bytes,
    "classes.json": read_bytes,
    "precision.json": lambda path: _as_json(read_json(path)),
    "labeler.json": lambda path: _as_json(read_json(path)),
    "metrics.jsonl": read_bytes,
    "per_class.csv": read_bytes,
    "pseudo_per_class.csv": read_bytes,
}
"""What is taken of a run, and how. Counts, hashes, figures and class names are taken as they are."""


def _without_paths(data: Any, setting: str = "") -> Any:
    if isinstance(data, dict):
        return {key: _without_paths(value, key) for key, value in data.items()}
    if isinstance(data, list):
        return [_without_paths(value) for value in data]
    return mask(_hidden(data, setting)) if isinstance(data, str) else data


def _hidden(text: str, setting: str = "") -> str:
    """The text without what may be a path of this machine.

    A relative one is hidden if it is there, has several folders and no space, or is the value of a setting of files; what
    `a.b=` gives is looked at by itself. A name of the hub has one slash.
    """
    of_files = setting.rpartition(".")[2] in _OF_FILES
    several = text.count("/") > 1 and re.fullmatch(r"[^\s:=]+/[^\s:=]+", text)
    if several or ("/" in text and (of_files or os.path.lexists(text))):
        return HIDDEN
    given = re.fullmatch(r"([\w.\[\]-]+)=(.*)", text, re.DOTALL)
    if given:
        return f"{given[1]}={_hidden(given[2], given[1])}"
    return _PATH.sub(HIDDEN, text)
