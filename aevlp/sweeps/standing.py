"""Which of the trials that are trained again on fresh seeds can still win, and which runs that lacks: numbers alone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

Runs = Mapping[int, float | None]
"""Values of a trial by fresh seed, counted from 0; None for a run that failed for good."""


@dataclass(frozen=True)
class Spread:
    """Standard deviation of runs that differ by their seed alone, pooled over settings."""

    value: float
    freedom: int
    """Degrees of freedom."""

    @classmethod
    def of(cls, groups: Iterable[Sequence[float]]) -> Spread | None:
        """From the values of some settings; None where no setting has two."""
        groups = [group for group in groups if len(group) > 1]
        freedom = sum(len(group) - 1 for group in groups)
        if not freedom:
            return None
        return cls(math.sqrt(sum((len(group) - 1) * float(np.var(group, ddof=1)) for group in groups) / freedom), freedom)

    @classmethod
    def paired(cls, groups: Sequence[Sequence[float]]) -> Spread | None:
        """The same without what a seed does to all settings alike, for values (K,n) of K settings on the same n seeds.

        None where there are not two of both. Its margin for K = 2 is that of the paired t-test.
        """
        values = np.asarray(groups, dtype=np.float64)
        freedom = (values.shape[0] - 1) * (values.shape[1] - 1)
        if freedom < 1:
            return None
        left = values - values.mean(axis=0) - values.mean(axis=1, keepdims=True) + values.mean()
        return cls(math.sqrt(float((left**2).sum()) / freedom), freedom)

    def half(self, runs: int) -> float:
        """Half the width of the 95 % interval (Student's t) of the mean of so many runs."""
        from scipy.special import stdtrit  # not scipy.stats, which takes a second to import

        return float(stdtrit(self.freedom, 0.975)) * self.value / math.sqrt(runs)

    def margin(self, runs: int) -> float:
        """What chance alone makes of the difference between two means of so many runs, in 19 of 20 cases at most."""
        return math.sqrt(2) * self.half(runs)


@dataclass(frozen=True)
class Row:
    """What fresh seeds say of a trial."""

    trial: int
    values: tuple[float, ...]
    """Of the seeds that it had, in their order."""
    out: str = ""
    """Why it cannot win; empty while it can, or could not be told from the first in the end."""

    @property
    def mean(self) -> float:
        """Over the seeds that it had."""
        return float(np.mean(self.values)) if self.values else math.nan


@dataclass(frozen=True)
class Standing:
    """How a confirmation stands."""

    rows: list[Row]
    """Those that can still win, best mean first; then the others, last dropped first."""
    lacking: list[tuple[int, int]]
    """Trial and seed, from 0, of the runs that have to end before anything more can be said."""
    spread: Spread | None
    margin: float
    """A mean worse than the best by more than this, after the last seed that all had who were left, is not chance."""

    @property
    def first(self) -> Row | None:
        """The winner; None while runs are lacking, or where every trial has failed."""
        return None if self.lacking or not self.rows or self.rows[0].out else self.rows[0]


def stand(known: Mapping[int, Runs], seeds: int, *, base: int, searched: float | None, sign: int) -> Standing:
    """Compare trials, a fresh seed after the other.

    After each seed, those that lack further ones go whose mean is worse than the best by more than `Spread.margin`: of the spread
    within a setting after the first, and from the second on of what is left of it when the seeds, which all share, are taken out.
    Further seeds tell more of the spread: who went after the first comes back where the best turns out to hang on its seed. Who
    has all seeds, as the base from the beginning, is compared to the end.

    Args:
        known: what runs there are, by trial, in the order that decides between equal ones.
        seeds: fresh seeds of a trial that is not dropped.
        base: one of the trials.
        searched: value of its run in the search; None where that is a mean of several.
        sign: 1 where larger is better, else -1.
    """
    groups = {number: _values(known[number], range(seeds)) if number == base else [] for number in known}
    groups[base] += [] if searched is None else [searched]
    whole = {number for number in known if all(index in known[number] for index in range(seeds))}
    kept, out = list(known), dict[int, str]()
    went_first: list[int] = []
    lacking = [(base, index) for index in range(seeds) if index not in known[base]]
    spread, limit = Spread.of(groups.values()), math.inf
    for index in range(0 if lacking else seeds):
        lacking = [(number, index) for number in kept if index not in known[number]]
        if lacking:
            break
        groups |= {number: _values(known[number], range(index + 1)) for number in kept if number != base}
        spread = Spread.of(groups.values())
        back = _back(went_first, kept, known, spread, sign)
        lacking = [(number, earlier) for number in back for earlier in range(1, index + 1) if earlier not in known[number]]
        if lacking:
            break
        kept, went_first = kept + back, [number for number in went_first if number not in back]
        out = {number: why for number, why in out.items() if number not in back}
        out |= {number: "its run failed" for number in kept if None in (known[number][one] for one in range(index + 1))}
        kept = [number for number in kept if number not in out]
        if not kept:
            break
        means = {number: sign * float(np.mean(_values(known[number], range(index + 1)))) for number in kept}
        kept.sort(key=lambda number: -means[number])  # a stable sort: equal ones stay in the order of the search
        apart = Spread.paired([_values(known[number], range(index + 1)) for number in kept]) or spread
        limit = math.inf if apart is None else apart.margin(index + 1)
        final = index == seeds - 1
        late = [number for number in kept if means[kept[0]] - means[number] > limit and (final or number not in whole)]
        out |= {number: f"out after {len(known[number])} of {seeds} seeds" for number in late}
        went_first += late if index == 0 else []
        kept = [number for number in kept if number not in late]
    ordered = kept + sorted(out, key=lambda number: -len(known[number]))
    rows = [Row(one, tuple(_values(known[one], range(seeds))), out.get(one, "")) for one in ordered]
    return Standing(rows, lacking, spread, limit)


def _back(gone: list[int], kept: list[int], known: Mapping[int, Runs], spread: Spread | None, sign: int) -> list[int]:
    """Of those that went after their first seed, who is no further from the best there than chance explains by now."""
    first = {number: value for number in (*gone, *kept) if (value := known[number][0]) is not None}
    best = max((sign * first[number] for number in kept if number in first), default=-math.inf)
    return [] if spread is None else [number for number in gone if best - sign * first[number] <= spread.margin(1)]


def _values(runs: Runs, indices: Iterable[int]) -> list[float]:
    return [value for index in indices if (value := runs.get(index)) is not None]
