"""What a running study looks like: a live table on a terminal, a line for each event elsewhere."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import optuna
from rich.console import Group
from rich.live import Live
from rich.text import Text

from aevlp.layout import Sheet, lay_out
from aevlp.terminal import Terminal
from aevlp.text import counted, duration

if TYPE_CHECKING:
    from aevlp.sweeps.trial import Outcome, Trial

STYLES = {"complete": "green", "pruned": "yellow", "failed": "red", "crashed": "red", "stopped": "yellow"}


class View:
    """Shows a sitting; used as a context manager."""

    def __init__(self, name: str, metrics: list[str], console: Terminal | None = None):
        self.name, self.metrics = name, metrics
        self.console = console or Terminal()
        self._live: Live | None = None
        self._wanted = self._ended = self._ended_before = self._confirmed = self._fresh = 0
        self._began = time.monotonic()
        self._best: optuna.trial.FrozenTrial | None = None

    def __enter__(self) -> View:
        if self.console.is_terminal:
            self._live = Live(console=self.console, auto_refresh=False, transient=True)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def say(self, text: str, style: str = "") -> None:
        """A line that stays."""
        self.console.say(text, style)

    def begin(self, wanted: int, ended: int, fresh: int = 0, noise: str = "") -> None:
        """Say what is ahead: trials in all, those done, and at most how many runs on fresh seeds; and the noise, where known."""
        self._wanted, self._ended, self._ended_before, self._fresh = wanted, ended, ended, fresh
        more = f", then at most {counted(fresh, 'run')} on fresh seeds to confirm the best" if fresh else ""
        self.say(
            f"study {self.name}: {counted(wanted, 'trial')}, {ended} of them done{more}; objective {', '.join(self.metrics)}"
        )
        if noise:
            self.say(noise)

    def began(self, trial: Trial) -> None:
        """A trial has begun."""
        if not self.console.is_terminal:
            self.say(f"{trial.title} began: {' '.join(trial.words)}")

    def ended(
        self, trial: Trial, outcome: Outcome, *, again: bool, ended: int, best: optuna.trial.FrozenTrial | None, confirmed: int
    ) -> None:  # fmt: skip
        """A trial has ended, or its run on a fresh seed; `confirmed` such runs have by now."""
        self._ended, self._best, self._confirmed = ended, best, confirmed
        values = " ".join(f"{value:.4g}" for value in outcome.values)
        what = values or outcome.reason or ""
        took = duration(time.time() - trial.began)
        more = ", goes on from its checkpoint" if again else ""
        self.say(f"{trial.title} {outcome.state} {what}{more} ({took}); {self._counts()}", STYLES[outcome.state])

    def _counts(self) -> str:
        best = f", best {self._best.value:.2f} (trial {self._best.number})" if self._best is not None else ""
        fresh = f", {self._confirmed} of at most {self._fresh} runs on fresh seeds" if self._confirmed else ""
        return f"{self._ended}/{self._wanted} done{best}{self._eta()}{fresh}"

    def _eta(self) -> str:
        done = self._ended - self._ended_before
        if done < 1 or self._ended >= self._wanted:
            return ""
        return f", {duration((time.monotonic() - self._began) / done * (self._wanted - self._ended))} left"

    def show(self, running: list[Trial]) -> None:
        """Refresh the table of running trials."""
        if self._live is None:
            return
        rows = []
        for trial in running:
            value = "" if trial.latest is None else f"{trial.latest:.2f}"
            seed = f" (seed {trial.seed_index + 1})" if len(trial.seeds) > 1 else ""
            took = duration(time.time() - trial.began)
            rows.append([trial.title.removeprefix("trial "), f"{trial.epoch}{seed}", value, took, " ".join(trial.words)])
        header = ["trial", "epoch", self.metrics[0], "time", "values"]
        table = Sheet(f"{self.name}: {self._counts()}", header, rows, text=("values",), wraps={4: " "})
        lines = [Text(line, style) for line, style in lay_out(table, self.console.room)]
        self._live.update(Group(*lines), refresh=True)
