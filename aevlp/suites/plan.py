"""A suite ready to run on a dataset: the configuration of every row and seed, all checked beforehand."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aevlp.config.describe import adaptations
from aevlp.config.errors import AevlpError, ConfigError, NoFullLabelsError, in_one_line, suggest
from aevlp.config.finding import EXPERIMENTS, files
from aevlp.config.loading import load_experiment
from aevlp.config.schema import ExperimentConfig
from aevlp.config.validation import keys_below
from aevlp.data.fingerprint import Fingerprint, fingerprint_of
from aevlp.runs.collect import Run, read_run
from aevlp.suites.suite_file import RowConfig, SuiteConfig, load_suite


@dataclass
class Job:
    """One run of a row."""

    title: str
    config: ExperimentConfig
    data: Fingerprint | None = None
    """Of what it is to be trained on; where None, as data are drawn or cannot be read here, where they lie tells its run."""
    path: Path | None = None
    """Its folder, once there is one."""
    failure: str | None = None
    """Why it failed in this sitting."""

    @property
    def key(self) -> str:
        """Short hash of settings and data."""
        text = self.config.hash + ("" if self.data is None else self.data.hash)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def run(self) -> Run | None:
        """What it left, if it has finished."""
        run = None if self.path is None else read_run(self.path)
        return run if run is not None and run.finished else None


@dataclass
class Line:
    """A row of the table on one dataset, with a job for each seed."""

    title: str
    row: RowConfig
    experiment: str
    words: list[str]
    jobs: list[Job]
    adapted: str
    """What was filled in where the public record is incomplete; such a row is not ranked. Empty for most."""
    column: str = ""
    """Of the table, where the suite has several; `title` then ends with it."""
    tuned: list[Job] = field(default_factory=list)
    """The same with the values that --tune found."""
    tuning_failure: str | None = None
    """Why there are none."""


@dataclass(frozen=True)
class Plan:
    """A suite on a dataset."""

    name: str
    suite: SuiteConfig
    dataset: str
    lines: list[Line]
    changes: list[str]
    """What the command line changes about the suite, for whoever reads the table."""
    notes: list[str] = field(default_factory=list)
    """What has to be said of its rows."""
    data: dict[str, Fingerprint | None] = field(default_factory=dict)
    """Of the datasets that were looked at, by their settings."""

    @property
    def label(self) -> str:
        """Name of its group in W&B and of its folder."""
        return f"{self.name}-{self.dataset}"

    @property
    def jobs(self) -> list[Job]:
        """All runs: every row's first seed first, so that a stopped suite has something to say of each."""
        return [job for jobs in zip(*(line.jobs for line in self.lines), strict=True) for job in jobs]

    def look_at_data(self, jobs: list[Job]) -> None:
        """Give each job the fingerprint of its data, each dataset loaded once; AevlpError where they are absent or wrong."""
        for job in jobs:
            settings = job.config.dataset.model_dump_json()
            if settings not in self.data:
                self.data[settings] = fingerprint_of(job.config.dataset)
            job.data = self.data[settings]

    def leave_out_what_data_lack(self) -> None:
        """Look at the data of every run; rows that need full labels go, with a note, where there are none. As `look_at_data`."""
        for line in list(self.lines):
            try:
                self.look_at_data(line.jobs)
            except NoFullLabelsError as error:
                if len(self.lines) == 1:
                    raise
                self.lines.remove(line)
                self.notes.append(f"{line.title} is left out: {in_one_line(error)}")


def load_plan(
    name: str, dataset: str, seeds: int, *,
    rows: list[str] | None = None, columns: list[str] | None = None, own_stop_rules: bool = False, words: Sequence[str] = (),
) -> Plan:  # fmt: skip
    """Read and check a suite on `dataset`, for the seeds 0 to `seeds` - 1.

    Args:
        name: a suite's name, or its file.
        dataset: first part of the experiments' names.
        seeds: runs of each row.
        rows: titles or methods; None is all.
        columns: titles; None is all.
        own_stop_rules: each row stops by its authors' rule, instead of the suite's.
        words: `--set` words for every row that has such a setting, which win.

    Raises:
        ConfigError: with a line for each mistake: unknown suite, dataset, row or method, a method without values for this
            dataset, values that do not go together, a loss that needs what the model does not give, two rows alike.
    """
    stem, suite, origins = load_suite(name)
    if wrong := _given_in(words):
        raise ConfigError(f"--set {wrong}")
    known = files(EXPERIMENTS)
    _require_dataset(f"--dataset {dataset}", dataset, known)
    drafts: list[tuple[str, Line]] = []
    problems: list[str] = []
    notes: list[str] = []
    for title, row in _chosen(suite, rows).items():
        where = f"{origins.get(f'rows.{title}', stem)}: rows.{title}"
        for other in (*(row.only or ()), *row.on, *row.published):
            _require_dataset(where, other, known)
        if row.only is not None and dataset not in row.only:
            if rows is not None:  # it was asked for
                notes.append(f"{title} is left out: it is only for {', '.join(row.only)}")
            continue
        experiment = f"{dataset}_{row.method}"
        if experiment not in known:
            problems.append(f"{where}: {_missing(row.method, dataset, known)}")
            continue
        stop = row.own_stop_rule if own_stop_rules else ()
        settings = [*suite.overrides, *row.overrides, *row.on.get(dataset, ()), *stop]
        adapted = "; ".join(adaptations(experiment))
        for column, more in _columns(suite, columns).items():
            name = f"{title}, {column}" if column else title
            if wrong := _given_in([*settings, *more]):
                problems.append(f"{where}: {wrong}")
            drafts.append((where, Line(name, row, experiment, [*settings, *more], [], adapted, column)))
    lines = [line for _, line in drafts]
    notes += add_words(lines, words)
    seen: dict[tuple[Any, ...], str] = {}
    for where, line in drafts:
        try:
            line.jobs = [make_job(line, seed, f"{stem}-{dataset}") for seed in range(seeds)]
        except AevlpError as error:
            problems += [f"{where}: {message}" for message in str(error).splitlines()]
            continue
        config = line.jobs[0].config
        twin = seen.setdefault((config.hash, *config.places.values()), line.title)  # places are not in the hash
        if twin != line.title:
            problems.append(f"{where}: runs the same as {twin!r}; leave one of them out with --rows")
    if problems:
        raise ConfigError("\n".join(problems))
    if not lines:
        raise ConfigError(f"--rows: none of these rows is for {dataset}")
    changes = [word for word in words if not word.startswith("tracking.")] + ["own stop rules"] * own_stop_rules
    return Plan(stem, suite, dataset, lines, changes, notes)


_GIVEN = {"seed": "a suite runs seeds 0 to N-1; use --seeds"} | dict.fromkeys(
    ("tracking.group", "tracking.job_type", "tracking.name"), "a suite gives this to each of its runs itself; leave it out"
)


def _given_in(words: Sequence[str]) -> str:
    """Why a word is refused that names what each run is given, such as its seed: it would change nothing. Empty without one."""
    found = ((word.strip(), _GIVEN.get(word.partition("=")[0].strip())) for word in words)
    return next((f"{word}: {why}" for word, why in found if why), "")


def _columns(suite: SuiteConfig, words: list[str] | None) -> dict[str, tuple[str, ...]]:
    for word in words or ():
        if word not in suite.columns:
            raise ConfigError(f"--columns {word}: the suite has no such column{suggest(word, suite.columns)}")
    return {title: more for title, more in suite.columns.items() if words is None or title in words} or {"": ()}


def add_words(lines: list[Line], words: Iterable[str]) -> list[str]:
    """Add `--set` words to the rows that have such a setting: `loss.rho` is none of AN's. One that no row has goes to all.

    Returns:
        which rows took a word, of each that some did not.
    """
    wholes = [word for word in words if "." not in word.partition("=")[0]]
    sections = {line.title: _sections(line, wholes) for line in lines}
    notes = []
    for word in words:
        section, _, key = word.partition("=")[0].strip().partition(".")
        key = re.split(r"[.\[]", key)[0]
        takers = [line for line in lines if word in wholes or _has(sections[line.title], section, key)]
        if takers and len(takers) < len(lines):
            notes.append(f"--set {word} is for {len(takers)} of {len(lines)} rows: {', '.join(line.title for line in takers)}")
            below: dict[str, list[str]] = {}
            for line in (line for line in lines if line not in takers):
                for path in keys_below(sections[line.title] or {}, section, key):
                    below.setdefault(path, []).append(line.title)
            notes[-1] += "".join(f"; {path} is that of {', '.join(titles)}" for path, titles in below.items())
        for line in takers or lines:
            line.words.append(word)
    return notes


def _sections(line: Line, words: list[str]) -> dict[str, Any] | None:
    try:
        return load_experiment(line.experiment, [*line.words, *words]).to_dict()
    except ConfigError:  # told once all words are there, which may mend it
        return None


def _has(sections: dict[str, Any] | None, section: str, key: str) -> bool:
    return sections is None or (isinstance(sections.get(section), dict) and key in sections[section])


def make_job(line: Line, seed: int, group: str, more: list[str] | None = None) -> Job:
    """The run of a row for a seed, not begun."""
    words = [*line.words, *(more or []), f"seed={seed}", f"tracking.group={group}", "tracking.job_type=suite",
             f"tracking.name={json.dumps(line.title + (' (tuned)' if more else ''))}"]  # fmt: skip
    return Job(line.title, load_experiment(line.experiment, words).planned_at_once())


def _require_dataset(where: str, dataset: str, experiments: Iterable[str]) -> None:
    if not any(name.startswith(f"{dataset}_") for name in experiments):
        datasets = {name.partition("_")[0] for name in experiments}
        raise ConfigError(f"{where}: there is no experiment of {dataset!r}{suggest(dataset, datasets)}")


def _chosen(suite: SuiteConfig, wanted: list[str] | None) -> dict[str, RowConfig]:
    if wanted is None:
        return suite.rows
    found: dict[str, RowConfig] = {}
    for word in wanted:
        rows = {title: row for title, row in suite.rows.items() if word in (title, row.method)}
        if not rows:
            raise ConfigError(f"--rows {word}: the suite has no such row{suggest(word, suite.rows)}")
        found |= rows
    return found


def _missing(method: str, dataset: str, experiments: Iterable[str]) -> str:
    has = [name.partition("_")[0] for name in experiments if name.partition("_")[2] == method]
    if has:
        others = ", ".join(sorted(has))
        return f"method {method} has no values for {dataset}, only for {others}; add experiments/{dataset}/{method}.yaml"
    methods = {name.removeprefix(f"{dataset}_") for name in experiments if name.startswith(f"{dataset}_")}
    return f"unknown method {method!r}{suggest(method, methods)}"
