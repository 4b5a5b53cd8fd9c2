"""What a trained model may be opened from. Without torch, so that a wrong name is told at once."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from aevlp.config.errors import CheckpointError, ConfigError
from aevlp.folders import runs_root
from aevlp.runs.folder import begun_runs, find_run
from aevlp.text import say

DESCRIPTION = "model.json"  # what makes a folder an exported one
_EVALUATION = ("trainer.eval_batch_size", "trainer.num_workers", "trainer.threads", "trainer.precision",
               "trainer.evaluate_labeler")  # fmt: skip


def find_trained(source: str, overrides: Iterable[str] = (), experiment: str | None = None) -> Path:
    """The file of a published checkpoint, or the folder of an export or a run; see `aevlp.inference.open.open_trained`.

    Raises:
        ConfigError: there is no such thing, or it does not go with `overrides` and `experiment`.
    """
    if Path(source).is_file():
        return Path(source)
    if experiment is not None:
        raise ConfigError("--exp goes with a published checkpoint file; a run or an export knows its own")
    wrong = [word for word in overrides if not (word.startswith("dataset.") or word.partition("=")[0] in _EVALUATION)]
    if wrong:
        raise ConfigError(f"--set {wrong[0]}: of a trained model only dataset.* and {', '.join(_EVALUATION)} can be set")
    if source == "latest":
        return _newest_usable()
    return Path(source) if (Path(source) / DESCRIPTION).is_file() else find_run(source)


def _newest_usable() -> Path:
    """The newest run with weights to use; that a newer one has none is told."""
    from aevlp.runs.checkpoints import CheckpointStore

    newest = ""
    for run in begun_runs():
        try:
            if CheckpointStore(run / "checkpoints", lambda _: None).best() is not None:
                say(f"note  latest is {run.name}, as {newest}" if newest else f"latest is {run.name}", error=True)
                return run
            newest = newest or f"{run.name} has no complete checkpoint with a validated epoch"
        except CheckpointError as error:
            newest = newest or f"{run.name} cannot be used ({error})"
    raise ConfigError(f"no run in {runs_root()}/ can be used: {newest}; --resume latest trains on")
