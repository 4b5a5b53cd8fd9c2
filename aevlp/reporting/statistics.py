"""Means, 95 % intervals over seeds, and paired differences."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from aevlp.reading import number
from aevlp.runs.collect import Run


def mean_and_interval(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean, and half the width of its 95 % confidence interval (Student's t); None for a single value."""
    if len(values) < 2:
        return float(np.mean(values)), None
    from scipy.special import stdtrit  # not scipy.stats, which takes a second to import

    quantile = float(stdtrit(len(values) - 1, 0.975))
    return float(np.mean(values)), quantile * float(np.std(values, ddof=1)) / math.sqrt(len(values))


def quantiles(count: int) -> list[float]:
    """Student's t at 97.5 % for 1, 2, ... degrees of freedom, up to those of `count` values."""
    from scipy.special import stdtrit

    return stdtrit(np.arange(1, count), 0.975).tolist() if count > 1 else []


def rank_correlation(first: np.ndarray, second: np.ndarray) -> tuple[float | None, float]:
    """Spearman's rank correlation of two (N,) arrays, N > 2; None where one of them is constant.

    Returns:
        the correlation, and the size that 95 % of correlations of N unrelated pairs stay below (Student's t).
    """
    from scipy.special import stdtrit

    one, other = _ranks(first), _ranks(second)
    quantile = float(stdtrit(len(first) - 2, 0.975))
    chance = quantile / math.sqrt(len(first) - 2 + quantile**2)
    if not np.ptp(one) or not np.ptp(other):
        return None, chance
    return float(np.corrcoef(one, other)[0, 1]), chance


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1; equal values share the mean of theirs."""
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[which]


BEST, BEST_KNOWN = "best/val_mAP", "best/val_mAP_observed"
RANKED_BY = ("test/mAP", BEST, "test/mAP_observed", BEST_KNOWN)
"""What experiments are ranked by: the first of these that is known."""


@dataclass(eq=False)
class Group:
    """The runs of one experiment with one set of settings on the same data."""

    name: str
    """What it is called in tables: given by --name, else the experiment's, with what differs in it."""
    experiment: str
    config_hash: str
    data_fingerprint: str = ""
    """Empty for runs of an older version, which do not tell their data."""
    by_seed: dict[int, Run] = field(default_factory=dict)
    """The finished run of each seed, the latest where there are several."""
    repeated: list[Run] = field(default_factory=list)
    """Finished runs that a later one of the same seed replaces."""
    unfinished: list[Run] = field(default_factory=list)

    @property
    def runs(self) -> list[Run]:
        """All that can be shown, finished ones first."""
        return [self.by_seed[seed] for seed in sorted(self.by_seed)] + self.unfinished

    @property
    def drawn(self) -> list[Run]:
        """Those that curves are drawn of, one a seed: the finished run, or that of the unfinished ones that came furthest."""
        unfinished = sorted(self.unfinished, key=lambda run: len(run.epochs))
        furthest = {run.seed: run for run in unfinished} | self.by_seed
        return [furthest[seed] for seed in sorted(furthest)]

    @property
    def given_name(self) -> str:
        """The name that --name gave its runs; empty where it gave none."""
        return next((run.given_name for run in self.runs if run.given_name), "")

    @property
    def by_known(self) -> bool:
        """Whether the checkpoints were chosen by known labels alone: asked for, or no others are known."""
        selection = next((run.config for run in self.runs if run.config), {}).get("selection")
        if isinstance(selection, dict) and selection.get("labels") == "observed":
            return True
        told = [run.summary for run in self.by_seed.values()]
        return any(one.get("val/mAP") is None and one.get("val/mAP_observed") is not None for one in told)

    def values(self, metric: str) -> dict[int, float]:
        """Value of a summary metric by seed, where it is known.

        What chose the checkpoint is `best/val_mAP` where full labels did, and `best/val_mAP_observed` where known ones did,
        which an older version has under the first name, too: the two are never one metric.
        """
        names = [metric]
        if metric in (BEST, BEST_KNOWN) and self.by_known:
            names = [] if metric == BEST else [BEST_KNOWN, BEST]
        found = {}
        for seed, run in sorted(self.by_seed.items()):
            known = (number(run.summary.get(name)) for name in names)
            found[seed] = next((value for value in known if value is not None), None)
        return {seed: value for seed, value in found.items() if value is not None}

    def mean(self, metric: str) -> float:
        """Mean over seeds, minus infinity where no run knows the metric."""
        values = list(self.values(metric).values())
        return float(np.mean(values)) if values else -math.inf


def group_runs(runs: list[Run]) -> list[Group]:
    """Runs that repeat each other, best mean first, as `RANKED_BY` has it. Runs of two given names are two groups."""
    alike: dict[tuple[str, str, str], list[Run]] = {}
    for run in sorted(runs, key=lambda run: run.path.name):
        alike.setdefault((run.experiment, run.config_hash, run.data_fingerprint), []).append(run)
    groups: list[Group] = []
    for key, found in alike.items():
        names = {run.given_name for run in found if run.given_name}
        parts: dict[str, Group] = {}
        for run in found:
            group = parts.setdefault(run.given_name if len(names) > 1 else "", Group(run.experiment, *key))
            if not run.finished:
                group.unfinished.append(run)
                continue
            if run.seed in group.by_seed:
                group.repeated.append(group.by_seed[run.seed])
            group.by_seed[run.seed] = run
        groups += parts.values()
    return sorted(groups, key=lambda group: (*(-group.mean(metric) for metric in RANKED_BY), group.name))


@dataclass(frozen=True)
class Difference:
    """Mean of the paired differences over the seeds both have; `half` the width of its 95 % interval, None for one seed."""

    mean: float
    half: float | None
    seeds: list[int]
    p: float | None
    """Of the paired t-test that there is no difference (two-sided); None for one seed, or where all differences are equal."""

    @property
    def clear(self) -> bool:
        """Whether the interval leaves 0 out."""
        return self.half is not None and abs(self.mean) > self.half


def paired_difference(group: Group, baseline: Group, metric: str) -> Difference | None:
    """`group` minus `baseline`, by seed; None where they have no seed in common."""
    first, second = group.values(metric), baseline.values(metric)
    seeds = sorted(first.keys() & second.keys())
    if not seeds:
        return None
    differences = [first[seed] - second[seed] for seed in seeds]
    return Difference(*mean_and_interval(differences), seeds, _paired_t_test(differences))


def _paired_t_test(differences: Sequence[float]) -> float | None:
    spread = float(np.std(differences, ddof=1)) if len(differences) > 1 else 0.0
    if not spread:
        return None
    from scipy.special import stdtr

    t = float(np.mean(differences)) / spread * math.sqrt(len(differences))
    return 2 * float(stdtr(len(differences) - 1, -abs(t)))


def mean_per_class(runs: Iterable[dict[str, float]]) -> dict[str, float]:
    """The mean over runs of a figure by class, such as test AP; empty where none tells it."""
    found: dict[str, list[float]] = {}
    for precisions in runs:
        for name, precision in precisions.items():
            found.setdefault(name, []).append(precision)
    return {name: float(np.mean(values)) for name, values in found.items()}


def class_precisions(run: Run) -> dict[str, float]:
    """Test AP by class name, from per_class.csv; without the classes that have none, as no test image shows them."""
    try:
        found = {row["class"]: number(float(row["test_AP"])) for row in run.table("per_class.csv") if row["test_AP"]}
    except (KeyError, ValueError):
        found = {"": None}
    if None in found.values():
        run.say("per_class.csv has not the columns class, test_AP, or no number there")
    return {name: precision for name, precision in found.items() if precision is not None}
