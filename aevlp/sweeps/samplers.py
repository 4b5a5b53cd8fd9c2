"""Samplers and pruners by name. Each trial draws from a generator of its own, seeded by the study's seed and its place."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from aevlp.config.errors import ConfigError
from aevlp.sweeps.ledger import place_of
from aevlp.sweeps.study_file import PrunerConfig, StudyConfig


class SeededSampler(BaseSampler):
    """Builds its sampler anew for each trial, so that stopping, continuing and more workers do not shift the numbers drawn.

    What a sampler has learned lies in the finished trials, which it reads from the storage.
    """

    def __init__(self, build: Callable[[int], BaseSampler], seed: int):
        self._build, self._seed = build, seed
        self._inner, self._place = build(seed), 0

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Build the sampler of this trial."""
        self._place = place_of(study.get_trials(deepcopy=False), trial)
        self._inner = self._build(int(np.random.SeedSequence([self._seed, self._place]).generate_state(1)[0]))
        self._inner.before_trial(study, trial)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Pass on."""
        return self._inner.infer_relative_search_space(study, trial)

    def sample_relative(self, study: optuna.Study, trial: FrozenTrial, space: dict[str, BaseDistribution]) -> dict[str, Any]:
        """Pass on."""
        if isinstance(self._inner, optuna.samplers.CmaEsSampler):  # which draws by the trial's number
            trial = copy.copy(trial)
            trial.number = self._place
        return self._inner.sample_relative(study, trial, space)

    def sample_independent(self, study: optuna.Study, trial: FrozenTrial, name: str, distribution: BaseDistribution) -> Any:
        """Pass on."""
        return self._inner.sample_independent(study, trial, name, distribution)

    def after_trial(self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """Pass on."""
        self._inner.after_trial(study, trial, state, values)


def build_sampler(study: StudyConfig) -> BaseSampler:
    """The sampler of a study; ConfigError where it needs a package that is not there."""
    return SeededSampler(lambda seed: _build(study, seed), study.seed)


def _build(study: StudyConfig, seed: int) -> BaseSampler:
    samplers, config = optuna.samplers, study.sampler
    conditional = any(parameter.when for parameter in study.space.values())
    try:
        match config.name:
            case "tpe":  # group: one model for each set of parameters that occurs together
                return samplers.TPESampler(seed=seed, n_startup_trials=config.startup, multivariate=True, group=conditional)
            case "gp":
                return samplers.GPSampler(seed=seed, n_startup_trials=config.startup, warn_independent_sampling=False)
            case "cmaes":
                return samplers.CmaEsSampler(seed=seed, n_startup_trials=config.startup, warn_independent_sampling=False)
            case "qmc":
                return samplers.QMCSampler(  # one sequence for the whole study, whose members are counted in the storage
                    seed=study.seed, scramble=True, warn_independent_sampling=False, warn_asynchronous_seeding=False,
                    independent_sampler=samplers.RandomSampler(seed=seed),
                )  # fmt: skip
            case "nsga2":
                return samplers.NSGAIISampler(seed=seed, population_size=max(config.startup, 2))
            case _:  # of a grid, every trial is laid out beforehand
                return samplers.RandomSampler(seed=seed)
    except ImportError as error:
        raise ConfigError(f"sampler {config.name} needs a package: pip install 'aevlp[sweeps]' ({error})") from error


def build_pruner(config: PrunerConfig, epochs: int) -> optuna.pruners.BasePruner:
    """The pruner of a study; steps are epochs, counted from 1."""
    pruners = optuna.pruners
    median = pruners.MedianPruner(n_startup_trials=config.startup, n_warmup_steps=config.warmup + 1)
    match config.name:
        case "median":
            return median
        case "patient":
            return pruners.PatientPruner(median, patience=config.patience)
        case "hyperband":
            return pruners.HyperbandPruner(min_resource=max(config.warmup, 1), max_resource=epochs)
        case _:
            return pruners.NopPruner()
