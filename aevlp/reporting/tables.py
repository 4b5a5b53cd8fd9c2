"""One table for all that was judged on the same images by the same labels; between two tables there is no difference to tell."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from aevlp.data.fingerprint import Fingerprint, SplitFingerprint
from aevlp.reading import number
from aevlp.reporting.caveats import caveats
from aevlp.reporting.comparison import choose_baseline, is_bound, settings_of
from aevlp.reporting.naming import name_groups
from aevlp.reporting.same_data import NAMED, protocol
from aevlp.reporting.statistics import Group
from aevlp.text import listed

TRAINING_ALONE = ("dataset.train_labels", "dataset.image_size", "dataset.flip")  # say nothing of what is judged


@dataclass(eq=False)
class Table:
    """Experiments that may be compared."""

    title: str
    """The dataset, and what tells it from others of its name."""
    ranked: list[Group]
    """Best first."""
    bounds: list[Group]
    """Those that saw all labels: what one label can hope for, and no competitor."""
    baseline: Group
    caveats: list[str]
    """What its figures are worth."""
    notes: list[str]
    """In what its rows differ that their names do not tell: a line each."""

    @property
    def groups(self) -> list[Group]:
        """All, the bounds last."""
        return self.ranked + self.bounds


def arrange(groups: list[Group], baseline: str | None = None) -> list[Table]:
    """The tables of these groups, which get their names; the one of most groups first. `baseline` holds where it is found.

    Raises:
        ConfigError: no table has such a baseline, or several experiments are meant by it.
    """
    parts: dict[tuple[Any, ...], list[Group]] = {}
    for group in groups:
        parts.setdefault(_judged_on(group), []).append(group)
    found = sorted(parts.values(), key=lambda part: -len(part))
    for part in found:
        name_groups(part)
    if baseline is not None and not any(_is_in(baseline, part) for part in found):
        choose_baseline(groups, baseline)  # which says what there is
    return [_table(title, part, baseline) for title, part in zip(_titles(found), found, strict=True)]


def _table(title: str, groups: list[Group], baseline: str | None) -> Table:
    bounds = [group for group in groups if is_bound(group)]
    ranked = [group for group in groups if group not in bounds]
    against = choose_baseline(groups, baseline if baseline is not None and _is_in(baseline, groups) else None)
    return Table(title, ranked, bounds, against, caveats(groups), _notes(groups, ranked or bounds))


def _is_in(name: str, groups: list[Group]) -> bool:
    return any(name in (group.name, group.experiment) for group in groups)


def _judged_on(group: Group) -> tuple[Any, ...]:
    """Equal for groups that were judged alike: classes, and images and labels of validation and test."""
    values = settings_of(group)
    name, data = str(values.get("dataset.name")), _data(group)
    if data is None:  # of an older version, or damaged: as its settings say
        told = {path: value for path, value in values.items() if path.startswith("dataset.") and path not in TRAINING_ALONE}
        return name, group.data_fingerprint, json.dumps(told, sort_keys=True)
    return name, data.class_names, _labels(data.val), _labels(data.test)


def _data(group: Group) -> Fingerprint | None:
    return group.runs[0].data if group.data_fingerprint else None


def _labels(split: SplitFingerprint | None) -> tuple[Any, ...] | None:
    return None if split is None else (split.images, split.names, split.targets or split.observed)


def _titles(parts: list[list[Group]]) -> list[str]:
    """Names of the datasets; those of one name with the first of folder, counts and hash that tells them all apart."""
    names = [str(settings_of(part[0]).get("dataset.name") or "runs") for part in parts]
    titles = list(names)
    tells: tuple[Callable[[Group], str], ...] = (_root, _counts, _short_hash)
    for name in {name for name in names if names.count(name) > 1}:
        alike = [i for i, other in enumerate(names) if other == name]
        told = [[tell(parts[i][0]) for i in alike] for tell in tells]
        best = next((texts for texts in told if len(set(texts)) == len(alike)), told[-1])
        for i, text in zip(alike, best, strict=True):
            titles[i] = f"{name}, {text}"
    return titles


def _root(group: Group) -> str:
    return str(settings_of(group).get("dataset.root") or "")


def _counts(group: Group) -> str:
    data = _data(group)
    if data is None:
        return "unknown data"
    splits = {"training": data.train, "validation": data.val, "test": data.test}
    return ", ".join(f"{split.images} {title}" for title, split in splits.items() if split) + " images"


def _short_hash(group: Group) -> str:
    return f"data {group.data_fingerprint[:6]}" if group.data_fingerprint else "unknown data"


def _notes(groups: list[Group], ranked: list[Group]) -> list[str]:
    """A line for each of the facts below that is not the same in all rows. Labels of training are those of the ranked alone."""
    facts: dict[str, tuple[list[Group], Callable[[Group], tuple[Any, str]]]] = {
        "training images": (groups, _training),
        "epochs": (groups, partial(_epochs, groups)),
        "known labels of training": (ranked, _known_labels),
        "names that the text encoder reads": (ranked, _prompts),
        "labels that chose the checkpoint": (groups, lambda group: (_chosen_by(group),) * 2),
    }
    if len({_training(group)[0] for group in ranked}) > 1:  # whose labels are others then anyway
        del facts["known labels of training"]
    return [line for title, (rows, fact) in facts.items() if (line := _note(title, rows, fact))]


def _chosen_by(group: Group) -> str:
    """As `training.figures.takes_last` has it."""
    choice, is_bound = settings_of(group).get("selection.epoch"), any(run.summary.get("val/mAP_assumed") for run in group.runs)
    if choice == "last" or (choice == "auto" and group.by_known and is_bound):
        return "none, the last epoch is taken"
    return "known" if group.by_known else "full"


def _note(title: str, groups: list[Group], fact: Callable[[Group], tuple[Any, str]]) -> str:
    found: dict[Any, tuple[str, list[str]]] = {}
    for group in groups:
        key, text = fact(group)
        if key is not None:
            found.setdefault(key, (str(text), []))[1].append(group.name)
    texts = [text for text, _ in found.values()]
    told = "; ".join(
        f"{text}{f', set {key[:6]}' if texts.count(text) > 1 else ''} ({listed(names, NAMED)})"
        for key, (text, names) in found.items()
    )
    return f"rows differ in {title}: {told}" if len(found) > 1 else ""


def _epochs(groups: list[Group], group: Group) -> tuple[Any, str]:
    """As configured, and how many were trained where runs of this number ended before."""
    epochs = settings_of(group).get("trainer.epochs")
    if epochs is None:
        return None, ""
    alike = [other for other in groups if settings_of(other).get("trainer.epochs") == epochs]
    told = [number(run.summary.get("trainer/epoch")) for other in alike for run in other.by_seed.values()]
    trained = sorted({value for value in told if value is not None})
    early = f", ended after {' to '.join(f'{trained[i]:g}' for i in sorted({0, len(trained) - 1}))}" if trained else ""
    return str(epochs), str(epochs) if trained in ([], [epochs]) else f"{epochs}{early}"


def _training(group: Group) -> tuple[Any, str]:
    data = _data(group)
    return (None, "") if data is None else ((data.train.images, data.train.names), str(data.train.images))


def _known_labels(group: Group) -> tuple[Any, str]:
    data = _data(group)
    return (None, "") if data is None else (data.train.observed, protocol(group.runs[0]))


def _prompts(group: Group) -> tuple[Any, str]:
    data = _data(group)
    return (None, "") if data is None else (data.prompt_names, f"set {data.prompt_names[:6]}")
