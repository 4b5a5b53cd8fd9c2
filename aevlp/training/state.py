"""Where a run stands, and by which rule it ended early. Saved in every checkpoint."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from pydantic import ConfigDict, TypeAdapter

from aevlp.config.errors import CheckpointError
from aevlp.config.schema import TrainerConfig
from aevlp.text import counted


@dataclass
class Progress:
    """Epochs, steps and the best so far."""

    epochs_done: int = 0
    step: int = 0
    batches_done: int = 0
    """Batches of the epoch that is under way."""
    loss_sum: float = 0.0
    """Sum of the losses of these batches that were looked at, each times its number of images."""
    unseen: list[tuple[float, int]] = field(default_factory=list)
    """Loss and number of images of the batches since the last look."""
    best_map: float | None = None
    best_epoch: int = 0
    stale_epochs: int = 0
    stopped_early: bool = False

    __pydantic_config__: ClassVar = ConfigDict(allow_inf_nan=False)

    @classmethod
    def of(cls, state: dict[str, Any]) -> Progress:
        """The progress in the state of a checkpoint; CheckpointError where it is something else."""
        try:
            return TypeAdapter(cls).validate_python(state["progress"])
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"its progress cannot be read: {' '.join(str(error).split())}") from error

    def should_stop(self, selected: float, settings: TrainerConfig) -> bool:
        """The stop rule of the AEVLP code: too many epochs in a row without a gain, or too deep a fall.

        Epochs in which the backbone stands still end no run, and do not count; the best is that of the epochs after them.
        """
        if self.epochs_done <= settings.linear_epochs:
            return False
        stale = settings.patience is not None and self.stale_epochs >= settings.patience
        fallen = settings.max_drop is not None and self.best_map is not None and self.best_map - selected > settings.max_drop
        return stale or fallen

    def stop_rule(self, settings: TrainerConfig) -> str:
        """The rule that ended a run early, and its setting."""
        if settings.patience is not None and self.stale_epochs >= settings.patience:
            epochs = counted(self.stale_epochs, "epoch")
            return f"no better validation mAP in {epochs} after the best (trainer.patience={settings.patience})"
        return f"validation mAP fell too far below its best (trainer.max_drop={settings.max_drop or 0:g})"
