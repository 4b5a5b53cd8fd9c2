"""What a run looks like on the terminal, or, where there is none, in a log file."""

from __future__ import annotations

import io
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aevlp.text import counted, duration, printable
from aevlp.tracking.base import Row, RunInfo, Tracker, shown_path
from aevlp.tracking.epoch_table import MISSING, Column, Result, cells, columns, header, results, warning

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

Lines = Sequence[tuple[str, str]]
NextSteps = Lines | Callable[[str], Lines]

REFRESH_SECONDS = 0.25  # on a terminal
HEARTBEAT_SECONDS = 60.0  # a line about a long stage, where there is no terminal
STATE_STYLES = {"finished": "green", "stopped": "yellow", "failed": "red"}


class ConsoleTracker(Tracker):
    """Shows progress, one table row an epoch and a closing panel; plain lines when the output is no terminal.

    `next_steps` are the last lines printed: (label, path or command) pairs, or a function of the final state that returns them.
    """

    shows_others = True

    def __init__(self, next_steps: NextSteps = (), console: Console | None = None) -> None:
        """Print nothing yet; `console` is the standard output unless given."""
        from aevlp.terminal import Terminal

        self.console = console or Terminal()
        self.console.on_broken_pipe = self._go_quiet  # type: ignore[method-assign]  # rich would exit the program
        self._next_steps = next_steps
        self._live: Live | None = None
        self._broken = False
        self._run_dir: Path | None = None
        self._num_epochs = self._steps_per_epoch = 0
        self._stage = ""
        self._stages_seen: set[str] = set()
        self._stage_began = self._next_refresh = 0.0
        self._last_seen: float | None = None  # time of the last progress or row
        self._stage_first = self._done = self._total = 0
        self._epochs_done = 0
        self._epoch_began: float | None = None
        self._training_began: tuple[float, int] | None = None  # (time, global step) at the first step seen
        self._columns: list[Column] = []  # known from the first row on
        self._num_classes = 0
        self._takes_last = False
        self._rests_on: Mapping[str, str] = {}
        self._last_row: Row = {}
        self._closing: list[tuple[str, str]] = []

    def start(self, run: RunInfo) -> None:
        """Print what is run and where it goes."""
        self._run_dir, self._num_epochs, self._steps_per_epoch = run.run_dir, run.num_epochs, run.steps_per_epoch
        self._num_classes, self._takes_last, self._rests_on = len(run.class_names), run.takes_last, run.rests_on
        self._epochs_done = (run.resumed_step or 0) // max(run.steps_per_epoch, 1)
        if isinstance(self.console.file, io.TextIOWrapper):
            self.console.file.reconfigure(errors="replace")  # a terminal without UTF-8 must not stop a run
        self._print(f"[bold]{_plain(run.experiment)}[/bold]  [dim]{_plain(run.run_id)}[/dim]")
        epochs, steps = counted(run.num_epochs, "epoch"), counted(run.steps_per_epoch, "step")
        continued = "" if run.resumed_step is None else f", continued from step {run.resumed_step}"
        self._print(f"{epochs} of {steps}, {counted(len(run.class_names), 'class')}{continued}")
        self._print_line("run folder", shown_path(run.run_dir))
        if self.console.is_interactive and self.console.file.isatty():
            from rich.live import Live

            # Without a thread of its own: progress() redraws, at most four times a second.
            self._live = Live(get_renderable=self._bar, console=self.console, auto_refresh=False, transient=True)
            self._live.start()

    def progress(self, stage: str, done: int, total: int) -> None:
        """Move the bar; costs a clock reading unless it is time to redraw."""
        now = time.monotonic()
        new_stage = stage != self._stage or done < self._done
        self._done, self._total = done, total
        if new_stage:
            self._begin_stage(stage, now)
        self._last_seen = now
        if now >= self._next_refresh:
            self._next_refresh = now + (REFRESH_SECONDS if self._live else HEARTBEAT_SECONDS)
            self._redraw()

    def _begin_stage(self, stage: str, now: float) -> None:
        self._stage, self._stage_began, self._stage_first = stage, now, self._done
        self._next_refresh = now if self._live else now + HEARTBEAT_SECONDS
        if stage == "train":
            if self._epoch_began is None:  # the first step is reported when it is done
                self._epoch_began = now if self._last_seen is None else self._last_seen
            self._training_began = self._training_began or (now, self._global_step())
        elif stage != "validate" and stage not in self._stages_seen and not self._live:
            self._print(f"{stage}: {self._total}")  # training and validation show as epoch rows
        self._stages_seen.add(stage)

    def _redraw(self) -> None:
        if self._live:
            self._guard(self._live.refresh)
        else:
            self._print(f"{self._stage}: {self._done}/{self._total}, {self._remaining()}")

    def log(self, metrics: Row) -> None:
        """Print a table row for metrics that close an epoch; the other rows are for files."""
        if "train/loss" not in metrics:
            return
        epoch = int(metrics["trainer/epoch"] or 0)
        now = time.monotonic()
        began, self._epoch_began, self._last_seen = self._epoch_began, None, now
        self._last_row = metrics
        self._epochs_done, self._done = epoch, 0
        if not self._columns:
            self._columns = columns(metrics)
            titles, above = header(self._columns, marked=not self._takes_last)
            self._print("")
            if above.strip():
                self._print(f"[dim]{above}[/dim]")
            self._print(f"[bold]{titles}[/bold]")
        best = metrics.get("best/epoch") == epoch and not self._takes_last
        time_taken = MISSING if began is None else duration(now - began)
        row = cells(f"{epoch}/{self._num_epochs}", metrics, time_taken, self._columns, best)
        self._print(f"[green]{row}[/green]" if best else row)

    def message(self, text: str) -> None:
        """Print a note above the bar."""
        self._print(f"[yellow]note[/yellow]  {_plain(text)}")

    def receive_closing_lines(self, lines: list[tuple[str, str]]) -> None:
        """Keep the other trackers' lines for the end."""
        self._closing = lines

    def finish(self, state: str, summary: dict[str, Any]) -> None:
        """Take the bar away, print the results, where everything is and what to type next."""
        self.close()
        if self._run_dir is None:
            return
        summary = self._last_row | summary  # a run that was stopped has no summary, but epochs
        found = results(state, summary, self._num_classes, takes_last=self._takes_last, rests_on=self._rests_on)
        self._print("")
        self._print_results(state, found)
        if warned := warning(summary, self._num_classes):
            self.message(warned)
        steps = self._next_steps(state) if callable(self._next_steps) else self._next_steps
        for label, text in (("run folder", shown_path(self._run_dir)), *self._closing, *steps):
            self._print_line(label, text)

    def close(self) -> None:
        """Give the terminal back as it was; may be called twice."""
        live, self._live = self._live, None
        if live is not None:
            self._guard(live.stop)

    def _print_results(self, state: str, found: list[Result]) -> None:
        wide = max([16, *(len(label) + 2 for label, _, _ in found)])
        if not self.console.is_terminal:
            self._print(state)
            self._print("\n".join(f"  {label:<{wide}}{value:>7}  {remark}".rstrip() for label, value, remark in found))
            return
        from rich.panel import Panel

        width = max([60, *(wide + 9 + len(remark) + 6 for _, _, remark in found)])
        style = STATE_STYLES.get(state, "white")
        text = "\n".join(f"{label:<{wide}}[bold]{value:>7}[/bold]  [dim]{remark}[/dim]" for label, value, remark in found)
        self._print(
            Panel(text, title=f"[bold]{state}[/bold]", title_align="left", border_style=style, padding=(0, 2), width=width)
        )

    def _print_line(self, label: str, text: str) -> None:
        self._print(f"[dim]{_plain(label):<12}[/dim]{_plain(text)}")

    def _print(self, what: RenderableType) -> None:
        # soft_wrap: a long path or command stays one line to the terminal, so that it can be copied.
        self._guard(lambda: self.console.print(what, soft_wrap=isinstance(what, str), highlight=False, emoji=False, markup=True))

    def _guard(self, write: Callable[[], object]) -> None:
        try:
            if not self._broken:
                write()
        except OSError:  # a terminal that is gone
            self._go_quiet()

    def _go_quiet(self) -> None:
        """Stop printing: nobody reads any more, and the files have everything."""
        self._broken = self.console.quiet = True
        if self.console.file is sys.stdout:  # Python flushes it once more at exit, which would fail the program
            with open(os.devnull, "w") as nowhere:
                os.dup2(nowhere.fileno(), sys.stdout.fileno())

    def _bar(self) -> RenderableType:
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        grid = Table.grid(padding=(0, 2))
        for _ in range(4):
            grid.add_column(no_wrap=True)
        if self._stage:
            bar = ProgressBar(total=max(self._total, 1), completed=self._done, width=20)
            grid.add_row(self._stage, bar, f"{self._done}/{self._total}", Text(self._remaining(), "dim"))
        return grid

    def _global_step(self) -> int:
        return self._epochs_done * self._steps_per_epoch + self._done

    def _remaining(self) -> str:
        """Return the time left for the stage and, while training, for the run with its validations."""
        now = time.monotonic()
        if self._done <= self._stage_first:
            return ""
        text = f"{duration((now - self._stage_began) / (self._done - self._stage_first) * (self._total - self._done))} left"
        if self._stage == "train" and self._training_began is not None:
            began, first_step = self._training_began
            steps_left = self._num_epochs * self._steps_per_epoch - self._global_step()
            text += f", run {duration((now - began) / max(self._global_step() - first_step, 1) * steps_left)}"
        return text


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(printable(text))
