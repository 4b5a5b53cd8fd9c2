"""Search spaces: from a parameter's range to Optuna's, and from chosen values to `--set` words."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from aevlp.config.describe import lookup
from aevlp.config.errors import ConfigError
from aevlp.config.yaml_reading import read_yaml
from aevlp.sweeps.study_file import ParameterConfig

MAX_COMBINATIONS = 10_000


class UnfitError(ValueError):
    """A configuration that a space does not hold."""


@dataclass(frozen=True)
class Parameter:
    """One parameter of a space. Its *code* is what Optuna sees: a number, a word, a share, or a list as JSON."""

    path: str
    config: ParameterConfig

    @property
    def name(self) -> str:
        """Name in Optuna: the path, or for a share both paths."""
        return f"{self.path} / {self.config.fraction_of}" if self.config.fraction_of else self.path

    @property
    def codes(self) -> list[Any]:
        """Codes of all choices or cases; empty for ranges."""
        if self.config.cases is not None:
            return list(self.config.cases)
        choice = self.config.choice or []
        return [json.dumps(value) if isinstance(value, list) else value for value in choice]

    @property
    def paths(self) -> set[str]:
        """Of all that it may set: its own, or those in the words of its cases."""
        if self.config.cases is None:
            return {self.path}
        return {word.partition("=")[0].strip() for words in self.config.cases.values() for word in words}

    @property
    def distribution(self) -> BaseDistribution:
        """As Optuna knows it."""
        config = self.config
        if self.codes:
            return CategoricalDistribution(self.codes)
        low, high = self.ends
        if config.int_ is not None:
            return IntDistribution(low, high, log=config.log, step=int(config.step or 1))
        return FloatDistribution(low, high, log=config.log, step=config.step)

    @property
    def ends(self) -> list[Any]:
        """Codes to try a space with: both ends of a range, the upper one as far as its steps reach, or every choice."""
        if self.codes:
            return self.codes
        config = self.config
        low, high = config.float_ or config.int_ or (config.low, config.high)
        if config.step:
            first, last, step = (Decimal(str(value)) for value in (low, high, config.step))  # exact, as Optuna does it
            reached = first + (last - first) // step * step
            high = int(reached) if config.int_ else float(reached)
        return [low, high]

    @property
    def note(self) -> str:
        """That the steps of its range do not end where the range does; empty where they do."""
        written = self.config.float_ or self.config.int_
        if written is None or written[1] == self.ends[1]:
            return ""
        step = int(self.config.step or 1) if self.config.int_ else self.config.step
        return f"space.{self.path}: in steps of {step} from {written[0]} the last value is {self.ends[1]}, not {written[1]}"

    @property
    def middle(self) -> Any:
        """A code in the middle of the range, or the first choice."""
        distribution = self.distribution
        if isinstance(distribution, IntDistribution):
            steps = (distribution.high - distribution.low) // distribution.step // 2
            return distribution.low + steps * distribution.step
        if isinstance(distribution, FloatDistribution):
            low, high = distribution.low, distribution.high
            if distribution.log:
                return (low * high) ** 0.5
            half = (high - low) / 2
            return low + (round(half / distribution.step) * distribution.step if distribution.step else half)
        return self.codes[0]

    def value(self, code: Any, whole: float | None = None) -> Any:
        """What the configuration gets for a code: numbers to 4 digits. `whole` is the number that a share is of."""
        if self.config.choice is not None:
            return self.config.choice[self.codes.index(code)]
        if self.config.fraction_of is not None:
            assert whole is not None
            code = code * whole
        return float(f"{code:.4g}") if isinstance(code, float) else code

    def words(self, value: Any) -> list[str]:
        """The value as `--set` words."""
        return self.config.cases[value] if self.config.cases is not None else [f"{self.path}={json.dumps(value)}"]

    def code_in(self, values: dict[str, Any]) -> Any:
        """The code that a configuration has here; UnfitError where it lies outside the range."""
        config = self.config
        if config.cases is not None:
            # The case with most words that all hold; so one without words stands for none of the others.
            for name, words in sorted(config.cases.items(), key=lambda case: -len(case[1])):
                if all(_holds(values, word) for word in words):
                    return name
            raise UnfitError(f"{self.path}: no case fits")
        try:
            found = lookup(values, self.path)
            code = found / lookup(values, config.fraction_of) if config.fraction_of else found
        except (KeyError, TypeError, ZeroDivisionError) as error:
            raise UnfitError(f"{self.path}: has no such value") from error
        if self.codes:
            if found not in (config.choice or []):
                raise UnfitError(f"{self.path}: {found} is none of the choices")
            return self.codes[(config.choice or []).index(found)]
        low, high = self.ends
        step = config.step or (1 if config.int_ else None)
        fits = isinstance(code, int | float) and low <= code <= high
        if not fits or (step and abs((code - low) / step - round((code - low) / step)) > 1e-8):
            steps = f" in steps of {config.step:g}" if config.step else ""
            raise UnfitError(f"{self.name}: {code} is not of {low} to {high}{steps}")
        return int(code) if config.int_ else float(code)


def _needs(parameter: Parameter, other: Parameter) -> bool:
    """Whether a parameter needs the value of another."""
    return other.path in (parameter.config.fraction_of, *parameter.config.when)


def _comes_after(parameter: Parameter, other: Parameter) -> bool:
    """Whether a parameter needs the value of another, or lies inside a component or list that the other may replace.

    Not inside one that needs its own value: such as a labeler that is replaced in one case, where the other sets its grid.
    """
    if parameter == other or _needs(parameter, other):
        return parameter != other
    wholes = tuple(f"{whole}{sign}" for whole in other.paths - parameter.paths for sign in ".[")
    return not _needs(other, parameter) and any(path.startswith(wholes) for path in parameter.paths)


def _cycle(parameters: list[Parameter]) -> list[Parameter]:
    """Parameters each of which comes after the next one, and the last after the first; none of those given comes first."""
    found = [parameters[0]]
    while (before := next(other for other in parameters if _comes_after(found[-1], other))) not in found:
        found.append(before)
    return found[found.index(before) :]


def _holds(values: dict[str, Any], word: str) -> bool:
    path, _, text = word.partition("=")
    try:
        return lookup(values, path) == read_yaml(text, word)[0]
    except KeyError:
        return False


def by_name(codes: dict[str, Any]) -> Callable[[Parameter], Any]:
    """Choose for `Space.walk` what is known already."""
    return lambda parameter: codes[parameter.name]


class Space:
    """All parameters, in an order in which each comes after those that it depends on."""

    def __init__(self, parameters: dict[str, ParameterConfig]):
        def order(parameter: Parameter) -> tuple[bool, bool, bool]:
            config = parameter.config
            # Whole components first: they would throw away what was set inside them before.
            return bool(config.fraction_of), bool(config.when), not (config.cases or "." not in parameter.path)

        left = sorted((Parameter(path, config) for path, config in parameters.items()), key=order)
        self.parameters: list[Parameter] = []
        while left:
            free = (one for one in left if not any(_comes_after(one, other) for other in left))
            chosen = next(free, None)
            if chosen is None:
                paths = ", ".join(one.path for one in _cycle(left))
                raise ConfigError(f"space: each of these needs another of them first, or is undone by it: {paths}; leave one out")
            self.parameters.append(chosen)
            left.remove(chosen)

    @property
    def notes(self) -> list[str]:
        """Ends that no step reaches, and words of cases that do nothing, as another parameter sets the same."""
        found = [parameter.note for parameter in self.parameters if parameter.note]
        for i, parameter in enumerate(self.parameters):
            later = {other.path: other for other in self.parameters[i + 1 :]}
            words = [(case, word) for case, words in (parameter.config.cases or {}).items() for word in words]
            for case, word in words:
                other = later.get(word.partition("=")[0].strip())
                if other is not None and other.config.when.items() <= {parameter.path: case}.items():
                    found.append(f"space.{parameter.path}: {word} of case {case} does nothing, as space.{other.path} sets the "
                                 f"same; give that `when: {{{parameter.path}: CASE}}` with another case")  # fmt: skip
        return found

    def walk(self, base: dict[str, Any], choose: Callable[[Parameter], Any]) -> tuple[dict[str, Any], list[str]]:
        """Ask `choose` for the code of each parameter whose conditions hold.

        Args:
            base: values of the base experiment, for shares of a number that is not searched.
            choose: from a parameter to a code.

        Returns:
            codes by the parameters' names in Optuna, and the configuration they stand for as `--set` words.
        """
        codes: dict[str, Any] = {}
        values: dict[str, Any] = {}
        words: list[str] = []
        for parameter in self.parameters:
            config = parameter.config
            if any(other not in values or values[other] != wanted for other, wanted in config.when.items()):
                continue
            code = codes[parameter.name] = choose(parameter)
            whole = None
            if config.fraction_of is not None:
                whole = values[config.fraction_of] if config.fraction_of in values else lookup(base, config.fraction_of)
            values[parameter.path] = parameter.value(code, whole)
            words += parameter.words(values[parameter.path])
        return codes, words

    def combinations(self, base: dict[str, Any]) -> list[dict[str, Any]]:
        """Codes of every combination of choices, in the order of the space, each once."""
        count = math.prod(len(parameter.codes) for parameter in self.parameters)
        if count > MAX_COMBINATIONS:
            raise ConfigError(f"space: a grid of {count:,} combinations; at most {MAX_COMBINATIONS:,}, or take another sampler")
        found: list[dict[str, Any]] = [{}]
        for parameter in self.parameters:
            found = [chosen | {parameter.name: code} for chosen in found for code in parameter.codes]
        # Where a condition does not hold the parameter is left out, and several become one.
        walked = (self.walk(base, by_name(chosen))[0] for chosen in found)
        return list({json.dumps(codes): codes for codes in walked}.values())
