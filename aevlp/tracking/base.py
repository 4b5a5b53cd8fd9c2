"""The small protocol between the training loop and everything that records or shows a run."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aevlp.folders import runs_root

Row = dict[str, "float | int | None"]


@dataclass(frozen=True)
class RunInfo:
    """What a tracker may know about a run when it starts."""

    run_id: str
    experiment: str
    run_dir: Path
    config: dict[str, Any]
    """The resolved configuration, JSON-able."""
    num_epochs: int
    steps_per_epoch: int
    resumed_step: int | None
    """None for a new run, else the global optimizer step of the checkpoint it continues from."""
    class_names: list[str]
    resumed_epochs: int = 0
    """Epochs that were complete, validation included, in that checkpoint."""
    takes_last: bool = False
    """Whether the last epoch is kept, and not the best."""
    rests_on: Mapping[str, str] = field(default_factory=dict)
    """On how few photos the figures of a split rest, such as "of 12 photos"; empty where they are enough."""


class Tracker:
    """Does nothing; a tracker overrides only what it needs."""

    shows_others: bool = False
    """True for the tracker that is started first, finished last and handed the others' closing lines."""

    notify: Callable[[str], None] = staticmethod(logging.getLogger("aevlp").warning)
    """How a tracker tells the user something; `Trackers` points it at its own `message`."""

    def start(self, run: RunInfo) -> None:
        """Open what is needed; called once, before anything else."""

    def progress(self, stage: str, done: int, total: int) -> None:
        """Note progress within a stage; called up to once a step, so it must cost microseconds."""

    def log(self, metrics: Row) -> None:
        """Record one row of flat metrics; None means "not known here", never 0."""

    def message(self, text: str) -> None:
        """Show a note to the user."""

    def closing_lines(self) -> list[tuple[str, str]]:
        """Return (label, path or command) lines for the end of the run; asked after `finish`."""
        return []

    def receive_closing_lines(self, lines: list[tuple[str, str]]) -> None:
        """Take the other trackers' closing lines, just before `finish`."""

    def finish(self, state: str, summary: dict[str, Any]) -> None:
        """Close; state is "finished", "stopped" or "failed", summary a flat dict of final metrics."""


class Trackers(Tracker):
    """Hands every call to each tracker in turn."""

    def __init__(self, trackers: Iterable[Tracker]) -> None:
        """Take over the trackers' messages."""
        self.trackers = sorted(trackers, key=lambda tracker: not tracker.shows_others)
        for tracker in self.trackers:
            tracker.notify = self.message

    def start(self, run: RunInfo) -> None:
        """Start the console first, so that the others' messages are shown."""
        for tracker in self.trackers:
            tracker.start(run)

    def progress(self, stage: str, done: int, total: int) -> None:
        """Pass on."""
        for tracker in self.trackers:
            tracker.progress(stage, done, total)

    def log(self, metrics: Row) -> None:
        """Pass on."""
        for tracker in self.trackers:
            tracker.log(metrics)

    def message(self, text: str) -> None:
        """Pass on."""
        for tracker in self.trackers:
            tracker.message(text)

    def closing_lines(self) -> list[tuple[str, str]]:
        """Return the lines of all trackers, in their order."""
        return [line for tracker in self.trackers for line in tracker.closing_lines()]

    def finish(self, state: str, summary: dict[str, Any]) -> None:
        """Finish all, the console last; every tracker is finished even where an earlier one raises."""

        def show(tracker: Tracker) -> None:
            tracker.receive_closing_lines(self.closing_lines())
            tracker.finish(state, summary)

        with ExitStack() as stack:  # runs in reverse order
            for tracker in self.trackers:
                if tracker.shows_others:
                    stack.callback(show, tracker)
            for tracker in reversed(self.trackers):
                if not tracker.shows_others:
                    stack.callback(tracker.finish, state, summary)


def shown_path(path: Path) -> str:
    """Return `path` as the user would type it here: relative below the working folder, else absolute."""
    path = Path(os.path.abspath(path))
    working_folder = Path.cwd()
    return str(path.relative_to(working_folder)) if path.is_relative_to(working_folder) else str(path)


def shown_run(path: Path) -> str:
    """What to type for a run: its id, which is looked up among the runs, and its path where it lies elsewhere."""
    return path.name if Path(os.path.abspath(path)).parent == Path(os.path.abspath(runs_root())) else shown_path(path)
