"""A study as its storage tells of it, which a disk, a crash or a stranger may have damaged: refused in one line."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeGuard

import optuna
from optuna.trial import TrialState

from aevlp.config.errors import AevlpError
from aevlp.masking import mask
from aevlp.reading import number
from aevlp.sweeps.confirmation import find, repeats_of
from aevlp.sweeps.ledger import (
    ATTEMPT,
    CONFIRMS,
    IMPORTED_FROM,
    IMPORTED_RUNS,
    LABELS,
    OWNER,
    REASON,
    RETRY_OF,
    ROUND,
    RUNS,
    SEEN,
    WORDS,
)
from aevlp.sweeps.storage import failures, storage_errors

_KINDS: dict[str, type | tuple[type, ...]] = {
    RUNS: list, IMPORTED_RUNS: list, WORDS: list, "std": list, REASON: str, IMPORTED_FROM: str, RETRY_OF: int, ATTEMPT: int,
    OWNER: dict, SEEN: (int, float), CONFIRMS: int, ROUND: int, LABELS: str,
}  # fmt: skip


@contextlib.contextmanager
def replaying(place: str | Path) -> Iterator[None]:
    """Name the storage where Optuna cannot make sense of what it holds, or where it cannot be reached, as `storage_errors`."""
    with storage_errors(place):
        try:
            yield
        except AevlpError:
            raise
        except failures():
            raise
        except Exception as error:  # whatever the replay of its records stumbles over: there is no end of types
            what = " ".join(f"{type(error).__name__} {error}".split())[:200]
            raise AevlpError(f"{mask(str(place))}: is damaged: {mask(what)}; restore it from a copy") from error


def require_intact(study: optuna.Study, mark: Any) -> None:
    """AevlpError unless the study's mark and all trials are as `sweep run` writes them."""
    metrics = mark.get("metrics") if isinstance(mark, dict) else None
    if not _is_words(metrics) or len(metrics) != len(study.directions) or not isinstance(mark.get("definition"), dict):
        raise AevlpError(f"study {study.study_name}: what it is for cannot be read; restore its storage from a copy")
    _require_trials(study, len(metrics))
    repeats = repeats_of(study)
    if repeats is not None:
        _require_trials(repeats, 1)
        try:
            find(study)
        except (KeyError, ValueError) as error:
            wrong = f"study {study.study_name}: its confirmation cannot be read; restore its storage from a copy"
            raise AevlpError(wrong) from error
        numbers = range(len(study.get_trials(deepcopy=False)))
        if any(trial.user_attrs.get(CONFIRMS, 0) not in numbers for trial in repeats.get_trials(deepcopy=False)):
            raise AevlpError(f"study {study.study_name}: confirms a trial that is not there; restore its storage from a copy")


def _require_trials(study: optuna.Study, num_values: int) -> None:
    for trial in study.get_trials(deepcopy=False):
        told = trial.user_attrs
        wrong = [name for name, kind in _KINDS.items() if name in told and not isinstance(told[name], kind)]
        wrong += [name for name in (RUNS, IMPORTED_RUNS, WORDS) if not _is_words(told.get(name, []))]
        if not wrong and told.get(RETRY_OF, -1) >= trial.number:  # one tries again what was before
            wrong.append(RETRY_OF)
        values, is_complete = trial.values or [], trial.state == TrialState.COMPLETE
        if (is_complete and len(values) != num_values) or None in map(number, [*values, *trial.intermediate_values.values()]):
            wrong.append("values")
        if wrong:
            raise AevlpError(
                f"study {study.study_name}: {wrong[0]} of trial {trial.number} is damaged; restore its storage from a copy"
            )


def _is_words(value: Any) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(word, str) for word in value)
