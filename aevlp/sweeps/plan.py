"""A study ready to run: its file, its base experiment, and what its trials would be; all checked beforehand."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from aevlp.config.describe import flatten, lookup
from aevlp.config.errors import ConfigError, in_one_line
from aevlp.config.loading import FRAGMENT_SECTIONS, resolve
from aevlp.config.schema import PLACES, SPEED_AND_METERS, ExperimentConfig
from aevlp.data.fingerprint import Fingerprint, fingerprint, is_told
from aevlp.metrics.observed import num_assumed_absent
from aevlp.sweeps.space import Parameter, Space, UnfitError
from aevlp.sweeps.study_file import StudyConfig, load_study
from aevlp.tracking.metrics import LOWER_BOUND, Direction

# Of the base experiment, what may change between two sittings of one study.
_NOT_COMPARED = ("name", "tracking.", "schema_version", *PLACES, *SPEED_AND_METERS)
# What the study gives each of its runs itself, so that a value of the space would do nothing.
_GIVEN = ("seed", "name", "tracking.group", "tracking.job_type")
JUDGED_LOW = f"trials are judged by known labels, and mAP by these is {LOWER_BOUND}: it punishes a setting that finds much"
"""Said of a study that `is_judged_low`."""


@dataclass(frozen=True)
class Plan:
    """A study with its base resolved; `extra` are `--set` words of the command line, which change the base."""

    name: str
    study: StudyConfig
    space: Space
    base: ExperimentConfig
    extra: tuple[str, ...]

    @classmethod
    def load(cls, name: str, extra: tuple[str, ...] = (), *, confirm: bool = True) -> Plan:
        """Read and check a study, but for its confirmation where that is not wanted.

        Raises:
            ConfigError: the file is wrong, a path unknown, a bound not allowed, or no combination valid.
        """
        stem, study, origins = load_study(name)
        if not confirm:
            study = study.model_copy(update={"confirm": None})
        try:
            base = resolve(study.base, [*study.overrides, *extra]).config.planned_at_once()
        except ConfigError as error:
            raise ConfigError(f"{origins['base']}: {error}") from error
        try:
            space = Space(study.space)
        except ConfigError as error:
            raise ConfigError(f"{origins['space']}: {error}") from error
        plan = cls(stem, study, space, base, extra)
        plan._check(origins)
        return plan

    @property
    def values(self) -> dict[str, Any]:
        """The base experiment as plain data."""
        return self.base.to_dict()

    @cached_property
    def data(self) -> Fingerprint | None:
        """Of the base's data, loaded once; None where they are drawn. AevlpError where they are absent or wrong."""
        return None if is_told(self.base.dataset) else self._read[0]  # drawing them takes seconds

    @cached_property
    def _read(self) -> tuple[Fingerprint, bool]:
        """What the base's data are, and whether labels that are not known count as absent in validation."""
        from aevlp.data.build import build_dataset  # which imports torch

        found = build_dataset(self.base.dataset)
        return fingerprint(found), num_assumed_absent(found.val.observed) > 0

    @cached_property
    def is_judged_low(self) -> bool:
        """Whether labels that are not known count as absent in an objective. Errors as of `data`."""
        if {"best/val_mAP_observed", "val/mAP_observed"}.isdisjoint(self.metrics):
            if "best/val_mAP" not in self.metrics:
                return False
            if self.base.selection.labels != "observed" and (self.data is None or self.data.val.targets is not None):
                return False
        return (is_told(self.base.dataset) and self.base.dataset.known == "single") or self._read[1]

    @property
    def directions(self) -> list[Direction]:
        """Of each objective."""
        return [objective.resolved_direction for objective in self.study.objective]

    @property
    def metrics(self) -> list[str]:
        """Of each objective."""
        return [objective.metric for objective in self.study.objective]

    def resolve(self, words: list[str]) -> ExperimentConfig:
        """The base with changes; ConfigError where they do not go together."""
        return resolve(self.study.base, [*self.study.overrides, *self.extra, *words]).config.planned_at_once()

    @property
    def base_codes(self) -> dict[str, Any] | None:
        """Codes of the base itself; None where the space does not hold it."""
        try:
            return self._codes_of(self.base)
        except UnfitError:
            return None

    @cached_property
    def most_epochs(self) -> int:
        """Epochs of the longest trial that the space allows."""
        return max(self._epochs(words) for _, words in self._probes())

    def starts(self, notify: Callable[[str], None]) -> list[dict[str, Any]]:
        """Codes of the trials to begin with; one that the space does not hold is told and left out."""
        found = []
        for words in self.study.start:
            try:
                found.append(self._codes_of(self.resolve(list(words))))
            except UnfitError as error:
                which = f"[{', '.join(words)}]" if words else "the base itself"
                notify(f"start: {which} lies outside the space, and is not tried: {error}")
        return found

    def nearest(self, values: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
        """Codes and words of the trial that is nearest to a configuration; UnfitError where a value lies outside the space."""
        return self.space.walk(self.values, lambda parameter: self._code_in(parameter, values))

    def _code_in(self, parameter: Parameter, values: dict[str, Any]) -> Any:
        """The code that a configuration has here.

        A word for a whole section may be a fragment, whose name is no part of the configuration: the one counts that leaves least
        different, of those with the same component.
        """
        sections = parameter.paths & set(FRAGMENT_SECTIONS)
        if not sections:
            return parameter.code_in(values)
        wanted, found = flatten(values), {}
        for code, held in self._held(parameter):
            if all(wanted.get(f"{section}.name") == held.get(f"{section}.name") for section in sections):
                found[code] = sum(not _alike(wanted.get(path), held.get(path)) for path in {**wanted, **held})
        return min(found, key=lambda code: found[code]) if found else parameter.code_in(values)

    def _held(self, parameter: Parameter) -> list[tuple[Any, dict[str, Any]]]:
        """Each code with the configuration, flat, that it makes of the base; but for those that do not go with the base."""
        if parameter.path not in self._known:
            self._known[parameter.path] = held = []
            for code in parameter.codes:
                with contextlib.suppress(ConfigError):
                    held.append((code, flatten(self.resolve(parameter.words(parameter.value(code))).to_dict())))
        return self._known[parameter.path]

    @cached_property
    def _known(self) -> dict[str, list[tuple[Any, dict[str, Any]]]]:
        return {}

    def _codes_of(self, config: ExperimentConfig) -> dict[str, Any]:
        """Codes of the trial that is this configuration; UnfitError where the space has none such."""
        values = config.to_dict()
        codes, words = self.nearest(values)
        try:
            wanted, held = flatten(values), flatten(self.resolve(words).to_dict())
        except ConfigError as error:
            raise UnfitError(in_one_line(error)) from error
        for path in {**wanted, **held}:
            if not _alike(wanted.get(path), held.get(path)):
                raise UnfitError(f"{path}: is {wanted.get(path)}, and {held.get(path)} in the trial nearest to it")
        return codes

    def definition(self) -> dict[str, str]:
        """What makes two studies the same, flat, as text: space, objective, seeds and base."""
        space = {
            f"space.{path}": json.dumps(parameter.model_dump(by_alias=True, exclude_defaults=True, mode="json"))
            for path, parameter in self.study.space.items()
        }
        objective = dict(zip([f"objective.{m}" for m in self.metrics], self.directions, strict=True))
        base = {
            f"base.{path}": json.dumps(value)
            for path, value in flatten(self.values).items()
            if not path.startswith(_NOT_COMPARED)
        }
        return {**objective, "seeds": str(self.study.seeds), **space, **base}

    def _check(self, origins: dict[str, str]) -> None:
        """Try every start, and both ends and an inner value of every range and every choice, the others in the middle."""
        for parameter in self.space.parameters:
            for given in sorted(parameter.paths & set(_GIVEN)):
                why = "`seeds: N` gives each trial N seeds" if given == "seed" else "the study gives it to each run itself"
                raise ConfigError(f"{origins[f'space.{parameter.path}']}: space.{parameter.path}: {given} is not searched; {why}")
            whole = parameter.config.fraction_of
            if whole is not None and not self._always_chosen(whole, parameter):
                try:
                    float(lookup(self.values, whole))
                except (KeyError, TypeError, ValueError) as error:
                    where = origins[f"space.{parameter.path}"]
                    raise ConfigError(f"{where}: space.{parameter.path}: {whole} is no number of the base") from error
        for index, start in enumerate(self.study.start):
            try:
                self.resolve(list(start))
            except ConfigError as error:
                raise ConfigError(f"{origins.get(f'start[{index}]', origins.get('start', self.name))}: start: {error}") from error
        problem = None
        valid = 0
        for parameter, words in (*self._probes(), *self._inner_probes()):
            try:
                self.resolve(words)
                valid += 1
            except ConfigError as error:
                problem = problem or f"{origins[f'space.{parameter.path}']}: {error}"
                if not _is_combination(parameter, str(error)):
                    raise ConfigError(f"{origins[f'space.{parameter.path}']}: space.{parameter.path}: {error}") from error
        if not valid:
            raise ConfigError(f"{problem} (no combination tried is valid)")

    def _always_chosen(self, whole: str, share: Parameter) -> bool:
        """Whether a number is searched wherever a share of it is, so that the share is never one of the base's."""
        searched = self.study.space.get(whole)
        return searched is not None and searched.when.items() <= share.config.when.items()

    def _probes(self) -> Iterator[tuple[Parameter, list[str]]]:
        """Each parameter with the words of a trial at each of its ends or choices, the others in the middle."""
        for parameter in self.space.parameters:
            for code in parameter.ends:
                yield parameter, self.space.walk(self.values, self._probe(parameter, code))[1]

    def _inner_probes(self) -> Iterator[tuple[Parameter, list[str]]]:
        """Of each range of numbers one inside, as its ends may be whole where the setting takes whole numbers alone."""
        for parameter in self.space.parameters:
            if parameter.config.float_ is not None:
                low, high = parameter.ends
                inner = min(low + (parameter.config.step or (high - low) * 0.382), high)
                yield parameter, self.space.walk(self.values, self._probe(parameter, inner))[1]

    def _epochs(self, words: list[str]) -> int:
        """Of a trial with these words; those of the base where they say nothing of it, or do not go together."""
        if any(word.startswith(("trainer.epochs=", "trainer=")) for word in words):
            try:
                return self.resolve(words).trainer.epochs
            except ConfigError:
                pass
        return self.base.trainer.epochs

    def _probe(self, searched: Parameter, code: Any) -> Any:
        """Choose `code` for one parameter, what its conditions ask for, and the middle for all others."""
        wanted = searched.config.when

        def choose(parameter: Parameter) -> Any:
            if parameter.path == searched.path:
                return code
            if parameter.path in wanted:
                choice = parameter.config.choice
                return parameter.codes[choice.index(wanted[parameter.path])] if choice else wanted[parameter.path]
            return parameter.middle

        return choose


def _alike(value: Any, other: Any) -> bool:
    """Whether two settings are equal but for the 4 digits to which a trial's numbers are rounded."""
    if isinstance(value, list | tuple) and isinstance(other, list | tuple):
        return len(value) == len(other) and all(map(_alike, value, other))
    if isinstance(value, float) and isinstance(other, float):
        return math.isclose(value, other, rel_tol=1e-3)
    return bool(value == other)


def _is_combination(parameter: Parameter, message: str) -> bool:
    """Whether an error is about a section as a whole, so that this value may be right beside others."""
    sections = [section for section in ExperimentConfig.model_fields if section != parameter.path]
    for line in message.splitlines():
        origin, _, rest = line.partition(": ")
        path = origin.removeprefix("--set ").partition("=")[0].strip()
        if path in parameter.paths and not rest.startswith(tuple(f"{s}: " for s in sections)):
            return False
    return True
