"""Runs as their folders tell of them, whole or not."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from aevlp.command import COMMAND
from aevlp.config.errors import AevlpError, ConfigError
from aevlp.config.loading import from_dict, read_mapping
from aevlp.data.fingerprint import DATA_FILE, Fingerprint
from aevlp.data.npz import read_npz
from aevlp.folders import runs_root
from aevlp.reading import number, read_json, read_table
from aevlp.runs.folder import STUDY_FILES, find_run, find_study, named
from aevlp.runs.lock import look
from aevlp.tracking.jsonl import read_metrics

OWN_FILES = ("config.yaml", "metrics.jsonl", "summary.json")
SCHEMA_VERSION = 1
MAX_LETTERS = 300  # of a name or a problem, which may repeat what a damaged file holds
ENDINGS = {
    "running": "under way",
    "stopped": "stopped by a signal",
    "failed": "ended by an error",
    "crashed": "its process died",
}
NO_RUN = "holds no file of a run"
TRAINS_ONE = f"`{COMMAND} --exp NAME` trains one, and $AEVLP_RUNS says where runs are kept elsewhere"


@dataclass(eq=False)
class Run:
    """What one run folder holds, read when it is asked for. What is absent or unreadable is empty, and named in `problems`."""

    path: Path
    state: str = "unfinished"
    """finished; running; stopped by a signal, failed by an error, crashed (its process is gone); unfinished, where it cannot be
    told which; or damaged."""
    problems: list[str] = field(default_factory=list)
    """What is wrong with the files that were read so far."""

    @cached_property
    def summary(self) -> dict[str, Any]:
        """summary.json: words and finite numbers."""
        return self._flat("summary.json", self._read("summary.json", _read_object) or {})

    @cached_property
    def config(self) -> dict[str, Any]:
        """config.yaml as it is written, not validated: an older version may have had other settings."""
        config = self._read("config.yaml", lambda path: read_mapping(path)[0], "config.yaml is missing") or {}
        version = config.get("schema_version", SCHEMA_VERSION)
        if version != SCHEMA_VERSION:
            self.say(f"written with layout version {version}, this is {SCHEMA_VERSION}")
        return config

    @cached_property
    def epochs(self) -> list[dict[str, Any]]:
        """The rows of metrics.jsonl that close an epoch."""
        rows = self._read("metrics.jsonl", read_metrics, "metrics.jsonl is missing")
        if rows == [] and self.finished:
            self.say("metrics.jsonl is empty")
        rows = rows or []
        return [self._flat("metrics.jsonl", row) for row in rows if "train/loss" in row]

    @cached_property
    def environment(self) -> dict[str, Any]:
        """environment.json."""
        return self._read("environment.json", _read_object, "environment.json is missing") or {}

    @property
    def experiment(self) -> str:
        """Name of the experiment; that of the folder where no file tells."""
        return _word(self.summary.get("experiment")) or _word(self.config.get("name")) or self.path.name

    @property
    def seed(self) -> int:
        """Seed, 0 where it is not told."""
        seed = self.summary["seed"] if "seed" in self.summary else self.config.get("seed")
        return seed if isinstance(seed, int) and number(seed) is not None else 0

    @property
    def given_name(self) -> str:
        """What --name called it; empty where it did not."""
        if "name" in self.summary:
            return _word(self.summary["name"])
        tracking = self.config.get("tracking") if not self.finished else None  # else 10,000 files would be read for it
        return _word(tracking.get("name")) if isinstance(tracking, dict) else ""

    @cached_property
    def config_hash(self) -> str:
        """Hash of the settings; empty where they cannot be read by this version."""
        if "config_hash" in self.summary:
            return _word(self.summary["config_hash"])
        try:
            return from_dict(self.config, str(self.path)).hash
        except AevlpError:
            return ""

    @cached_property
    def data(self) -> Fingerprint | None:
        """What the run was trained on; None where it does not tell."""
        found: Fingerprint | None = self._read(DATA_FILE, lambda path: Fingerprint.from_dict(_read_object(path)))
        return found

    @property
    def data_fingerprint(self) -> str:
        """Hash of what the run was trained on; empty where it does not tell, as an older version began it."""
        if "config_hash" in self.summary:
            return _word(self.summary.get("data_fingerprint"))
        data = self.data
        return "" if data is None else data.hash

    @property
    def finished(self) -> bool:
        """Whether the run has come to its end."""
        return self.state == "finished"

    def table(self, name: str) -> list[dict[str, str]]:
        """Rows of a CSV file of the folder; empty where there is none."""
        return self._read(name, read_table) or []

    def arrays(self, name: str) -> dict[str, np.ndarray]:
        """Arrays of an .npz file of the folder; empty where there is none, or it cannot be read."""
        return self._read(name, read_npz) or {}

    def has(self, name: str) -> bool:
        """Whether there is a file of that name, or it cannot be told because the folder is another user's."""
        try:
            os.lstat(self.path / name)
        except OSError as error:
            return isinstance(error, PermissionError)
        return True

    def say(self, problem: str) -> None:
        """Add a problem, once."""
        if problem[:MAX_LETTERS] not in self.problems:
            self.problems.append(problem[:MAX_LETTERS])

    def _read(self, name: str, read: Callable[[Path], Any], missing: str | None = None) -> Any:
        path = self.path / name
        if not self.has(name):
            if missing:
                self.say(missing)
            return None
        try:
            return read(path)
        except FileNotFoundError:
            self.say(f"{name} cannot be read: a link to nothing")
        except (AevlpError, ValueError) as error:
            what = str(error).splitlines()[0].removeprefix(f"{path}: cannot be read: ").removeprefix(f"{path}: ")
            self.say(f"{name} cannot be read: {what.replace(f'{path}:', 'line ').removeprefix(f'{path}, ')}")
        return None

    def _flat(self, name: str, values: dict[str, Any]) -> dict[str, Any]:
        """The values as they should be: finite numbers, or null, for metrics (names with a slash), else also words."""
        wrong = [key for key, value in values.items() if not _fits(key, value)]
        if not wrong:
            return values
        self.say(f"{name}: {wrong[0]} is no number" + (f", nor are {len(wrong) - 1} others" if wrong[1:] else ""))
        return values | dict.fromkeys(wrong)


def _fits(key: str, value: Any) -> bool:
    return value is None or number(value) is not None or (isinstance(value, str | bool) and "/" not in key)


def _word(value: Any) -> str:
    return value[:MAX_LETTERS] if isinstance(value, str) else ""


@dataclass
class Found:
    """What some paths lead to."""

    runs: list[Run] = field(default_factory=list)
    """Each once; those of a study's trials only where the path names them."""
    studies: list[Path] = field(default_factory=list)
    """Folders of studies, each once."""
    notes: list[str] = field(default_factory=list)
    """A line for each folder that is neither, or may not be read."""


def collect(paths: list[Path]) -> Found:
    """Runs and studies. A path is one of them, a run id, or a folder of them.

    Raises:
        ConfigError: a path is neither.
    """
    runs: dict[str, Run] = {}
    studies: dict[str, Path] = {}
    found = Found()
    for path in paths:
        for folder in _folders(path, found.notes):
            names = _names(folder, found.notes)
            if names is None:
                continue
            real = os.path.realpath(folder)
            if not names.isdisjoint(OWN_FILES):
                if real not in runs:
                    runs[real] = read_run(folder)
            elif not names.isdisjoint(STUDY_FILES):
                studies.setdefault(real, folder)
            else:
                found.notes.append(f"{folder.name}: {NO_RUN}")
    found.runs, found.studies = list(runs.values()), list(studies.values())
    return found


def _names(folder: Path, notes: list[str]) -> set[str] | None:
    """Names of all files in a folder; None, and a note, where it may not be read."""
    try:
        return set(os.listdir(folder))
    except OSError as error:
        notes.append(f"{folder.name}: cannot be read: {error.strerror}")
        return None


def _folders(path: Path, notes: list[str]) -> list[Path]:
    """The folder itself where it is a run or a study; else those in it, and those in its `sweeps`."""
    if not os.path.isdir(path):
        if path == runs_root():  # the place where runs would be, rather than the name of one
            return []
        return [find_study(path) or find_run(str(path))]
    names = _names(path, notes)
    if names is None or not names.isdisjoint(OWN_FILES + STUDY_FILES):
        return [] if names is None else [named(path)]
    inside = _visible(path, names)
    studies = [study for study in _visible(path / "sweeps", _names(path / "sweeps", notes) or set())] if "sweeps" in names else []
    return [folder for folder in inside if folder.name not in ("sweeps", "suites")] + studies or [path]


def _visible(path: Path, names: set[str]) -> list[Path]:
    return [path / name for name in sorted(names) if not name.startswith(".") and os.path.isdir(path / name)]


def read_run(folder: Path) -> Run:
    """A run and how it stands, whatever its folder holds."""
    run = Run(folder)
    run.state, ending = (_word(run.summary.get("state")) or "damaged", "") if run.summary else _without_summary(run)
    if not run.finished:
        trainer = run.config.get("trainer")
        planned = trainer.get("epochs") if isinstance(trainer, dict) else None
        last = run.epochs[-1].get("trainer/epoch", len(run.epochs)) if run.epochs else 0
        told = f"not finished: {last} of {planned if planned is not None else '?'} epochs{ending}"
        run.problems.insert(0, told[:MAX_LETTERS])
    elif "experiment" not in run.summary or "config_hash" not in run.summary:
        run.say("summary.json is of an older version")
    return run


def _without_summary(run: Run) -> tuple[str, str]:
    """State of a run that has not ended, and how its end is told."""
    _ = run.config, run.epochs, run.environment  # read for what may be wrong with them
    if any("cannot be read" in line for line in run.problems):
        return "damaged", ""
    state, host = look(run.path)
    if state in ENDINGS:
        return state, f", {ENDINGS[state]}"
    return state, "" if host is None else f"; last seen on {host}, and from here it cannot be told whether it runs"


def _read_object(path: Path) -> dict[str, Any]:
    data = read_json(path)
    if not isinstance(data, dict):
        raise ValueError("must hold a JSON object")
    return data


def require_runs(found: Found, paths: list[Path]) -> None:
    """Raise ConfigError where nothing was found."""
    if not found.runs and not found.studies:
        where = ", ".join(os.fspath(path) for path in paths)
        told = {f"{path.name}: {NO_RUN}" for path in paths}  # which the line above says of them
        others = "".join(f"\n{note}" for note in found.notes if note not in told)
        raise ConfigError(f"there is no run in {where}; {TRAINS_ONE}{others}")
