"""What experiments are called side by side: by what differs, as in `digits_gpr loss.rho=0.8`."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from aevlp.config.describe import flatten
from aevlp.config.errors import AevlpError
from aevlp.config.finding import EXPERIMENTS, files
from aevlp.config.loading import load_experiment
from aevlp.config.schema import SPEED_AND_METERS
from aevlp.reporting.comparison import settings, settings_of
from aevlp.reporting.statistics import Group

MOST = 3  # settings in a name
UNNAMED = ("dataset.root", *SPEED_AND_METERS)  # change no result, and the first is long


def name_groups(groups: list[Group]) -> None:
    """Name the groups of one table: as --name says, else by the experiment and what it has otherwise than its definition has it.

    Settings that all groups share are not named. Those of an experiment whose definition is not at hand are told from each
    other alone; what cannot be told by a setting is by its hash, and by that of the data.
    """
    differing = [path for path in settings(groups) if path not in UNNAMED]
    by_experiment: dict[str, list[Group]] = {}
    for group in groups:
        by_experiment.setdefault(group.experiment, []).append(group)
    here = files(EXPERIMENTS) if differing else {}
    for experiment, alike in by_experiment.items():
        definition = _definition(experiment) if experiment in here else None
        paths = differing if definition is not None else [path for path in settings(alike) if path not in UNNAMED]
        flat = [settings_of(group) for group in alike]
        for group, values in zip(alike, flat, strict=True):
            words = _words(values, definition or {}, flat, paths)
            more = f" and {len(words) - MOST} more" if len(words) > MOST else ""
            group.name = group.given_name or " ".join([experiment, *words[:MOST]]) + more
    count = Counter(group.name for group in groups)
    for group in groups:
        if count[group.name] > 1:
            group.name += f" ({group.config_hash[:6] or 'unreadable settings'})"
    count = Counter(group.name for group in groups)
    for group in groups:
        if count[group.name] > 1:  # the same settings on other data
            group.name = f"{group.name[:-1]}, data {group.data_fingerprint[:6] or 'unknown'})"


def _words(values: dict[str, Any], definition: dict[str, Any], others: list[dict[str, Any]], paths: list[str]) -> list[str]:
    """As --set would take them. Of a component that replaces the defined one only what differs among its users is told."""
    words = []
    for path in paths:
        section = path.partition(".")[0]
        component, part = f"{section}.name", section if path == f"{section}.name" else path
        compared = [definition]
        if path != component and definition and values.get(component) != definition.get(component):
            compared = [other for other in others if other.get(component) == values.get(component)]
        if path in values and any(values[path] != other.get(path) for other in compared):
            words.append(f"{part}={_text(values[path])}")
    return words


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _definition(experiment: str) -> dict[str, Any] | None:
    """Settings of an experiment as it stands in its file; None where that cannot be read."""
    try:
        return flatten(load_experiment(experiment).to_dict())
    except AevlpError:
        return None
