"""``metrics.jsonl``: one JSON object a line, the record that everything else is a view of."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

from aevlp import files
from aevlp.config.errors import CheckpointError
from aevlp.reading import number, parse_json, read_bytes
from aevlp.system import sync
from aevlp.text import counted
from aevlp.tracking.base import Row, RunInfo, Tracker

FILE_NAME = "metrics.jsonl"


def read_metrics(path: Path | str) -> list[dict[str, Any]]:
    """Return the rows of a ``metrics.jsonl``, oldest first; a torn last line is left out.

    Raises ValueError, naming the line, where anything but the last line is no JSON object, or the file cannot be read.
    """
    lines = read_bytes(Path(path)).split(b"\n")
    rows = []
    for place, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = parse_json(line)
        except ValueError as error:
            if place == len(lines):  # no newline after it: the write was cut short
                break
            raise ValueError(f"{path}:{place}: not a JSON object: {error}") from error
        if not isinstance(row, dict):
            raise ValueError(f"{path}:{place}: not a JSON object")
        rows.append(row)
    return rows


class JsonlTracker(Tracker):
    """Appends each row to ``metrics.jsonl`` in the run folder and flushes it."""

    def __init__(self) -> None:
        """Open nothing yet; `start` knows where."""
        self.lost_rows = 0
        self._descriptor: int | None = None
        self._size = 0  # bytes of complete rows

    def start(self, run: RunInfo) -> None:
        """Open the file; a continued run first drops the rows its checkpoint does not know."""
        self.path = run.run_dir / FILE_NAME
        if run.resumed_step is not None and self.path.exists():
            try:
                self._keep_rows_until(run.resumed_step, run.resumed_epochs)
            except (OSError, ValueError) as error:
                raise CheckpointError(f"{self.path}: cannot be continued: {error}") from error
        # A new run never continues an old file.
        flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if run.resumed_step is None else 0)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(self.path, flags, 0o666)
        except OSError as error:
            raise CheckpointError(f"{self.path}: cannot be written: {error.strerror}") from error
        self._size = os.lseek(self._descriptor, 0, os.SEEK_END)

    def _keep_rows_until(self, step: int, epochs: int) -> None:
        def known(row: dict[str, Any]) -> bool:
            # A checkpoint made during validation has the last step of its epoch, but not the epoch's row.
            return _told(row, "trainer/step") <= step and ("train/loss" not in row or _told(row, "trainer/epoch") <= epochs)

        rows = [row for row in read_metrics(self.path) if known(row)]
        files.write(self.path, "".join(map(_line, rows)).encode(), sync=True)

    def log(self, metrics: Row) -> None:
        """Append one row; ValueError, naming the metric, for NaN or infinity: JSON has no word for them."""
        data = _line(metrics).encode()
        if self._descriptor is None:
            raise RuntimeError("JsonlTracker.log before start")
        try:
            _write_all(self._descriptor, data)
            if "train/loss" in metrics:  # ends an epoch, whose checkpoint must not outlive it
                sync(self._descriptor)
        except OSError as error:
            if error.errno not in files.NO_SPACE:  # else training goes on, only rows are lost
                raise
            # Cut off what was written of this row, so that the next one starts on a line of its own.
            os.ftruncate(self._descriptor, self._size)
            os.lseek(self._descriptor, self._size, os.SEEK_SET)
            self.lost_rows += 1
            if self.lost_rows == 1:
                self.notify(f"no space left for {self.path}: training goes on, metrics are lost until there is")
        else:
            self._size += len(data)

    def closing_lines(self) -> list[tuple[str, str]]:
        """Return how many rows a full disk cost, if any."""
        return [("lost", f"{counted(self.lost_rows, 'row')} of {FILE_NAME}: the disk was full")] if self.lost_rows else []

    def finish(self, state: str, summary: dict[str, Any]) -> None:
        """Make the rows durable and close the file."""
        if self._descriptor is None:
            return
        descriptor, self._descriptor = self._descriptor, None
        try:
            sync(descriptor)
        except OSError as error:
            if error.errno not in files.NO_SPACE:
                raise
            self.notify(f"no space left for {self.path}: the last rows may be missing")
        finally:
            os.close(descriptor)


def _told(row: dict[str, Any], name: str) -> float:
    value = number(row.get(name))
    if value is None:
        raise ValueError(f"a row does not tell its {name}")
    return value


def _line(row: dict[str, Any]) -> str:
    for name, value in row.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{name} is {value}, which is no measurement: log None where a value is not known")
    return json.dumps(row, allow_nan=False) + "\n"


def _write_all(descriptor: int, data: bytes) -> None:
    while data:  # write() may take a part only, and say why at the next call
        data = data[os.write(descriptor, data) :]
