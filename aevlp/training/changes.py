"""What of a run may change while it goes on: how many epochs it takes, where W&B is told of it, and where its data lie."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aevlp.config.errors import ConfigError
from aevlp.config.loading import from_dict
from aevlp.config.schema import SPEED_AND_METERS, ExperimentConfig
from aevlp.runs.checkpoints import CheckpointStore
from aevlp.runs.folder import RunFolder
from aevlp.text import counted, listed
from aevlp.training.state import Progress

UNENDED = "to train all epochs begin a new run with trainer.patience=null trainer.max_drop=null"
_FREE = ("trainer.epochs", "trainer.earlier_epochs", *SPEED_AND_METERS)


def changed(
    folder: RunFolder, *, epochs: int | None = None, tracking: str | None = None, places: Mapping[str, Any] | None = None
) -> ExperimentConfig:
    """The configuration of a run with what is not None changed.

    Raises:
        ConfigError: the run cannot end after so many epochs, or has no such place.
    """
    config = folder.read_config()
    for path, place in (places or {}).items():
        if path not in config.places:
            raise ConfigError(f"--set {path}={place}: dataset {config.dataset.name} has no such place")
        config = _with(config, {path: place})
    if epochs is not None and epochs != config.trainer.epochs:
        earlier = _earlier_epochs(folder, config, epochs)
        # The number of epochs last: a wrong one is told by its own name.
        config = _with(config, {"trainer.earlier_epochs": earlier, "trainer.epochs": epochs})
    return config if tracking is None else _with(config, {"tracking.mode": tracking})


def notes(config: ExperimentConfig) -> list[str]:
    """What to tell of a run whose epochs were changed while it went on."""
    earlier = config.trainer.earlier_epochs
    before = ", then ".join(counted(epochs, "epoch") for epochs in earlier)
    now = config.trainer.epochs
    told = f"planned for {before}, now for {now}: it does not count as a repetition of runs planned for {now}"
    return [told] if earlier else []


def write(folder: RunFolder, config: ExperimentConfig) -> None:
    """Write down what has changed for good, once all is there to go on with; the mode of tracking is of one sitting."""
    begun = folder.read_config()
    wanted = begun.model_copy(update={"trainer": config.trainer, "dataset": config.dataset})
    if wanted.to_dict() != begun.to_dict():
        folder.write_config(wanted)


def require_unedited(config: ExperimentConfig, before: Any) -> None:
    """ValueError where settings of the trainer are others than the steps so far were made with.

    A checkpoint brings some of them back itself, so an edit would be half obeyed.

    Args:
        config: of the run that goes on.
        before: section `trainer` of a checkpoint, plain data; None where it does not tell. A setting that one side lacks came
            with another version of this program.
    """
    now = config.to_dict()["trainer"]
    edited = [
        f"trainer.{key} was {value} and is {now[key]}" for key, value in (before or {}).items()
        if key in now and f"trainer.{key}" not in _FREE and value != now[key]
    ]  # fmt: skip
    if edited:
        raise ValueError(f"it was edited: {listed(edited, 3)}; restore it, or begin a new run with --exp and this config.yaml")


def _earlier_epochs(folder: RunFolder, config: ExperimentConfig, epochs: int) -> list[int]:
    """How many epochs the steps so far were planned for; ConfigError where the run cannot end after `epochs`."""
    checkpoint = CheckpointStore(folder.path / "checkpoints", lambda _: None).latest()
    if checkpoint is None:
        return []
    state = checkpoint.state()
    progress, name = Progress.of(state), folder.path.name
    if progress.stopped_early:
        raise ConfigError(
            f"{name} stopped early after epoch {progress.epochs_done} and has no more epochs to train: "
            f"{progress.stop_rule(config.trainer)}; {UNENDED}"
        )
    if epochs < progress.epochs_done:
        raise ConfigError(f"--set trainer.epochs={epochs}: {name} has already trained {counted(progress.epochs_done, 'epoch')}")
    if epochs == progress.epochs_done and progress.batches_done:
        begun = epochs + 1
        raise ConfigError(f"--set trainer.epochs={epochs}: {name} has begun epoch {begun}; end it with trainer.epochs={begun}")
    if not progress.step:
        return []
    # config.yaml tells of a sitting that may have ended before its first step; a checkpoint of an older version does not tell.
    planned = state.get("trainer") or config.to_dict()["trainer"]
    earlier = [*planned.get("earlier_epochs", ()), planned["epochs"]]
    return earlier[:-1] if earlier[-1] == epochs else earlier


def _with(config: ExperimentConfig, settings: dict[str, Any]) -> ExperimentConfig:
    values = config.to_dict()
    for path, value in settings.items():
        section, _, key = path.partition(".")
        values[section][key] = value
    path, value = list(settings.items())[-1]
    return from_dict(values, f"--set {path}={value}")
