"""What differs between experiments: settings, metrics with intervals, classes. Plain data, for terminal, file and page."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from aevlp.config.describe import flatten
from aevlp.config.errors import ConfigError, suggest
from aevlp.config.schema import CAME_LATER
from aevlp.reporting.statistics import (
    BEST,
    BEST_KNOWN,
    Group,
    class_precisions,
    mean_and_interval,
    mean_per_class,
    paired_difference,
)
from aevlp.tracking.metrics import BY_KNOWN

METRICS = {
    "test mAP": "test/mAP",
    "test mAP (known labels)": "test/mAP_observed",
    "val mAP": BEST,
    "val mAP (known labels)": BEST_KNOWN,
    "pseudo P": "pseudo/positive/precision",
    "pseudo R": "pseudo/positive/recall",
    "labeler": "test/labeler_mAP",
    "known in top 1": "best/val_known_recall_1",
    "in top 3": "best/val_known_recall_3",
    "in top 5": "best/val_known_recall_5",
    "rank": "best/val_known_rank",
    "labels a photo": "best/val_labels_per_image",
    "agreement": "best/val_agreement",
    "pseudo-labels": "pseudo/positive/count",
}
"""By title; those of validation are of the epoch that was chosen. mAP by known labels alone has a column of its own."""
WITHOUT_FULL = (BEST_KNOWN, *(f"best/val_{name}" for name in BY_KNOWN))
NOT_PERCENT = ("best/val_known_rank", "best/val_labels_per_image", "pseudo/positive/count")  # of which no difference is shown
NOT_SETTINGS = ("name", "seed", "schema_version", "tracking")
USUAL_BASELINE = "an"  # assume negative: what the literature measures gains against


def is_bound(group: Group) -> bool:
    """Whether it was trained with all labels."""
    return settings_of(group).get("dataset.train_labels") == "full"


def shown_metrics(groups: list[Group]) -> dict[str, str]:
    """The columns of a table of these groups: what some know; figures by known labels only where these chose a checkpoint."""
    told = {name for name in METRICS.values() if any(group.values(name) for group in groups)}
    if "pseudo/positive/precision" in told:
        told.discard("pseudo/positive/count")
    if not any(group.by_known for group in groups):
        told.difference_update(WITHOUT_FULL)
    if "test/mAP" in told:
        told.discard("test/mAP_observed")
    return {title: name for title, name in METRICS.items() if name in told} or {"test mAP": "test/mAP"}


def choose_baseline(groups: list[Group], name: str | None = None) -> Group:
    """The group of that name; else the one trained with loss `an` alone, else the lowest in the ranking.

    Raises:
        ConfigError: no group, or several, of that name.
    """
    if name is None:
        competing = [group for group in groups if not is_bound(group)] or groups
        ranked = [group for group in competing if group.by_seed] or competing
        return next((group for group in reversed(ranked) if _component(group, "loss") == USUAL_BASELINE), ranked[-1])
    found = [group for group in groups if group.name == name] or [group for group in groups if group.experiment == name]
    if len(found) == 1:
        return found[0]
    if found:
        raise ConfigError(f"baseline {name!r} comes with several settings: {', '.join(group.name for group in found)}")
    raise ConfigError(f"baseline {name!r} is none of these runs{suggest(name, [group.name for group in groups])}")


def compare_groups(groups: list[Group], baseline: Group) -> dict[str, Any]:
    """The comparison as JSON-able data. `groups` in order; metrics in percent; `half` is half a 95 % interval.

    Values that no run knows are None. Differences are paired over common seeds; those of the baseline to itself are None.
    """
    classes = {seed: class_precisions(run) for seed, run in baseline.by_seed.items()}
    return {
        "baseline": baseline.name,
        "metrics": shown_metrics(groups),
        "experiments": [_describe(group, baseline, classes) for group in groups],
        "settings": settings(groups),
    }


def _describe(group: Group, baseline: Group, classes: dict[int, dict[str, float]]) -> dict[str, Any]:
    return {
        "name": group.name,
        "experiment": group.experiment,
        "bound": is_bound(group),
        "config_hash": group.config_hash,
        "data_fingerprint": group.data_fingerprint or None,
        "seeds": sorted(group.by_seed),
        "runs": [run.path.name for run in group.by_seed.values()],
        "metrics": {metric: summary(group, metric) for metric in METRICS.values()},
        "difference": None if group is baseline else {metric: difference(group, baseline, metric) for metric in METRICS.values()},
        "classes": None if group is baseline else class_gains(group, classes),
    }


def summary(group: Group, metric: str) -> dict[str, Any] | None:
    """Mean, half interval and the value of each seed."""
    values = group.values(metric)
    if not values:
        return None
    mean, half = mean_and_interval(list(values.values()))
    return {"mean": mean, "half": half, "values": values}


def difference(group: Group, baseline: Group, metric: str) -> dict[str, Any] | None:
    """`paired_difference` as plain data."""
    found = paired_difference(group, baseline, metric)
    return None if found is None else asdict(found) | {"clear": found.clear}


def class_gains(group: Group, baseline: dict[int, dict[str, float]]) -> list[dict[str, Any]]:
    """Gain of test AP over the baseline's, which is given by seed and class, over the seeds that both know; largest first."""
    here = {seed: class_precisions(group.by_seed[seed]) for seed in sorted(group.by_seed.keys() & baseline.keys())}
    # A seed whose per_class.csv one of the two lacks says nothing of the gain.
    known = {seed: [name for name in found if name in baseline[seed]] for seed, found in here.items()}
    precisions = mean_per_class({name: here[seed][name] for name in names} for seed, names in known.items())
    gains = mean_per_class({name: here[seed][name] - baseline[seed][name] for name in names} for seed, names in known.items())
    rows = [{"class": name, "AP": precisions[name], "gain": gain} for name, gain in gains.items()]
    return sorted(rows, key=lambda row: -row["gain"])


def settings(groups: list[Group]) -> dict[str, list[Any]]:
    """Settings that are not the same in all groups: dotted path to one value a group, None where it has no such setting.

    Between two components of one kind the name alone is the difference: their settings are compared among their own users.
    """
    flat = [settings_of(group) for group in groups]
    found = {}
    for path in dict.fromkeys(path for values in flat for path in values):
        component = f"{path.partition('.')[0]}.name"
        told: dict[Any, Any] = {}
        for values in flat:
            user = None if path == component else repr(values.get(component))
            if told.setdefault(user, values.get(path)) != values.get(path):
                found[path] = [values.get(path) for values in flat]
                break
    return found


def settings_of(group: Group) -> dict[str, Any]:
    """Settings of a group by dotted path: those of the first of its runs that tells them."""
    config = next((run.config for run in group.runs if run.config), {})
    values = flatten({key: value for key, value in config.items() if key not in NOT_SETTINGS})
    for path, before in CAME_LATER.items():  # of a run that is older; parts of a labeler or loss are not those of every one
        section = path.partition(".")[0]
        if section in ("dataset", "selection") and section in config and not any(found.startswith(path) for found in values):
            values[path] = before
    return values


def _component(group: Group, section: str) -> Any:
    values = settings_of(group)
    return values.get(f"{section}.name", values.get(section))
