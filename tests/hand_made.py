"""For tests of the report: folders of studies as they would be, without a trial being trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

from aevlp.reporting.studies import CONFIRMED
from aevlp.sweeps.ledger import REASON, RETRY_OF
from aevlp.sweeps.study import MARK
from aevlp.sweeps.summary import write_csv

SPACE = {
    "trainer.learning_rate": FloatDistribution(1e-5, 1, log=True),
    "labeler.grid": IntDistribution(0, 6),
    "labeler.negatives": CategoricalDistribution(["off", "on"]),
    "loss.alpha": CategoricalDistribution(["[0.5, 2.0]", "[1.0, 2.0]"]),
    "loss.lambda2 / loss.lambda1": FloatDistribution(0.0, 1.0),
}
BASE = """
name: digits_gpr
dataset: {name: digits}
trainer: {learning_rate: 0.001}
labeler: {grid: 3, negatives: off}
loss: {name: gpr, alpha: [0.5, 2.0], lambda1: 0.7, lambda2: 0.4}
"""
BASE_CODES = (0.001, 3, "off", "[0.5, 2.0]", 0.4 / 0.7)


def trial(values: Any, codes: tuple[Any, ...] = BASE_CODES, **more: Any) -> Any:
    """A complete trial with these values, one an objective; `pruned=` and `failed=` say otherwise."""
    params = dict(zip(SPACE, codes, strict=False))
    kept = {"params": params, "distributions": {name: SPACE[name] for name in params}, "user_attrs": more.pop("attrs", {})}
    if more.get("pruned"):
        return create_trial(state=TrialState.PRUNED, value=None, intermediate_values={1: values}, **kept)
    if more.get("failed"):
        kept["user_attrs"][REASON] = more["failed"]
        return create_trial(state=TrialState.FAIL, **kept)
    return create_trial(values=values if isinstance(values, list) else [values], **kept)


def study(folder: Path, trials: list[Any], metrics: tuple[str, ...] = ("best/val_mAP",), text: str = "") -> optuna.Study:
    """Write study.yaml, base.yaml and trials.csv of a study with these trials; `text` is put into study.yaml."""
    small = ("train/loss",)
    found = optuna.create_study(directions=["minimize" if metric in small else "maximize" for metric in metrics])
    found.set_user_attr(MARK, {"metrics": list(metrics)})
    found.add_trials(trials)
    folder.mkdir(parents=True)
    (folder / "base.yaml").write_text(BASE)
    objective = f"objective: {json.dumps(metrics)}\n" if len(metrics) > 1 else ""
    (folder / "study.yaml").write_text(f"base: digits_gpr\nset: [trainer.threads=1]\ntrials: 30\n{objective}{text}")
    write_csv(found, folder)
    return found


def confirmed(folder: Path) -> None:
    """What fresh seeds said of the study's best trials: the base is the first."""
    rows = ("0,89.5,0.8,3,90.0,full,first", "12,89.1,0.8,3,95.5,full,cannot be told from the first",
            "7,80.0,1.4,1,87.0,full,out after 1 of 3 seeds")  # fmt: skip
    (folder / "confirmed.csv").write_text("\n".join([",".join(CONFIRMED), *rows, ""]))


def searched(count: int = 12) -> list[Any]:
    """The base, then trials whose figure grows with labeler.grid; two pruned, one failed and tried again."""
    trials = [trial(90.0)]
    trials += [trial(80.0 + i, (10.0 ** -(1 + i % 4), i % 7, "on", "[1.0, 2.0]", i / count)) for i in range(count - 4)]
    trials += [trial(60.0 + i, (0.5, i, "on", "[1.0, 2.0]", 0.1), pruned=True) for i in range(2)]
    trials.append(trial(None, (0.5, 6, "on", "[1.0, 2.0]", 0.1), failed="out of memory"))
    trials.append(trial(95.5, (0.01, 5, "off", "[1.0, 2.0]", 0.25), attrs={RETRY_OF: len(trials) - 1}))
    return trials
