"""A run of a trial on a fresh seed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aevlp.sweeps.ledger import CONFIRMS, LABELS, ROUND, WORDS
from aevlp.sweeps.trial import Trial


class Repeat(Trial):
    """Trains what a trial of the study chose, with a seed that no trial has used; it is never pruned."""

    def _choose(self) -> list[str]:
        return list(self.trial.user_attrs[WORDS])

    @property
    def seeds(self) -> list[int]:
        """The one it has."""
        return [self.plan.base.seed + self.plan.study.fresh_seed + self.trial.user_attrs[ROUND]]

    @property
    def title(self) -> str:
        """What messages call it."""
        return f"trial {self.trial.user_attrs[CONFIRMS]}, seed {self.seeds[0]}"

    @property
    def run_name(self) -> str:
        """First part of its folder's name."""
        return f"{self.folder.name[:60]}.t{self.trial.user_attrs[CONFIRMS]:04d}.s{self.seeds[0]}"

    def report(self, row: dict[str, Any], *, may_prune: bool = True) -> None:
        """Take note of an epoch's row."""
        self.epoch, self.latest = int(row["trainer/epoch"]), row.get(self.plan.metrics[0])

    def finish_run(self, path: Path) -> dict[str, Any]:
        """Note its value, and by which labels it was judged; NotMeasuredError where it has none."""
        summary = super().finish_run(path)
        has_full = summary.get("val/mAP") is not None
        labels = "full" if has_full and self.plan.base.selection.labels == "clean" else "known"
        self.trial.set_user_attr(LABELS, labels)
        return summary
