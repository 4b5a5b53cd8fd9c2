"""The leaders of a study, trained again on fresh seeds: a study of its own beside it in the same storage, a trial a run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from aevlp.sweeps.ledger import (
    ATTEMPT,
    CONFIRMS,
    IMPORTED_FROM,
    LABELS,
    ROUND,
    RUNS,
    SURPLUS,
    WORDS,
    ended_for_good,
    first_attempt,
    params_of,
    remaining,
)
from aevlp.sweeps.standing import Spread, Standing, stand
from aevlp.sweeps.study_file import ConfirmConfig

SETTINGS, SEEDS_EACH, BASE = "confirm", "seeds_each", "base"


def repeats_of(study: optuna.Study, *, make: bool = False) -> optuna.Study | None:
    """The study that holds the runs on fresh seeds; None where there is none, unless one is to be made."""
    name = f"{study.study_name} confirmed"  # no study of a user has a space in its name
    try:
        study._storage.get_study_id_from_name(name)
    except KeyError:
        if not make:
            return None
    return optuna.create_study(
        study_name=name, storage=study._storage, direction=study.directions[0], sampler=optuna.samplers.RandomSampler(),
        pruner=optuna.pruners.NopPruner(), load_if_exists=True,
    )  # fmt: skip


def find(study: optuna.Study) -> Confirmation | None:
    """The confirmation of a study as it stands; None where it has none."""
    repeats = repeats_of(study) if len(study.directions) == 1 else None
    if repeats is None or SETTINGS not in repeats.user_attrs:
        return None
    told = repeats.user_attrs
    return Confirmation(study, repeats, ConfirmConfig.model_validate(told[SETTINGS]), told[SEEDS_EACH], told.get(BASE))


def begin(study: optuna.Study, config: ConfirmConfig, seeds_each: int, base: dict[str, Any] | None = None) -> Confirmation:
    """Begin or go on with a confirmation; it may be another than before, as what it wants is known by trial and seed.

    `seeds_each` are the runs of a trial in the search, `base` what the base chooses; None where the space does not hold it.
    """
    repeats = repeats_of(study, make=True)
    assert repeats is not None
    repeats.set_user_attr(SEEDS_EACH, seeds_each)
    repeats.set_user_attr(SETTINGS, config.model_dump())
    repeats.set_user_attr(BASE, base)
    return Confirmation(study, repeats, config, seeds_each, base)


@dataclass(frozen=True)
class Confirmation:
    """Of a study with one objective."""

    study: optuna.Study
    repeats: optuna.Study
    config: ConfirmConfig
    seeds_each: int
    """Runs of a trial in the search."""
    base: dict[str, Any] | None
    """Parameters of the base; None where no trial can have them."""

    def next_run(self, *, is_searched: bool) -> optuna.Trial | None:
        """A run on a fresh seed to begin now; None where there is none to begin before others have ended.

        Args:
            is_searched: all trials of the study have ended; before, only the base is trained again.
        """
        wanted = self.look().lacking if is_searched else self.base_lacks()
        trials = self.repeats.get_trials(deepcopy=False)
        there = {_key(trial) for trial in remaining(trials)}
        for number, index in wanted:
            if (number, index) not in there:
                kept = {WORDS: self.study.get_trials(deepcopy=False)[number].user_attrs.get(WORDS, [])}
                # One that was begun, and taken from the queue as it was not wanted for a while, goes on from its checkpoint.
                begun = [trial.user_attrs for trial in trials if _key(trial) == (number, index)][-1:]
                kept |= {name: value for one in begun for name, value in one.items() if name in (RUNS, ATTEMPT)}
                self.repeats.enqueue_trial({}, user_attrs={CONFIRMS: number, ROUND: index, **kept})
        while wanted and self.repeats.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
            asked = self.repeats.ask()
            trials = self.repeats.get_trials(deepcopy=False)
            key = _key(trials[asked.number])
            # What was queued may be wanted no more, as others lead by now. Of several processes that asked at once, one may
            # have found nothing left, or all may have queued the same run.
            if key in wanted and key not in {_key(trial) for trial in remaining(trials) if trial.number < asked.number}:
                return asked
            asked.set_user_attr(SURPLUS, True)
            self.repeats.tell(asked, state=TrialState.FAIL)
        return None

    def look(self) -> Standing:
        """How it stands: the base and the best others."""
        base = self.stand_in()
        if base is None:
            return Standing([], [], None, math.inf)
        complete = self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        chosen = [base]
        for trial in sorted(complete, key=self._order):
            # Where there are few choices, a sampler proposes one again.
            if len(chosen) <= self.config.best and all(trial.params != other.params for other in chosen):
                chosen.append(trial)
        by_trial = self._by_trial()
        known = {trial.number: by_trial.get(trial.number, {}) for trial in sorted(chosen, key=self._order)}
        return stand(known, self.config.seeds, base=base.number, searched=self._single(base), sign=self._sign)

    def base_lacks(self) -> list[tuple[int, int]]:
        """Runs that the base lacks, by trial and seed; none before it is known."""
        base = base_trial(self.study, self.base)
        return [] if base is None else self._lacks(base)

    def _lacks(self, trial: FrozenTrial) -> list[tuple[int, int]]:
        there = self._by_trial().get(trial.number, {})
        return [(trial.number, index) for index in range(self.config.seeds) if index not in there]

    def stand_in(self) -> FrozenTrial | None:
        """The base, or what stands for it where its trial lies beyond the last one."""
        return base_trial(self.study, self.base, waits=False)

    def noise(self) -> Spread | None:
        """Spread of the base over its seeds; None before it has had them all."""
        base = self.stand_in()
        if base is None or self._lacks(base):
            return None
        runs = [value for value in self._by_trial()[base.number].values() if value is not None]
        return Spread.of([[*runs, *([] if (single := self._single(base)) is None else [single])]])

    @property
    def labels(self) -> str:
        """By which labels of validation the runs were judged; empty before the first has ended."""
        told = [trial.user_attrs[LABELS] for trial in self.repeats.get_trials(deepcopy=False) if LABELS in trial.user_attrs]
        return str(told[-1]) if told else ""

    def most_left(self, trials: int, done: int) -> int:
        """Runs that may still be wanted, of a study that has `done` of so many trials."""
        by_trial, seeds = self._by_trial(), self.config.seeds
        if done < trials:  # whoever leads now may not do so in the end
            base = base_trial(self.study, self.base)
            of_base = 0 if base is None else len(by_trial.get(base.number, {}))
            return num_runs(self.config, trials + num_taken_over(self.study)) - of_base
        standing = self.look()
        left = (seeds - len(by_trial.get(row.trial, {})) for row in standing.rows if not row.out)
        return sum(left) if standing.lacking or not standing.rows else 0

    @property
    def num_done(self) -> int:
        """Runs that have ended for good."""
        return len(ended_for_good(self.repeats.get_trials(deepcopy=False)))

    def _by_trial(self) -> dict[int, dict[int, float | None]]:
        found: dict[int, dict[int, float | None]] = {}
        for trial in ended_for_good(self.repeats.get_trials(deepcopy=False)):
            number, index = _key(trial)
            if number is not None and index is not None and index < self.config.seeds:
                found.setdefault(number, {})[index] = trial.value if trial.state == TrialState.COMPLETE else None
        return found

    def _single(self, trial: FrozenTrial) -> float | None:
        return float(trial.values[0]) if self.seeds_each == 1 else None

    def _order(self, trial: FrozenTrial) -> tuple[float, int]:
        return -self._sign * float(trial.values[0]), trial.number

    @property
    def _sign(self) -> int:
        return 1 if self.study.directions[0] == StudyDirection.MAXIMIZE else -1


def is_at_end(study: optuna.Study, trials: int) -> bool:
    """Whether so many trials have ended for good, and the confirmation lacks no run."""
    confirmation = find(study)
    is_searched = len(ended_for_good(study.get_trials(deepcopy=False))) >= trials
    return is_searched and (confirmation is None or not confirmation.look().lacking)


def num_runs(config: ConfirmConfig, trials: int) -> int:
    """Runs on fresh seeds of a study of so many trials, where none is dropped."""
    return config.seeds * min(config.best + 1, trials)


def num_taken_over(study: optuna.Study) -> int:
    """Trials of another study that may lead here; they are none of those that `--trials` counts."""
    return sum(IMPORTED_FROM in trial.user_attrs for trial in study.get_trials(deepcopy=False))


def base_trial(study: optuna.Study, codes: dict[str, Any] | None, *, waits: bool = True) -> FrozenTrial | None:
    """The trial with the parameters of the base, else the first of those that were not given up; None before it has ended.

    `waits`: also for one that has not begun, which may lie beyond the last trial that is wanted.
    """
    passed = (TrialState.PRUNED, TrialState.FAIL, *(() if waits else (TrialState.WAITING,)))
    trials = study.get_trials(deepcopy=False)
    same = [trial for trial in trials if codes and params_of(trial) == codes]
    for trial in same:
        if trial.state == TrialState.COMPLETE:
            return trial
    if any(not trial.state.is_finished() and trial.state not in passed for trial in same):
        return None
    for trial in sorted(remaining(trials), key=lambda trial: first_attempt(trials, trial)):
        if trial.state not in passed:
            return trial if trial.state == TrialState.COMPLETE else None
    return None


def _key(trial: FrozenTrial) -> tuple[Any, Any]:
    return trial.user_attrs.get(CONFIRMS), trial.user_attrs.get(ROUND)
