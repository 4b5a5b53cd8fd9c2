"""Experiments that differ by one number alone, such as a share of known labels: the points of a curve."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aevlp.reporting.comparison import settings, settings_of
from aevlp.reporting.naming import UNNAMED
from aevlp.reporting.statistics import Group

FEWEST = 3  # points of a curve; two are a row of the table each, and told well enough by it


@dataclass(frozen=True)
class Curve:
    """Groups that are alike but for one setting, in the order of its values."""

    setting: str
    """Dotted path."""
    name: str
    values: list[float]
    groups: list[Group]


def curves_by_setting(groups: Sequence[Group]) -> list[Curve]:
    """The curves that these groups make; those of one setting follow each other, in the order of the first of their groups."""
    told = {group: settings_of(group) for group in groups}
    found = [(path, points) for path in settings(list(groups)) if path not in UNNAMED for points in _points(path, told)]
    experiments = Counter((path, points[0][1].experiment) for path, points in found)
    curves = []
    for path, points in found:
        first = points[0][1]
        # By the first point's name where several curves of the setting are of one experiment.
        name = first.experiment if experiments[path, first.experiment] == 1 else first.name
        curves.append(Curve(path, name, [value for value, _ in points], [group for _, group in points]))
    return curves


def _points(path: str, told: dict[Group, dict[str, Any]]) -> list[list[tuple[float, Group]]]:
    """Numbers of a setting, ascending, with their groups: a list for each set of the other settings that has enough of them."""
    parts: dict[str, list[tuple[float, Group]]] = {}
    for group, values in told.items():
        value = values.get(path)
        if isinstance(value, int | float) and not isinstance(value, bool):
            others = {other: values[other] for other in values if other not in (path, *UNNAMED)}
            parts.setdefault(json.dumps(others, sort_keys=True, default=str), []).append((value, group))
    enough = (points for points in parts.values() if len({value for value, _ in points}) == len(points) >= FEWEST)
    return [sorted(points, key=lambda point: point[0]) for points in enough]
