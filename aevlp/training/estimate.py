"""What many runs will take: runs that cost alike are rehearsed once, and the whole is added up."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aevlp.config import registry
from aevlp.config.errors import AevlpError, in_one_line
from aevlp.config.loading import from_dict
from aevlp.config.schema import ExperimentConfig
from aevlp.machine import Machine
from aevlp.text import counted, duration
from aevlp.training.cards import Card
from aevlp.training.dry_run import UNCOUNTED, Rehearsal, count_views, rehearse

_COSTLY = ("batch_size", "eval_batch_size", "optimizer", "precision", "channels_last", "compile", "num_workers", "threads",
           "ema_decay", "image_cache", "linear_epochs")  # fmt: skip
CHECKPOINTS = 3
"""Kept of a run, at most."""
VIEW_MB = 0.001
"""Of the cache for a view: 512 numbers of float16, as of ViT-B/16."""


@dataclass(frozen=True)
class _Views:
    """To be encoded for runs of one labeler, encoder and grid on one dataset."""

    labeler: str
    missing: int | None
    seconds: float
    """A view."""


@dataclass
class Estimate:
    """Runs to come on one machine. Nothing is kept of the rehearsals."""

    machine: Machine
    notify: Callable[[str], None]
    """Told of each rehearsal, which may take minutes."""
    card: Card | None = None
    """Whose times are told, instead of those of this machine; each worker has one."""
    failures: dict[str, str] = field(default_factory=dict)
    """Why the runs of a title cannot be made, in the order in which they were found."""
    disk_mb: float = 0.0
    """Of all checkpoints, where none is removed."""
    _rehearsals: dict[str, Rehearsal | str] = field(default_factory=dict)
    _views: dict[str, _Views] = field(default_factory=dict)
    _seconds: list[float] = field(default_factory=list)

    def rehearsal(self, title: str, config: ExperimentConfig) -> Rehearsal | None:
        """Of this run or of one that costs alike; None where it fails."""
        values = config.to_dict()
        values["trainer"]["threads"] = self.machine.threads(config)
        key = _cost(values) + _encoding(config)
        if key not in self._rehearsals:
            self.notify(f"rehearses {title}")
            try:
                found = rehearse(from_dict(values, "dry run"), count=self.card is not None)
                self._rehearsals[key] = found if self.card is None else self.card.instead(found, config)
            except AevlpError as error:
                self._rehearsals[key] = in_one_line(error)
        known = self._rehearsals[key]
        if isinstance(known, str):
            self.failures[title] = known
            return None
        return known

    def add(self, title: str, config: ExperimentConfig, runs: int) -> None:
        """Count `runs` of a configuration."""
        found = self.rehearsal(title, config) if runs else None
        if found is None:
            return
        self._seconds += [found.training_seconds(config.trainer)] * runs
        self.disk_mb += runs * CHECKPOINTS * found.checkpoint_mb
        self._views.setdefault(_encoding(config), _Views(config.labeler.name, found.missing, found.view_seconds))

    def add_views(self, config: ExperimentConfig, like: Rehearsal) -> None:
        """Count what a configuration has to encode, at the pace of another's rehearsal."""
        key = _encoding(config)
        if key not in self._views:
            self._views[key] = _Views(config.labeler.name, count_views(config), like.view_seconds)

    def failure_lines(self) -> list[str]:
        """A line for each reason why some cannot be made, which names all that it is of."""
        titles: dict[str, list[str]] = {}
        for title, reason in self.failures.items():
            titles.setdefault(reason, []).append(title)
        return [f"{', '.join(those)} cannot run: {reason}" for reason, those in titles.items()]

    @property
    def missing(self) -> int:
        """Views that are not cached, as far as they can be counted."""
        return sum(one.missing or 0 for one in self._views.values())

    def lines(self) -> list[tuple[str, str]]:
        """Title and text of what all runs take together."""
        if not self._seconds:
            return []
        workers, views = self.machine.workers, self._views.values()
        uncounted = [UNCOUNTED.format(one.labeler) for one in views if one.missing is None]
        encode = sum(one.seconds * (one.missing or 0) for one in views)
        whole = encode + max(sum(self._seconds) / workers, *self._seconds)
        at_a_time = f", {workers} at a time" if workers > 1 else ""
        known = [found for found in self._rehearsals.values() if isinstance(found, Rehearsal)]
        memory = max(found.memory_mb for found in known)
        all_memory = f", {workers * memory:,.0f} MB for {workers} at a time" if workers > 1 else ""
        rehearsals = f"{counted(len(known), 'rehearsal')} of two steps and one validation batch, on this machine"
        rests = [("rests on", f"{rehearsals}; runs alike in data, model, batch, encoder and grid share one")]
        if self.card is not None:
            at_a_time = f" on {self.card.name}" + (f", {workers} at a time, a card each" if workers > 1 else "")
            all_memory = f" as rehearsed here; {self.card.name} has {self.card.memory_gb} GB"
            rests.append(("", self.card.assumptions))
        return [
            ("encode", ", ".join([f"{self.missing:,} views that are not cached, about {duration(encode)}", *uncounted])),
            ("time", f"about {duration(whole)}{at_a_time}, and some seconds to start each; less where runs stop early"),
            ("memory", f"{memory:,.0f} MB a run{all_memory}"),
            *rests,
        ]


def costs_alike(first: ExperimentConfig, second: ExperimentConfig) -> bool:
    """Whether two runs take the same time, apart from what they encode."""
    return first.trainer.epochs == second.trainer.epochs and _cost(first.to_dict()) == _cost(second.to_dict())


def _cost(values: dict[str, Any]) -> str:
    """What the time of a step and of an image hangs on, and how often a loss looks back."""
    loss = values["loss"] if hasattr(registry.get("losses", values["loss"]["name"]).build, "on_epoch_end") else None
    trainer = {name: values["trainer"][name] for name in _COSTLY}
    if loss is not None or trainer["linear_epochs"]:
        trainer["epochs"] = values["trainer"]["epochs"]  # of which a rehearsal counts the looks back, and those that are linear
    return json.dumps([_images(values), values["model"], trainer, loss], sort_keys=True)


def _encoding(config: ExperimentConfig) -> str:
    """What hangs together with which views are encoded; where it differs in part, what is shared is counted twice."""
    values = config.to_dict()
    labeler = [values["labeler"].get(name) for name in ("name", "encoder", "grid", "flip")]
    features = [values["model"].get(name) for name in ("encoder", "backbone")] if config.model.on_features else []
    return json.dumps([_images(values), values["trainer"]["evaluate_labeler"], labeler, features], sort_keys=True)


def _images(values: dict[str, Any]) -> dict[str, Any]:
    """The dataset without what is known of it, which costs no time."""
    return {name: value for name, value in values["dataset"].items() if name not in ("known", "draw", "train_labels")}
