"""Experiments that differ by one number alone, such as a share of known labels: the points of a curve."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from aevlp.reporting.comparison import settings_of
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
    settings = {group: settings_of(group) for group in groups}
    found = []
    for path in dict.fromkeys(path for values in settings.values() for path in values):
        parts: dict[str, list[tuple[float, Group]]] = {}
        for group, values in settings.items():
            value = values.get(path)
            if isinstance(value, int | float) and not isinstance(value, bool):
                others = {other: values[other] for other in values if other != path}
                parts.setdefault(json.dumps(others, sort_keys=True, default=str), []).append((value, group))
        for points in parts.values():
            points.sort(key=lambda point: point[0])
            values_in_order = [value for value, _ in points]
            if len(set(values_in_order)) == len(points) >= FEWEST:
                found.append(Curve(path, "", values_in_order, [group for _, group in points]))
    return [Curve(one.setting, _name(one, found), one.values, one.groups) for one in found]


def _name(curve: Curve, curves: list[Curve]) -> str:
    """The experiment's; the first point's where several curves of the setting are of one experiment."""
    first = curve.groups[0]
    alike = [one for one in curves if one.setting == curve.setting and one.groups[0].experiment == first.experiment]
    return first.experiment if len(alike) == 1 else first.name
