"""What fresh seeds said of a study's leaders, in words, in a table, and in confirmed.csv."""

from __future__ import annotations

from optuna.trial import FrozenTrial

from aevlp.layout import NONE, Sheet
from aevlp.sweeps.confirmation import Confirmation
from aevlp.sweeps.ledger import params_of
from aevlp.sweeps.standing import Row, Standing
from aevlp.text import counted

FIRST, ALIKE = "first", "cannot be told from the first"


def describe_noise(confirmation: Confirmation | None) -> str:
    """What the base's seeds tell of all trials; empty before they are known."""
    if confirmation is None or (trial := confirmation.stand_in()) is None or (spread := confirmation.noise()) is None:
        return ""
    is_base = confirmation.base is not None and params_of(trial) == confirmation.base
    whose = "the base" if is_base else f"trial {trial.number}, which stands for the base,"
    margin = spread.margin(confirmation.seeds_each)
    return (
        f"noise    {spread.freedom + 1} runs of {whose} differ by {_short(spread.value)} (standard deviation): differences "
        f"below {_short(margin)} between two trials mean nothing; take more seeds or photos to see smaller ones"
    )


def describe(confirmation: Confirmation, trial: FrozenTrial) -> str:
    """Mean and interval of a trial on its fresh seeds; empty where it has none."""
    standing = confirmation.look()
    row = next((row for row in standing.rows if row.trial == trial.number and row.values), None)
    if row is None:
        return ""
    half = _half(standing, row)
    interval = "" if half is None else f" ± {half:.2f} (95 %)"
    seeds = counted(len(row.values), "fresh seed")
    return f"{row.mean:.2f}{interval} on {seeds}, by {confirmation.labels} labels; {trial.values[0]:.2f} in the search"


def describe_others(confirmation: Confirmation) -> str:
    """Which trials cannot be told from the first; or that it is not known yet."""
    standing = confirmation.look()
    if standing.lacking or not standing.rows:
        return "not confirmed yet, so this may be the luckiest of all: `sweep run` without --no-confirm goes on with that"
    if standing.first is None:
        return "not confirmed: no trial came through all fresh seeds, so this is the best of the search"
    if len(standing.rows) == 1:
        return "there is no other trial to compare it with"
    alike = [str(row.trial) for row in standing.rows[1:] if not row.out]
    if not alike:
        return "every other one is worse than chance explains"
    return f"trial{'s' * (len(alike) > 1)} {', '.join(alike)} cannot be told from it"


def sheet(confirmation: Confirmation, metric: str) -> Sheet:
    """A row for each trial that was trained on fresh seeds."""
    title = f"{metric} on fresh seeds, by {confirmation.labels} labels of validation"
    header = ["trial", "mean", "95 %", "seeds", "search", "verdict"]
    told = []
    for trial, mean, half, seeds, searched, _, verdict in rows(confirmation):
        interval = NONE if half is None else f"± {half:.2f}"
        told.append([str(trial), f"{mean:.2f}", interval, str(seeds), f"{searched:.2f}", verdict])
    return Sheet(title, header, told, text=("verdict",), wraps={5: " "})


def rows(confirmation: Confirmation) -> list[tuple[int, float, float | None, int, float, str, str]]:
    """Values of CONFIRMED for each trial that has a run on a fresh seed, best first."""
    standing, trials = confirmation.look(), confirmation.study.get_trials(deepcopy=False)
    found = []
    for row in (row for row in standing.rows if row.values):
        verdict = "under way" if standing.lacking else row.out or (FIRST if row is standing.first else ALIKE)
        searched = trials[row.trial].values[0]
        found.append((row.trial, row.mean, _half(standing, row), len(row.values), searched, confirmation.labels, verdict))
    return found


def _short(value: float) -> str:
    return f"{value:.1f}" if value >= 1 else f"{value:.2g}"


def _half(standing: Standing, row: Row) -> float | None:
    return None if standing.spread is None else standing.spread.half(len(row.values))
