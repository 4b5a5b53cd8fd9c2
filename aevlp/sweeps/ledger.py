"""The trials of a study: which count, which were left behind by a process that died, which are tried again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from aevlp.owner import LOST_SECONDS, is_dead
from aevlp.system import take_lock

MAX_RETRIES = 2
RETRY_OF, ATTEMPT, IMPORTED_FROM, SURPLUS = "retry_of", "attempt", "imported_from", "surplus"
IMPORTED_RUNS = "imported_runs"  # its runs, in the folder of the study that it was taken over from
OWNER, SEEN, RUNS, REASON, WORDS = "owner", "seen", "runs", "reason", "set"
FIXED = "fixed_params"  # Optuna's own name for the values that a trial was queued with
CONFIRMS, ROUND, LABELS = "confirms", "round", "labels"
"""Of a run on a fresh seed: the trial it repeats, which of the fresh seeds it has, from 0, and what labels judge it."""


def ended_for_good(trials: list[FrozenTrial]) -> list[FrozenTrial]:
    """Trials that have ended for good: complete, pruned, or failed and not to be tried again."""
    return [trial for trial in remaining(trials) if trial.state.is_finished()]


def remaining(trials: list[FrozenTrial]) -> list[FrozenTrial]:
    """Trials of the study's own in any state, each by its last attempt."""
    retried = {trial.user_attrs[RETRY_OF] for trial in trials if RETRY_OF in trial.user_attrs}
    return [trial for trial in trials if trial.number not in retried and is_own(trial)]


def params_of(trial: FrozenTrial) -> dict[str, Any]:
    """What a trial chose, or will once it begins."""
    # Both: killed while it chooses, a trial has but a part of what it was queued with.
    return {**trial.system_attrs.get(FIXED, {}), **trial.params}


def first_attempt(trials: list[FrozenTrial], trial: FrozenTrial) -> int:
    """Number of the trial that this one tries again, and that of this one where it is the first."""
    while RETRY_OF in trial.user_attrs:
        trial = trials[trial.user_attrs[RETRY_OF]]
    return trial.number


def place_of(trials: list[FrozenTrial], trial: FrozenTrial) -> int:
    """How many a trial comes after, each counted once however often it was tried; none of those that were one too many."""
    first = first_attempt(trials, trial)
    return sum(RETRY_OF not in other.user_attrs and SURPLUS not in other.user_attrs for other in trials[:first])


def title(trial: FrozenTrial) -> str:
    """What messages call it."""
    told = trial.user_attrs
    return f"trial {told[CONFIRMS]}, fresh seed {told[ROUND] + 1}" if CONFIRMS in told else f"trial {trial.number}"


def runs_of(study: optuna.Study, trial: FrozenTrial) -> tuple[str, list[str]]:
    """The study in whose folder a trial's runs lie, and their names; none where an older version took the trial over."""
    told = trial.user_attrs
    if IMPORTED_FROM in told:
        return told[IMPORTED_FROM].rpartition("/")[0], told.get(IMPORTED_RUNS, [])
    return study.study_name, told.get(RUNS, [])


def is_own(trial: FrozenTrial) -> bool:
    """Whether a trial is the study's own: neither imported nor one too many."""
    return IMPORTED_FROM not in trial.user_attrs and SURPLUS not in trial.user_attrs


def is_surplus(trials: list[FrozenTrial], number: int, wanted: int) -> bool:
    """Whether the running trial `number` is one too many, because several machines asked at once, or queued it twice."""
    if RETRY_OF in trials[number].user_attrs:
        return False
    earlier = [trial for trial in trials[:number] if is_own(trial) and RETRY_OF not in trial.user_attrs]
    if _queued(trials[number]) in {_queued(trial) for trial in earlier}:
        return True
    return len({_queued(trial) for trial in earlier if trial.state != TrialState.WAITING}) >= wanted


def _queued(trial: FrozenTrial) -> str:
    """Equal for trials that were queued with equal values; the number of one that was not queued."""
    values = trial.system_attrs.get(FIXED)
    return repr(sorted(values.items())) if values else str(trial.number)


def try_again(study: optuna.Study, trial: FrozenTrial, reason: str, *, is_retry: bool) -> bool:
    """End a running trial as failed and put it in the queue again, to go on from its checkpoint.

    Args:
        study: the study.
        trial: it must be running.
        reason: why it ended.
        is_retry: whether this uses up one of its retries; a clean stop does not.

    Returns:
        whether it is tried again; not after MAX_RETRIES.
    """
    attempt = trial.user_attrs.get(ATTEMPT, 0) + is_retry
    again = attempt <= MAX_RETRIES
    if again and not any(other.user_attrs.get(RETRY_OF) == trial.number for other in study.get_trials(deepcopy=False)):
        # Before the trial ends: whoever dies in between leaves a trial that the next one finds and only ends.
        kept: dict[str, Any] = {RETRY_OF: trial.number, ATTEMPT: attempt, RUNS: trial.user_attrs.get(RUNS, [])}
        kept |= {name: trial.user_attrs[name] for name in (CONFIRMS, ROUND, WORDS) if name in trial.user_attrs}
        if WORDS in trial.user_attrs:  # with a sampler's notes: one without a generation is in no population
            # Not those of hyperband, whose bracket goes by the trial's number: the next one's rungs lie at other epochs.
            known = {name: note for name, note in trial.system_attrs.items() if not name.startswith("completed_rung_")}
            known |= {FIXED: params_of(trial)}
        else:  # it died while it chose, and chooses the same again: in the same order from the same generator
            known = {FIXED: trial.system_attrs.get(FIXED, {})}
        study.add_trial(optuna.trial.create_trial(state=TrialState.WAITING, user_attrs=kept, system_attrs=known))
    if not again:
        reason = f"{reason}; tried {attempt} times, given up"
    study._storage.set_trial_user_attr(trial._trial_id, REASON, reason)
    study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
    return again


def reap(study: optuna.Study, folder: Path, notify: Callable[[str], None], *, is_alone: bool) -> int:
    """Find running trials whose process is dead, and try them again; returns how many there were.

    Args:
        study: the study.
        folder: its folder on this machine.
        notify: told of each.
        is_alone: no other process works on this study, so that a trial without an owner is dead too.
    """
    found = 0
    with locked(folder / ".reap"):
        for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            owner, began = trial.user_attrs.get(OWNER), trial.datetime_start
            if owner is not None:
                dead = is_dead(owner, trial.user_attrs.get(SEEN, 0.0))
            else:  # its process died in the moment between asking and signing
                dead = is_alone or (began is not None and time.time() - began.timestamp() > LOST_SECONDS)
            if dead:
                try:
                    again = try_again(study, trial, "its process died", is_retry=True)
                except UpdateFinishedTrialError:  # another machine has seen it as well
                    continue
                notify(f"{title(trial)}: its process died; {'it goes on from its checkpoint' if again else 'given up'}")
                found += 1
    return found


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock between the processes of this machine, where the file system has locks."""
    with path.open("w") as file:
        take_lock(file, wait=True)
        yield
