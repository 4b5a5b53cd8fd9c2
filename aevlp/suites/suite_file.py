"""The shape of a suite: one YAML file of experiments/suites/, validated like every configuration."""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_validator, model_validator

from aevlp.config.draft import Draft
from aevlp.config.errors import suggest
from aevlp.config.finding import SUITES, file_of
from aevlp.config.loading import read_mapping
from aevlp.config.schema import Config
from aevlp.config.validation import validate_model
from aevlp.sweeps.study_file import ParameterConfig

MAX_ROWS = 200  # each is resolved before the first begins
MAX_COLUMNS = 20


class TuneConfig(ParameterConfig):
    """A parameter as in a study, or a number around the row's own, which differs by dataset."""

    times: tuple[float, float] | None = None
    """Lowest and highest number, as parts of the row's own."""

    def _require_whole(self) -> None:
        if self.times is None:
            super()._require_whole()
        elif self.model_fields_set - {"times", "log"} or not 0 < self.times[0] <= 1 <= self.times[1]:
            raise ValueError("times: [low, high] goes with log alone, and 0 < low <= 1 <= high")

    def around(self, own: Any) -> ParameterConfig:
        """The range in numbers; ValueError where the row's own value is none above 0."""
        assert self.times is not None
        if isinstance(own, bool) or not isinstance(own, int | float) or own <= 0:
            raise ValueError(f"times needs a number above 0, is {own!r}")
        return ParameterConfig(float=tuple(float(f"{part * own:.4g}") for part in self.times), log=self.log)


class RowConfig(Config):
    """A line of the table: a method, as the experiment <dataset>_<method> has it, and changes to it."""

    method: str
    """What follows the dataset in the name of its experiments: `gpr` is digits_gpr, coco_gpr, ..."""
    overrides: tuple[str, ...] = Field((), alias="set")
    """Changes to the experiment, as `--set` words."""
    on: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Further words, by dataset."""
    only: tuple[str, ...] | None = None
    """Datasets that have this row; null is all."""
    own_stop_rule: tuple[str, ...] = ()
    """The stop rule its authors use, as `--set` words; taken by --own-stop-rules."""
    published: dict[str, float] = Field(default_factory=dict)
    """Test mAP in the literature, by dataset."""
    tune: dict[str, TuneConfig] = Field(default_factory=dict)
    """What --tune searches beside the learning rate."""


class SuiteConfig(Config):
    """A suite, as read from its file."""

    rows: dict[str, RowConfig] = Field(min_length=1, max_length=MAX_ROWS)
    """Title of each row, and what it runs; a plain word is a method."""
    columns: dict[str, tuple[str, ...]] = Field(default_factory=dict, max_length=MAX_COLUMNS)
    """Title of each column, and its changes to every row, as `--set` words; without, a row is one experiment."""
    overrides: tuple[str, ...] = Field((), alias="set")
    """Changes to every row, as `--set` words: what makes the protocol one."""
    ours: str | None = None
    """Row whose difference to the best of the others is told in words."""
    against: str | None = None
    """Row that all are compared with; null is the best other than `ours`."""
    lower: str | None = None
    """Row at the lower end of the gap that methods close."""
    upper: str | None = None
    """Row at its upper end; a bound, so it is not ranked."""
    source: str | None = None
    """Where the published figures are from."""

    @field_validator("rows", mode="before")
    @classmethod
    def _word_is_a_method(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {title: {"method": row} if isinstance(row, str) else row for title, row in value.items()}

    @model_validator(mode="after")
    def _columns_are_not_compared(self) -> SuiteConfig:
        if self.columns and (self.ours or self.against or self.lower or self.upper):
            raise ValueError("columns: such a suite ranks its rows by their mean; leave out ours, against, lower and upper")
        return self

    @model_validator(mode="after")
    def _known_rows(self) -> SuiteConfig:
        for role in ("ours", "against", "lower", "upper"):
            title = getattr(self, role)
            if title is not None and title not in self.rows:
                raise ValueError(f"{role}: there is no row {title!r}{suggest(title, self.rows)}")
        return self


def load_suite(name: str) -> tuple[str, SuiteConfig, dict[str, str]]:
    """Name and content of a suite given by name or file, and file and line of each dotted path.

    Raises:
        ConfigError: naming file, line and dotted path.
    """
    path = file_of("suite", "suites", name, SUITES)
    values, origins = read_mapping(path)
    return path.stem, validate_model(SuiteConfig, Draft(values, origins)), origins
