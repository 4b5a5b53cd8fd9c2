"""The shape of a study: one YAML file of sweeps/, validated like every configuration."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from aevlp.config.draft import Draft
from aevlp.config.errors import shortened, suggest
from aevlp.config.finding import file_of
from aevlp.config.loading import read_mapping
from aevlp.config.schema import Config
from aevlp.config.validation import validate_model
from aevlp.tracking.metrics import EPOCH_METRICS, Direction, preferred_direction

# Each choice, parameter and beginning is tried out before a study begins, at some milliseconds.
MAX_CHOICES = 200
MAX_PARAMETERS = 100
MAX_START = 1000
FRESH_SEED = 100
Scalar = bool | int | float | str | None


class ParameterConfig(Config):
    """What one parameter may be: exactly one of float, int, choice, fraction_of and cases."""

    float_: tuple[float, float] | None = Field(None, alias="float")
    """Lowest and highest number."""
    int_: tuple[int, int] | None = Field(None, alias="int")
    """Lowest and highest whole number."""
    choice: list[Any] | None = Field(None, min_length=1, max_length=MAX_CHOICES)
    """Values to choose from, all of one type; lists are allowed."""
    fraction_of: str | None = None
    """Another number of the configuration; this one is a share of it, between `low` and `high`."""
    low: float | None = None
    """Lowest share, with fraction_of."""
    high: float | None = None
    """Highest share, with fraction_of."""
    cases: dict[str, list[str]] | None = Field(None, min_length=1, max_length=MAX_CHOICES)
    """Named sets of `--set` words to choose from."""
    log: bool = False
    """Whether equal ratios are equally likely, instead of equal differences."""
    step: float | None = Field(None, gt=0)
    """Distance between two neighbouring values; every value is allowed without."""
    when: dict[str, Scalar] = Field(default_factory=dict)
    """Other parameters of the space and the values they must have for this one to be searched."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        self._require_whole()
        return self

    def _require_whole(self) -> None:
        kinds = ("float", "int", "choice", "fraction_of", "cases")
        values = (self.float_, self.int_, self.choice, self.fraction_of, self.cases)
        given = [name for name, value in zip(kinds, values, strict=True) if value is not None]
        if len(given) != 1:
            raise ValueError(f"needs exactly one of {', '.join(kinds)}; has {' and '.join(given) or 'none'}")
        ranged = self.float_ or self.int_
        if ranged is not None:
            _check_range(ranged[0], ranged[1], self.log, self.step)
            if self.int_ and self.step and self.step != int(self.step):
                raise ValueError(f"step of an int must be a whole number, is {self.step:g}")
        elif self.log or self.step:
            raise ValueError(f"log and step belong to float and int, not to {given[0]}")
        if (self.fraction_of is None) != (self.low is None) or (self.low is None) != (self.high is None):
            raise ValueError("fraction_of, low and high come together: {fraction_of: loss.lambda1, low: 0.2, high: 0.95}")
        if self.low is not None and self.high is not None:
            _check_range(self.low, self.high, log=False, step=None)
        if self.choice is not None:
            _check_choice(self.choice)
        for name, words in (self.cases or {}).items():
            if wrong := next((word for word in words if "=" not in word), ""):
                raise ValueError(f"case {name}: {wrong}: write it as path=value, for example loss.rho=0.8 or loss=an")

    @property
    def is_number(self) -> bool:
        """Whether whatever it takes is a number, of which another may be a share."""
        numbers = self.choice and all(isinstance(value, int | float) and not isinstance(value, bool) for value in self.choice)
        return bool(self.float_ or self.int_ or self.fraction_of or numbers)

    def lacks(self, value: Scalar) -> str:
        """Why it never has this value, for which a condition asks; empty where it may."""
        if self.fraction_of is not None:
            return f"that is a share of {self.fraction_of}; name a choice or cases"
        if self.float_ is not None:
            fits = isinstance(value, int | float) and self.float_[0] <= value <= self.float_[1]
        elif self.int_ is not None:
            fits = value in range(self.int_[0], self.int_[1] + 1, int(self.step or 1))
        else:
            named = self.choice or list(self.cases or ())
            return "" if value in named else f"it has no such value{suggest(str(value), map(str, named))}"
        return "" if fits else "it has no such value"


def _check_range(low: float, high: float, log: bool, step: float | None) -> None:
    if low >= high:
        raise ValueError(f"the range [{low:g}, {high:g}] is empty; the first number must be below the second")
    if log and low <= 0:
        raise ValueError(f"a log range must lie above 0, starts at {low:g}")
    if log and step:
        raise ValueError("log and step exclude each other")


def _check_choice(choice: list[Any]) -> None:
    kinds = {float if type(value) is int else type(value) for value in choice if value is not None}
    if len(kinds) > 1:
        raise ValueError(f"choice mixes types: {shortened(', '.join(map(repr, choice)))}; all must be of one")
    if any(value in choice[:i] for i, value in enumerate(choice)):
        raise ValueError("choice names a value twice")


class ObjectiveConfig(Config):
    """A metric to make large or small."""

    metric: str
    """A metric that runs log once an epoch."""
    direction: Direction | None = None
    """Null is what is better for that metric."""

    @field_validator("metric")
    @classmethod
    def _is_logged(cls, metric: str) -> str:
        if metric.startswith("test/"):
            raise ValueError(f"{metric} would choose settings by the test images; take best/val_mAP")
        if metric not in EPOCH_METRICS:
            raise ValueError(f"no run logs {metric!r}{suggest(metric, EPOCH_METRICS)}")
        return metric

    @property
    def resolved_direction(self) -> Direction:
        """The direction, never null."""
        return self.direction or preferred_direction(self.metric)


class SamplerConfig(Config):
    """How values are chosen."""

    name: Literal["tpe", "gp", "cmaes", "qmc", "random", "grid", "nsga2"] = "tpe"
    """grid tries every combination once, in the order of the file."""
    startup: int = Field(10, ge=1)
    """Trials drawn at random before the sampler learns (tpe, gp, cmaes); population of nsga2."""


class PrunerConfig(Config):
    """When a trial is given up before its end."""

    name: Literal["median", "hyperband", "patient", "none"] = "median"
    """median: worse than half of the trials at this epoch; patient: the same, once it has stopped to improve."""
    startup: int = Field(5, ge=1)
    """Trials that must have ended before the first is given up (median, patient)."""
    warmup: int = Field(1, ge=0)
    """Epochs that every trial may have (median, patient); the least that hyperband gives."""
    patience: int = Field(1, ge=1)
    """Epochs without a gain (patient)."""


class ConfirmConfig(Config):
    """How the leaders are told from the lucky, once all trials have ended: they are trained again on fresh seeds."""

    best: int = Field(5, ge=1, le=100)
    """Trials that are trained again, the best of the search; so is the base, whatever its place."""
    seeds: int = Field(3, ge=1, le=100)
    """Fresh seeds of each, unless it is dropped before as it cannot win any more."""


class StudyConfig(Config):
    """A study, as read from its file."""

    base: str
    """Experiment whose values hold where the space says nothing: a name, or a YAML file."""
    overrides: tuple[str, ...] = Field((), alias="set")
    """Changes to the base, as `--set` words."""
    objective: tuple[ObjectiveConfig, ...] = Field((ObjectiveConfig(metric="best/val_mAP"),), min_length=1)
    """What the study is for: a metric, or several."""
    space: dict[str, ParameterConfig] = Field(min_length=1, max_length=MAX_PARAMETERS)
    """Dotted path of each parameter and what it may be."""
    sampler: SamplerConfig = SamplerConfig()
    """How values are chosen."""
    pruner: PrunerConfig = PrunerConfig()
    """When trials are given up."""
    seeds: int = Field(1, ge=1)
    """Runs of each trial, with the base's seed and those that follow it; the objective is their mean."""
    confirm: ConfirmConfig | None = ConfirmConfig()
    """How the best trials are confirmed on seeds that no trial has used; `off` takes the best of the search. Not for several
    objectives."""
    trials: int | None = Field(None, ge=1)
    """Trials in all; null is every combination of a grid, and needs --trials otherwise."""
    timeout: float | None = Field(None, gt=0)
    """Minutes after which no further trial is begun."""
    seed: int = Field(0, ge=0, lt=2**31)
    """Seed of the sampler; that of the runs is the base's."""
    start: Annotated[tuple[tuple[str, ...], ...], Field(max_length=MAX_START)] = ((),)
    """Trials to begin with, each as changes to the base; by default the base itself. Left out where the space lacks it."""

    @field_validator("objective", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: Any) -> Any:
        value = value if isinstance(value, list | tuple) else [value]
        return [{"metric": item} if isinstance(item, str) else item for item in value]

    @field_validator("sampler", "pruner", mode="before")
    @classmethod
    def _word_is_a_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @field_validator("confirm", mode="before")
    @classmethod
    def _off_is_none(cls, value: Any) -> Any:
        return None if value == "off" or value is False else value

    @property
    def confirmation(self) -> ConfirmConfig | None:
        """`confirm`, but None with several objectives."""
        return self.confirm if len(self.objective) == 1 else None

    @property
    def fresh_seed(self) -> int:
        """How far the first seed that confirms is from the base's: no trial has one of these, nor a suite or a table of few."""
        return max(FRESH_SEED, self.seeds)

    @model_validator(mode="after")
    def _consistent(self) -> StudyConfig:
        for path, parameter in self.space.items():
            for other, wanted in parameter.when.items():
                if other not in self.space or other == path:
                    raise ValueError(f"space.{path}: when names {other!r}, which is not in the space{suggest(other, self.space)}")
                if self.space[other].when:
                    raise ValueError(f"space.{path}: when names {other!r}, which has a condition itself")
                if why := self.space[other].lacks(wanted):
                    raise ValueError(f"space.{path}: when asks for {other}: {shortened(str(wanted))}; {why}")
            if parameter.fraction_of == path:
                raise ValueError(f"space.{path}: fraction_of names the parameter itself; name another number")
            whole = self.space.get(parameter.fraction_of or "")
            if whole is not None and not whole.is_number:
                raise ValueError(
                    f"space.{path}: fraction_of names {parameter.fraction_of!r}, which is no number in each trial; "
                    "a share is of a float, an int or a choice of numbers"
                )
            if self.sampler.name == "grid" and not (parameter.choice or parameter.cases):
                raise ValueError(f"space.{path}: the grid sampler needs a choice or cases")
        if self.sampler.name == "grid" and self.start and "start" in self.model_fields_set:
            raise ValueError("start: a grid tries every combination, in the order of the file; take start out")
        if len(self.objective) > 1 and self.sampler.name == "cmaes":
            raise ValueError("sampler cmaes takes one objective; take nsga2, tpe or gp")
        if len(self.objective) > 1 and self.pruner.name != "none":
            raise ValueError("with several objectives no trial can be called worse before its end; set pruner: none")
        if len(self.objective) > 1 and self.confirm is not None and "confirm" in self.model_fields_set:
            raise ValueError("confirm takes one objective: a front of several has no first; set confirm: off")
        return self


def load_study(name: str) -> tuple[str, StudyConfig, dict[str, str]]:
    """Name and content of a study given by name or file, and file and line of each dotted path.

    Raises:
        ConfigError: naming file, line and dotted path.
    """
    path = file_of("study", "sweeps", name, "sweeps")
    values, origins = read_mapping(path)
    return path.stem, validate_model(StudyConfig, Draft(values, origins)), origins
