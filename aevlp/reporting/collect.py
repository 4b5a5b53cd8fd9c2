"""Runs as their folders tell of them, whole or not."""

from __future__ import annotations

import csv
import io
import json
import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from aevlp.config.errors import AevlpError, ConfigError
from aevlp.config.loading import from_dict, read_mapping
from aevlp.data.fingerprint import DATA_FILE, Fingerprint
from aevlp.tracking.jsonl import read_metrics
from aevlp.training.run_folder import STUDY_FILES, find_run, find_study
from aevlp.training.run_lock import look

OWN_FILES = ("config.yaml", "metrics.jsonl", "summary.json")
SCHEMA_VERSION = 1
ENDINGS = {
    "running": "under way",
    "stopped": "stopped by a signal",
    "failed": "ended by an error",
    "crashed": "its process died",
}


@dataclass
class Run:
    """What one run folder holds. What is absent or unreadable is empty, and named in `problems`."""

    path: Path
    config: dict[str, Any] = field(default_factory=dict)
    """config.yaml as it is written, not validated: an older version may have had other settings."""
    summary: dict[str, Any] = field(default_factory=dict)
    epochs: list[dict[str, Any]] = field(default_factory=list)
    """The rows of metrics.jsonl that close an epoch."""
    environment: dict[str, Any] = field(default_factory=dict)
    state: str = "unfinished"
    """finished; running; stopped by a signal, failed by an error, crashed (its process is gone); unfinished, where it cannot be
    told which; or damaged."""
    problems: list[str] = field(default_factory=list)

    @property
    def experiment(self) -> str:
        """Name of the experiment; that of the folder where no file tells."""
        return str(self.summary.get("experiment") or self.config.get("name") or self.path.name)

    @property
    def seed(self) -> int:
        """Seed, 0 where it is not told."""
        seed = self.summary.get("seed", self.config.get("seed", 0))
        return seed if isinstance(seed, int) else 0

    @property
    def config_hash(self) -> str:
        """Hash of the settings; empty where they cannot be read by this version."""
        if "config_hash" in self.summary:
            return str(self.summary["config_hash"])
        try:
            return from_dict(self.config, str(self.path)).hash
        except AevlpError:
            return ""

    @property
    def data(self) -> Fingerprint | None:
        """What the run was trained on, read anew; None where it does not tell."""
        found: Fingerprint | None = self._read(DATA_FILE, lambda path: Fingerprint.from_dict(_read_object(path)))
        return found

    @property
    def data_fingerprint(self) -> str:
        """Hash of what the run was trained on; empty where it does not tell, as an older version began it."""
        if "config_hash" in self.summary:
            return str(self.summary.get("data_fingerprint") or "")
        data = self.data
        return "" if data is None else data.hash

    @property
    def finished(self) -> bool:
        """Whether the run has come to its end."""
        return self.state == "finished"

    def table(self, name: str) -> list[dict[str, str]]:
        """Rows of a CSV file of the folder; empty where there is none."""
        return self._read(name, lambda path: list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))) or []

    def arrays(self, name: str) -> dict[str, np.ndarray]:
        """Arrays of an .npz file of the folder; empty where there is none, or it holds pickled objects."""
        return self._read(name, _read_arrays) or {}

    def _read(self, name: str, read: Callable[[Path], Any], missing: str | None = None) -> Any:
        path = self.path / name
        if not path.is_file():
            if missing:
                self.problems.append(missing)
            return None
        try:
            return read(path)
        except (OSError, ValueError, KeyError, EOFError, csv.Error, zipfile.BadZipFile, AevlpError) as error:
            line = f"{name} cannot be read: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
            if line not in self.problems:
                self.problems.append(line.replace(f"{path}: ", "").replace(f"{path}:", "line "))
            return None


@dataclass
class Found:
    """What some paths lead to."""

    runs: list[Run] = field(default_factory=list)
    """Each once; those of a study's trials only where the path names them."""
    studies: list[Path] = field(default_factory=list)
    """Folders of studies, each once."""
    notes: list[str] = field(default_factory=list)
    """A line for each folder that is neither."""


def collect(paths: list[Path]) -> Found:
    """Runs and studies. A path is one of them, a run id, or a folder of them.

    Raises:
        ConfigError: a path is neither.
    """
    runs: dict[Path, Run] = {}
    studies: dict[Path, Path] = {}
    notes = []
    for path in paths:
        for folder in _folders(path):
            if _holds(folder, OWN_FILES):
                runs.setdefault(folder.resolve(), read_run(folder))
            elif _holds(folder, STUDY_FILES):
                studies.setdefault(folder.resolve(), folder)
            else:
                notes.append(f"{folder.name}: holds no file of a run")
    return Found(list(runs.values()), list(studies.values()), notes)


def _holds(folder: Path, names: tuple[str, ...]) -> bool:
    return any((folder / name).is_file() for name in names)


def _folders(path: Path) -> list[Path]:
    """The folder itself where it is a run or a study; else those in it, and those in its `sweeps`."""
    if _holds(path, OWN_FILES + STUDY_FILES):
        return [path]
    if not path.is_dir():
        return [find_study(path) or find_run(str(path))]
    inside = _visible(path)
    studies = [study for folder in inside if folder.name == "sweeps" for study in _visible(folder)]
    return [folder for folder in inside if folder.name not in ("sweeps", "suites")] + studies or [path]


def _visible(path: Path) -> list[Path]:
    return sorted(folder for folder in path.iterdir() if folder.is_dir() and not folder.name.startswith("."))


def read_run(folder: Path) -> Run:
    """Everything that is quick to read in a run folder; never fails for what it holds."""
    run = Run(folder)
    run.config = run._read("config.yaml", lambda path: read_mapping(path)[0], "config.yaml is missing") or {}
    run.summary = run._read("summary.json", _read_object) or {}
    rows = run._read("metrics.jsonl", read_metrics, "metrics.jsonl is missing") or []
    run.epochs = [row for row in rows if "train/loss" in row]
    ending = ""
    run.environment = run._read("environment.json", _read_object, "environment.json is missing") or {}
    version = run.config.get("schema_version", SCHEMA_VERSION)
    if version != SCHEMA_VERSION:
        run.problems.append(f"written with layout version {version}, this is {SCHEMA_VERSION}")
    if run.summary:
        run.state = str(run.summary.get("state", "damaged"))
    elif any("cannot be read" in line for line in run.problems):
        run.state = "damaged"
    else:
        run.state, host = look(folder)
        if run.state in ENDINGS:
            ending = f", {ENDINGS[run.state]}"
        elif host is not None:
            ending = f"; last seen on {host}, and from here it cannot be told whether it runs"
    if not run.finished:
        planned = run.config.get("trainer", {}).get("epochs") if isinstance(run.config.get("trainer"), dict) else None
        last = run.epochs[-1].get("trainer/epoch", len(run.epochs)) if run.epochs else 0
        run.problems.insert(0, f"not finished: {last} of {planned if planned is not None else '?'} epochs{ending}")
    elif "experiment" not in run.summary or "config_hash" not in run.summary:
        run.problems.append("summary.json is of an older version")
    return run


def _read_object(path: Path) -> dict[str, Any]:
    data = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(data, dict):
        raise ValueError("must hold a JSON object")
    return data


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def require_runs(found: Found, paths: list[Path]) -> None:
    """Raise ConfigError where nothing was found."""
    if not found.runs and not found.studies:
        where = ", ".join(os.fspath(path) for path in paths)
        raise ConfigError(f"there is no run in {where}" + "".join(f"\n{note}" for note in found.notes))
