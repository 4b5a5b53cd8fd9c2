"""Whether results that stand side by side are of the same data; where they are not, what differs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aevlp.data.fingerprint import TITLES
from aevlp.runs.collect import Run
from aevlp.text import listed

NAMED = 3  # of those that are told of in one line


def data_notes(runs: Mapping[str, Run], baseline: str) -> list[str]:
    """A line for each other state of the baseline's dataset that some of `runs`, by name, were trained on.

    Of runs on another dataset nothing is said: its name says it. Labels that `train_labels: full` adds are no difference.
    Of runs that know labels by other protocols (`dataset.known`, `dataset.draw`) that is said.
    """
    against = runs[baseline]
    others: dict[str, list[str]] = {}
    for name, run in runs.items():
        if _dataset(run, "name") == _dataset(against, "name") and run.data_fingerprint != against.data_fingerprint:
            others.setdefault(_difference(run, against, baseline), []).append(name)
    return [f"{listed(names, NAMED)}: {what}" for what, names in others.items() if what]


def _difference(run: Run, against: Run, baseline: str) -> str:
    if not run.data_fingerprint or not against.data_fingerprint:
        return f"whether these saw the data of {baseline} is not known: one of the two is of a version that did not write it down"
    now, before = run.data, against.data
    if now is None or before is None:
        return f"other data than {baseline}"
    known = [protocol(each) for each in (run, against)]
    if known[0] != known[1]:
        observed, said = [], [f"known labels by {known[0]} instead of {known[1]}"]
    else:
        observed, said = [split for split in TITLES if split != "train" or _alike(run, against, "train_labels")], []
    told = ", ".join(said + [part for part in (now.difference(before, observed=observed),) if part])
    return f"other data than {baseline}: {told}" if told else ""


def protocol(run: Run) -> str:
    """What says which labels are known; runs from before it could be said know a single positive."""
    known, draw = _dataset(run, "known") or "single", _dataset(run, "draw") or "uniform"
    if isinstance(known, dict):
        known = ", ".join(f"{key} {value}" for key, value in known.items() if value not in (None, 0))
    answers = [f"answers in {_dataset(run, 'answers')}"] if _dataset(run, "answers") else []
    return ", ".join([f"{known}", *([f"{draw}"] if draw != "uniform" else []), *answers])


def _alike(run: Run, against: Run, key: str) -> bool:
    return bool(_dataset(run, key) == _dataset(against, key))


def _dataset(run: Run, key: str) -> Any:
    section = run.config.get("dataset")
    return section.get(key) if isinstance(section, dict) else None
