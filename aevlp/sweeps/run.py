"""`sweep run`: from its flags to a finished study."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence

from aevlp.command import COMMAND
from aevlp.config.errors import ConfigError
from aevlp.machine import Machine
from aevlp.masking import STORAGE_VARIABLE, mask
from aevlp.runs.plugins import load_kept
from aevlp.sweeps.confirmation import begin
from aevlp.sweeps.plan import JUDGED_LOW, Plan
from aevlp.sweeps.runner import Runner
from aevlp.sweeps.storage import storage_errors
from aevlp.sweeps.study import open_study, study_folder
from aevlp.sweeps.study_file import load_study
from aevlp.sweeps.summary import describe_best
from aevlp.sweeps.view import View
from aevlp.sweeps.wandb_summary import log_study
from aevlp.terminal import Terminal


def run_study(
    file: str, *, name: str | None = None, storage: str | None = None, trials: int | None = None, timeout: float | None = None,
    machine: Machine, in_process: bool = False, new_from: str | None = None, words: Sequence[str] = (),
    keep_checkpoints: bool = False, console: Terminal | None = None, rehearse: bool = False, confirm: bool = True,
) -> None:  # fmt: skip
    """Begin or continue a study; arguments as the flags of `sweep run`; `console` shows it, stdout if None.

    Raises:
        AevlpError: with a message for the user; RunStopped after a signal, once every run has saved its state.
    """
    load_kept(study_folder(name or load_study(file)[0]), "base.yaml")
    plan = Plan.load(file, tuple(words), confirm=confirm)
    name = name or plan.name
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,60}", name):
        raise ConfigError(f"--name {name}: letters, digits, _ . and - only, at most 60")
    view = View(name, plan.metrics, console)
    if trials is None and plan.study.trials is None and plan.study.sampler.name != "grid":
        raise ConfigError("how many trials? Give --trials N, or `trials:` in the study's file")
    for note in filter(None, (JUDGED_LOW * plan.is_judged_low, *plan.space.notes)):
        view.say(note)
    if rehearse:
        from aevlp.sweeps.dry_run import dry_run  # needs torch, which whoever begins a study does not

        dry_run(plan, name, storage, trials or plan.study.trials, machine, view.console)
        return
    with storage_errors(storage or study_folder(name)):
        study = open_study(plan, name, storage, view.say, new_from)
        settings = plan.study.confirmation
        runner = Runner(
            plan, study, study_folder(name), machine, view, in_process=in_process, keep_checkpoints=keep_checkpoints,
            confirmation=None if settings is None else begin(study, settings, plan.study.seeds, plan.base_codes),
        )  # fmt: skip
        runner.run(trials, timeout)
        log_study(plan, study, study_folder(name), view.say)
        for line in describe_best(study).split("\n"):
            view.say(line)
    more = _storage_words(storage, view)
    view.say(f"look   {COMMAND} sweep show {name}{more} --html {name}.html")
    view.say(f"save   {COMMAND} sweep best {name}{more} --save experiments/{name}_best.yaml")


def _storage_words(storage: str | None, view: View) -> str:
    """How a further command names the storage: not at all where the environment does, and never with a password."""
    if storage is None or storage == os.environ.get(STORAGE_VARIABLE):
        return ""
    if mask(storage) == storage:
        return f" --storage {shlex.quote(storage)}"
    view.say(f"keep   the URL in {STORAGE_VARIABLE}: everybody on this machine can read the password on a command line")
    return f' --storage "${STORAGE_VARIABLE}"'
