"""Which runs of a suite are there already: by settings, seed and data, whoever started them."""

from __future__ import annotations

import os
from collections import Counter
from functools import lru_cache
from pathlib import Path

from aevlp.config.errors import AevlpError, in_one_line
from aevlp.data.fingerprint import Fingerprint
from aevlp.folders import runs_root
from aevlp.runs.folder import RunFolder
from aevlp.suites.plan import Job
from aevlp.text import counted


def find_runs(jobs: list[Job]) -> list[str]:
    """Give each job the folder of a run with its settings, seed and data, a finished one before one to be continued.

    Returns:
        What to tell of runs that lack nothing but the data.
    """
    others: Counter[str] = Counter()
    wanted: dict[tuple[str, int], list[Job]] = {}
    for job in jobs:
        job.path = None
        wanted.setdefault((job.config.hash, job.config.seed), []).append(job)
    for path in sorted(file.parent for file in runs_root().glob("[!.]*/config.yaml")):
        config_hash, seed, places = _identity(path)
        for job in wanted.get((config_hash, seed), ()):
            if job.data is None and places != tuple(job.config.places.values()):
                continue  # nothing else tells these data from others
            other = _other_data(path, job.data)
            if other:
                others[other] += 1
            elif job.run is None:
                job.path = path
    return [f"{counted(count, 'run')} of these settings: {other}; not taken" for other, count in others.items()]


_Identity = tuple[str, int, tuple[str | None, ...]]


def _identity(path: Path) -> _Identity:
    """Hash, seed and places of a run, by its config.yaml; no hash where it is of another version, or damaged."""
    try:
        status = os.stat(path / "config.yaml")
    except OSError:
        return "", 0, ()
    return _read_identity(path, (status.st_ino, status.st_size, status.st_mtime_ns))


@lru_cache(maxsize=100_000)  # a suite looks at all runs before each run it begins, at 10 ms a file
def _read_identity(path: Path, version: tuple[int, ...]) -> _Identity:
    try:
        config = RunFolder(path).read_config()
    except AevlpError:
        return "", 0, ()
    return config.hash, config.seed, tuple(config.places.values())


def _other_data(path: Path, wanted: Fingerprint | None) -> str:
    """Why a run is not one on the data that are wanted; empty where it is."""
    folder = RunFolder(path)
    try:
        found = None if wanted is None else folder.read_fingerprint()
    except AevlpError as error:
        return in_one_line(error)
    if wanted is None or (found is None and not folder.has_begun):
        return ""
    if found is None:
        return "an older version began it and did not write down on what data"
    told = found.difference(wanted)
    return told and f"on other data, {told}"
