"""The study as a Weights & Biases run of its own: the table of all trials, in the group of its trials' runs."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna

from aevlp.sweeps.plan import Plan
from aevlp.sweeps.summary import best_trials, rows
from aevlp.tracking.wandb_table import log_table

_ID = "wandb_id"


def log_study(plan: Plan, study: optuna.Study, folder: Path, notify: Callable[[str], None]) -> None:
    """Log the table; a later sitting continues the same run. Never raises for W&B's sake."""
    settings = plan.base.tracking
    if settings.mode == "off":
        return
    if _ID not in study.user_attrs:
        study.set_user_attr(_ID, f"{study.study_name}-{secrets.token_hex(3)}")
    best = best_trials(study)
    values = zip(plan.metrics, best[0].values, strict=True) if len(best) == 1 else ()
    summary = {f"best/{metric.removeprefix('best/')}": value for metric, value in values}
    columns, table = rows(study)
    log_table(
        settings, study.user_attrs[_ID], folder, notify, group=study.study_name, job_type="sweep",
        config={"study": _settings(plan)}, name="trials", columns=columns, rows=table,
        summary={"trials": len(study.trials), **summary},
    )  # fmt: skip


def _settings(plan: Plan) -> dict[str, Any]:
    """What the study searches and from where, as values that W&B can filter and plot by."""
    space = {
        path: parameter.model_dump(by_alias=True, exclude_defaults=True, mode="json")
        for path, parameter in plan.study.space.items()
    }
    objective = dict(zip(plan.metrics, plan.directions, strict=True))
    return {"objective": objective, "seeds": plan.study.seeds, "space": space, "base": plan.base.to_dict()}
