"""Before training: the settings that a labeler finds by known labels, and what its labels are probably worth.

Both are in labeler.json of the run, which a resumed run and `eval` read: they do not choose again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from aevlp import ranks
from aevlp.config.errors import CheckpointError, ConfigError
from aevlp.config.schema import ExperimentConfig
from aevlp.data.dataset import Split
from aevlp.labelers import Labeler
from aevlp.labelers._calibrate import calibrate
from aevlp.labelers._forecast import Forecast, forecast
from aevlp.metrics.hidden_labels import Hidden, hide
from aevlp.reading import read_json
from aevlp.runs.folder import RunFolder
from aevlp.training.figures import Figures

FILE_NAME = "labeler.json"
PHOTOS = 2000  # that a forecast looks at: the standard error of a share is 1 point
SETTINGS = ("temperature", "threshold")


def read_figures(run_dir: Path) -> Figures | None:
    """What labeler.json of a run tells, by metric name; None where there is none.

    Raises:
        CheckpointError: it is damaged.
    """
    path = run_dir / FILE_NAME
    try:
        figures = {str(name): float(value) for name, value in read_json(path).items()}
        if not all(np.isfinite(list(figures.values()))):
            raise ValueError("not all of its values are finite")
        return figures
    except FileNotFoundError:
        return None
    except (AttributeError, OSError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path}: cannot be read ({error}); remove it, and --resume the run, which finds it again"
        ) from error


def settings_of(figures: Mapping[str, Any]) -> dict[str, float]:
    """The settings of the labeler among figures."""
    found = {name: figures.get(f"labeler/{name}") for name in SETTINGS}
    return {name: float(value) for name, value in found.items() if isinstance(value, int | float)}


def settle_as_kept(labeler: Labeler, folder: RunFolder) -> Figures | None:
    """Collective. Give the labeler the settings it had before, where a run goes on; what labeler.json tells, or None."""
    kept: Figures | None = ranks.from_main(read_figures(folder.path))
    if kept is not None:
        labeler.settle(settings_of(kept))
    return kept


def _keep(figures: Figures, folder: RunFolder) -> None:
    folder.write(FILE_NAME, (json.dumps(figures, indent=1) + "\n").encode())


def restore(labeler: Labeler, folder: RunFolder, row: Mapping[str, Any]) -> None:
    """Find labeler.json of a run that is over again, in the last row of its metrics."""
    figures = {name: value for name, value in row.items() if name.startswith("labeler/") and isinstance(value, int | float)}
    if settings_of(figures):
        labeler.settle(settings_of(figures))
        _keep(figures, folder)


def of_run(config: ExperimentConfig, split: Split, labeler: Labeler, folder: RunFolder, tell: Callable[[str], object]) -> Figures:
    """Collective. `find_settings` and `foretell` of a run whose labeler is prepared, once: then rank 0's are kept."""
    kept = settle_as_kept(labeler, folder)
    if kept is not None:
        return kept
    find_settings(config, split, labeler, tell)
    figures: Figures = {f"labeler/{name}": value for name, value in labeler.found.items()}
    found = foretell(config, split, labeler)
    if found is not None:
        figures |= found.figures()
        for line in found.lines(calibrated=calibrated_on(config) > 0):
            tell(line)
    figures = ranks.from_main(figures)
    labeler.settle(settings_of(figures))
    if figures:
        _keep(figures, folder)
    return figures


def unused(config: ExperimentConfig, loss: nn.Module) -> list[str]:
    """A note where nothing learns from pseudo-labels, or where there are none to hand to the loss."""
    labeler, handed = config.labeler.name, config.trainer.pseudo_as_observed
    if labeler == "none":
        return ["trainer.pseudo_as_observed=true does nothing: labeler=none gives no pseudo-labels"] if handed else []
    if handed or getattr(loss, "reads_pseudo", None) is not False:
        return []
    return [
        f"loss {config.loss.name} does not read pseudo-labels, so those of labeler {labeler} change nothing: labeler=none saves "
        "the encoding, trainer.pseudo_as_observed=true hands positives on as observed labels"
    ]


def find_settings(config: ExperimentConfig, split: Split, labeler: Labeler, tell: Callable[[str], object]) -> None:
    """Let the labeler find what `labeler.calibrate` asks for, by the known labels of the training images.

    Raises:
        ConfigError: there are none.
    """
    require_known(config, split)
    rows, hidden = hide(split.observed, config.seed, calibrated_on(config))
    trial = labeler.trial(split, rows) if len(rows) else None
    if trial is not None:
        found = calibrate(trial, hidden, unknown_positives(config, split, hidden))
        labeler.settle({"temperature": found.temperature, "threshold": found.threshold})
        tell(
            f"labeler.calibrate: temperature {found.temperature:g}, threshold {found.threshold:g}, "
            f"chosen by known labels of {len(rows):,} photos"
        )
    elif labeler.found:
        tell(f"labeler.temperature: encoder is {labeler.found['temperature']:.3g}")


def foretell(config: ExperimentConfig, split: Split, labeler: Labeler) -> Forecast | None:
    """What the labels of the training images are probably worth; None where there is nothing to tell it by."""
    rows, hidden = hide(split.observed, config.seed, PHOTOS)
    trial = labeler.trial(split, rows) if len(rows) else None
    return None if trial is None else forecast(trial, hidden, unknown_positives(config, split, hidden))


def require_known(config: ExperimentConfig, split: Split) -> None:
    """ConfigError where `labeler.calibrate` has no known label to go by."""
    wanted = calibrated_on(config)
    if wanted and not (split.observed > 0).any():
        raise ConfigError(
            f"labeler.calibrate: {wanted} looks for labels that are known to be there, and no training photo has one; "
            "give some a label, or set labeler.calibrate=0, and temperature and threshold yourself"
        )


def unknown_positives(config: ExperimentConfig, split: Split, hidden: Hidden) -> float | None:
    """Positives that are not known in all these photos together, by loss.expected_positives; None where it does not tell.

    That is a mean over all photos, also those without any positive (22 % of NUS-WIDE), none of which is among these. Where labels
    are given, nothing known may as well mean not asked. It does not tell where a share of all labels is drawn: photos
    of which a positive is known have more positives than others then.
    """
    expected = getattr(config.loss, "expected_positives", None)
    if expected is None or getattr(config.dataset.known, "share", None) is not None:
        return None
    if config.dataset.name != "folder" and config.dataset.known != "given":
        expected /= float((split.observed > 0).any(axis=1).mean())  # where a label is hidden, one is known
    unknown = expected * len(hidden.column) - int((hidden.observed > 0).sum())
    return unknown if unknown > 0 else None


def calibrated_on(config: ExperimentConfig) -> int:
    """Photos that `labeler.calibrate` asks for; 0 where it does not."""
    wanted = getattr(config.labeler, "calibrate", 0)
    return wanted if type(wanted) is int else 0  # a labeler from outside may call something else so
