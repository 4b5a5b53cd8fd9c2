"""From a trial to an experiment file of a few lines that reproduces it."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from aevlp.command import COMMAND
from aevlp.config import registry
from aevlp.config.describe import flatten
from aevlp.config.errors import AevlpError, ConfigError
from aevlp.config.finding import EXPERIMENTS, dataset_of, display, experiment_name, files
from aevlp.config.loading import from_dict, load_experiment, read_mapping
from aevlp.config.schema import ExperimentConfig
from aevlp.config.yaml_reading import write_yaml
from aevlp.files import aside, remove, remove_leftovers
from aevlp.sweeps.confirmation import find
from aevlp.sweeps.ledger import IMPORTED_FROM, runs_of
from aevlp.sweeps.plan import JUDGED_LOW
from aevlp.sweeps.study import IS_LOW, MARK, study_folder
from aevlp.sweeps.summary import best_trials, describe_values
from aevlp.sweeps.verdict import describe_others
from aevlp.system import give_name

_LEFT_OUT = ("name", "tracking", "schema_version")
_PINNED = ("threads", "precision")


def choose(study: optuna.Study, number: int | None) -> FrozenTrial:
    """The best trial, or trial `number`; ConfigError where it is not complete, or several are equally good."""
    if number is not None:
        trials = study.get_trials(deepcopy=False)
        if not 0 <= number < len(trials) or trials[number].state != TrialState.COMPLETE:
            raise ConfigError(f"--trial {number}: study {study.study_name} has no complete trial of that number")
        return trials[number]
    best = best_trials(study)
    if not best:
        raise ConfigError(f"study {study.study_name} has no complete trial yet")
    if len(best) > 1:
        numbers = ", ".join(str(trial.number) for trial in best)
        raise ConfigError(f"study {study.study_name} has several objectives; take one of its Pareto front by --trial: {numbers}")
    return best[0]


def config_of(study: optuna.Study, trial: FrozenTrial) -> ExperimentConfig:
    """Configuration of the trial's first run, from its folder."""
    name, runs = runs_of(study, trial)
    if not runs and IMPORTED_FROM in trial.user_attrs:  # an older version took it over
        number = trial.user_attrs[IMPORTED_FROM].rpartition("/")[2]
        there = f"{COMMAND} sweep best {name} --trial {number} --save FILE"
        raise ConfigError(f"trial {trial.number} was taken over from {name}; `{there}` saves it from there")
    path = study_folder(name) / "trials" / runs[0] / "config.yaml"
    if not path.is_file():
        raise ConfigError(f"{path}: is not on this machine; the trial ran elsewhere")
    return from_dict(read_mapping(path)[0], str(path))


def save(study: optuna.Study, trial: FrozenTrial, target: Path) -> None:
    """Write an experiment that runs as the trial did.

    Raises:
        ConfigError: `target` or an experiment of its name exists, or with the base as it is now the file would run another.
    """
    if target.suffix != ".yaml":
        raise ConfigError(f"--save {target}: must end in .yaml")
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,80}", target.stem):
        raise ConfigError(f"--save {target}: the name of an experiment has letters, digits, _ . and - only")
    if target.exists():
        raise ConfigError(f"--save {target}: exists; remove it or choose another name")
    name = experiment_name(target.absolute())
    if (known := files(EXPERIMENTS).get(name)) is not None:  # of two files of one name one hides the other
        raise ConfigError(f"--save {target}: {display(known)} is the experiment {name} already; choose another name")
    if not target.parent.is_dir():
        raise ConfigError(f"--save {target}: there is no folder {target.parent}")
    config = config_of(study, trial)
    base = study.user_attrs[MARK]["base"]
    text = _header(study, trial, target) + _body(config, base, target)
    remove_leftovers(target.parent)
    checked = aside(target, ".yaml")
    try:
        checked.write_text(text, encoding="utf-8")
        same = load_experiment(str(checked), ["name=saved"])
        if same.hash != config.hash or same.seed != config.seed:
            raise ConfigError(f"--save {target}: experiment {base} would run something else than the trial did")
        give_name(checked, target)
    except FileExistsError as error:
        raise ConfigError(f"--save {target}: exists; remove it or choose another name") from error
    except OSError as error:
        raise AevlpError(f"--save {target}: cannot be written: {error.strerror}") from error
    finally:
        remove(checked)


def _header(study: optuna.Study, trial: FrozenTrial, target: Path) -> str:
    confirmation = find(study)
    found = target.parent.name == EXPERIMENTS or dataset_of(target)
    name = experiment_name(target) if found else str(target)
    plugins = "".join(f" --plugin {shlex.quote(file)}" for file in dict.fromkeys(registry.plugin_files))
    is_best = trial.number in {other.number for other in best_trials(study)}
    others = f"#   {describe_others(confirmation)}\n" if confirmation is not None and is_best else ""
    others += f"#   {JUDGED_LOW}\n" if study.user_attrs[MARK].get(IS_LOW) else ""
    return (
        f"# Trial {trial.number} of study {study.study_name}{', its best by validation' * is_best}: "
        f"{describe_values(study, trial)}.\n{others}"
        f"#   {COMMAND} --exp {name}{plugins}\n"
        "#   threads and precision are pinned: on the same processor the figure comes out again to the bit\n"
    )


def _body(config: ExperimentConfig, base: str, target: Path) -> str:
    """`base:` and what differs from it; a component of another kind is written whole."""
    if base not in files(EXPERIMENTS):
        base = os.path.relpath(base, target.parent)
    before, after = load_experiment(_base_path(base, target)).to_dict(), config.to_dict()
    content: dict[str, Any] = {"base": base}
    for section, values in after.items():
        if section in _LEFT_OUT or (values == before.get(section) and section != "trainer"):
            continue
        old = before.get(section)
        if not isinstance(values, dict) or not isinstance(old, dict) or values.get("name") != old.get("name"):
            content[section] = values
            continue
        known = flatten(old)
        for path, value in flatten(values).items():
            if known.get(path, values) != value or (section == "trainer" and path in _PINNED):
                _put(content.setdefault(section, {}), path, value)
    return write_yaml(content)


def _base_path(base: str, target: Path) -> str:
    return base if base in files(EXPERIMENTS) else str(target.parent / base)


def _put(target: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for parent in parents:
        target = target.setdefault(parent, {})
    target[last] = value
