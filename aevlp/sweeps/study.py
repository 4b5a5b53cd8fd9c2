"""Opening a study: creating it, finding it again, refusing what has changed, importing what still fits."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage
from optuna.trial import TrialState

from aevlp import files
from aevlp.command import COMMAND
from aevlp.config.errors import AevlpError, ConfigError, suggest
from aevlp.config.loading import from_dict, read_mapping
from aevlp.config.yaml_reading import write_yaml
from aevlp.data.fingerprint import Fingerprint
from aevlp.folders import runs_root
from aevlp.masking import STORAGE_VARIABLE
from aevlp.runs import plugins
from aevlp.sweeps.intact import replaying, require_intact
from aevlp.sweeps.ledger import IMPORTED_FROM, RUNS, WORDS
from aevlp.sweeps.plan import Plan
from aevlp.sweeps.samplers import build_pruner, build_sampler
from aevlp.sweeps.space import UnfitError, by_name
from aevlp.sweeps.storage import JOURNAL, open_storage
from aevlp.text import counted

MARK, STEPS = "aevlp", "steps"
"""What a study is for; and in it how many steps of its trials belong to a seed."""
optuna.logging.set_verbosity(optuna.logging.ERROR)
warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)


def study_folder(name: str) -> Path:
    """Folder of a study on this machine."""
    return runs_root() / "sweeps" / name


def open_study(
    plan: Plan, name: str, storage: str | None, notify: Callable[[str], None], new_from: str | None = None
) -> optuna.Study:
    """The study `name`, made where there is none.

    Args:
        plan: what it is for.
        name: its name, in the storage and as a folder.
        storage: an Optuna URL or a journal file; None is the journal in the study's folder.
        notify: told of repairs, imports, starts that do not fit, and a study that does not tell its data.
        new_from: a study whose trials are taken over where they fit; `name` must be new then.

    Raises:
        ConfigError: storage unreachable or somebody else's; or the study is for another space, base, objective or data.
        DataError: the data are absent or wrong.
    """
    folder = study_folder(name)
    # Killed as it began, a study may have no more than its journal.
    strangers = folder.is_dir() and any(not path.name.startswith((JOURNAL, ".")) for path in folder.iterdir())
    if strangers and not (folder / "study.yaml").exists():
        raise ConfigError(f"{folder}: holds files, but no study; move them, or give the study another name with --name")
    _require_storage(folder, storage)
    data = plan.data  # absent data leave nothing behind
    source = _load(new_from, storage, notify) if new_from is not None else None
    if source is not None:
        _check_source(source, plan, new_from or "", notify)
    with replaying(storage or folder / JOURNAL):
        kept_in = open_storage(storage or folder / JOURNAL, notify)
    sampler, pruner = build_sampler(plan.study), build_pruner(plan.study.pruner, plan.most_epochs)
    if new_from is not None and name in optuna.get_all_study_names(kept_in):
        raise ConfigError(f"--new-study-from {new_from}: there is a study {name} already; name the new one with --name")
    try:
        study = optuna.create_study(
            study_name=name, storage=kept_in, directions=plan.directions, sampler=sampler, pruner=pruner, load_if_exists=True
        )
    except ValueError as error:  # other directions than before
        raise ConfigError(f"study {name}: {error}; give the study another name with --name") from error
    _check(study, plan, data, name, notify)
    folder.mkdir(parents=True, exist_ok=True)
    _write_files(folder, plan)
    if source is not None:
        _import(source, study, plan, new_from or "", notify)
    _lay_out(study, plan, notify)
    return study


def load_existing(name: str, storage: str | None, notify: Callable[[str], None]) -> optuna.Study:
    """A study to look at; ConfigError where there is none of that name."""
    study = _load(name, storage, notify)
    plugins.load_kept(study_folder(name), "base.yaml")
    return study


def find_study(plan: Plan, name: str, storage: str | None, notify: Callable[[str], None]) -> optuna.Study | None:
    """The study as it was left, checked as by `open_study`; None where it has not been begun."""
    try:
        study = _load(name, storage, notify)
    except _NoStudyError:
        return None
    _check(study, plan, plan.data, name, notify)
    return study


def num_wanted(plan: Plan, study: optuna.Study | None, trials: int | None, notify: Callable[[str], None]) -> int:
    """Trials to end with: so many, and of a grid at most the combinations that no other study has tried for it."""
    if plan.study.sampler.name != "grid":
        assert trials is not None
        return trials
    found = [] if study is None else study.get_trials(deepcopy=False)
    taken_over = [trial.params for trial in found if IMPORTED_FROM in trial.user_attrs]
    size = sum(codes not in taken_over for codes in plan.space.combinations(plan.values))
    if trials is not None and trials > size:
        notify(f"the grid has {counted(size, 'combination')} to try: no more than that are")
    return min(trials or size, size)


class _NoStudyError(ConfigError):
    """No study of that name has been begun."""


def _load(name: str, storage: str | None, notify: Callable[[str], None]) -> optuna.Study:
    folder = study_folder(name)
    _require_storage(folder, storage)
    if storage is None and not (folder / JOURNAL).is_file():
        known = [path.parent.name for path in runs_root().glob("sweeps/*/study.yaml")]
        where = f"{runs_root() / 'sweeps'}/{suggest(name, known)}"
        raise _NoStudyError(f"there is no study {name!r} in {where}; `{COMMAND} sweep run {name}` begins one")
    place = storage or folder / JOURNAL
    with replaying(place):
        kept_in: BaseStorage = open_storage(place, notify)
        names = optuna.get_all_study_names(kept_in)
        if name not in names:
            raise _NoStudyError(f"the storage has no study {name!r}{suggest(name, names)}")
        study = optuna.load_study(study_name=name, storage=kept_in)
        if MARK not in study.user_attrs:
            raise ConfigError(f"study {name}: was not made by `sweep run`")
        require_intact(study, study.user_attrs[MARK])
    return study


def _require_storage(folder: Path, storage: str | None) -> None:
    """A study that is kept elsewhere does not say where: its folder is shown to others, and a URL may hold a password."""
    if storage is None and (folder / "study.yaml").is_file() and not (folder / JOURNAL).is_file():
        raise ConfigError(
            f"study {folder.name}: no {JOURNAL} in {folder}; name its storage by --storage, or in ${STORAGE_VARIABLE}"
        )


def _check(study: optuna.Study, plan: Plan, data: Fingerprint | None, name: str, notify: Callable[[str], None]) -> None:
    """Compare with what the study was made for; a new one is given its mark."""
    wanted = plan.definition()
    mark = study.user_attrs.get(MARK)
    if mark is None:
        if study.get_trials(deepcopy=False):
            raise ConfigError(f"the storage has a study {name!r} that was not made by `sweep run`; choose another with --name")
        study.set_metric_names(plan.metrics)
        told = {"definition": wanted, "data": None if data is None else data.to_dict(), STEPS: plan.most_epochs}
        study.set_user_attr(MARK, {"base": plan.study.base, "metrics": plan.metrics, **told})
        return
    require_intact(study, mark)
    known = mark["definition"]
    changed = [path for path in {**known, **wanted} if known.get(path) != wanted.get(path)]
    # Another component has another name; a setting that one side lacks came with another version of this program, unless the
    # other has a part of it, as where dataset.known was a word and is a mapping.
    changed = [path for path in changed if not path.startswith("base.") or (path in known and path in wanted)
               or _within(path, wanted if path in known else known)]  # fmt: skip
    if changed:
        lines = [f"  {path}: {known.get(path, 'absent')} -> {wanted.get(path, 'absent')}" for path in changed[:20]]
        more = [f"  and {len(changed) - 20} more"] if len(changed) > 20 else []
        raise ConfigError("\n".join([
            f"study {name} was begun with another space, base or objective:", *lines, *more,
            f"take the change back, or begin a new study that takes over what fits: --name NEW --new-study-from {name}",
        ]))  # fmt: skip
    other = _other_data(mark, data, name, notify)
    if other:
        raise ConfigError(f"study {name}: its data have changed since it was begun: {other}; restore them, or give --name NEW")


def _within(path: str, others: Iterable[str]) -> bool:
    """Whether a path lies above or below one of others."""
    return any(other.startswith(f"{path}.") or path.startswith(f"{other}.") for other in others)


def _check_source(source: optuna.Study, plan: Plan, name: str, notify: Callable[[str], None]) -> None:
    """Refuse a study of whose trials none can be taken over."""
    mark: dict[str, Any] = source.user_attrs[MARK]
    if mark["metrics"] != plan.metrics or mark["definition"].get("seeds") != str(plan.study.seeds):
        raise ConfigError(f"--new-study-from {name}: it has another objective or number of seeds, so no trial fits")
    other = _other_data(mark, plan.data, name, notify)
    if other:
        raise ConfigError(f"--new-study-from {name}: it was begun on other data, so no trial fits; here are {other}")


def _other_data(mark: dict[str, Any], data: Fingerprint | None, name: str, notify: Callable[[str], None]) -> str:
    """In what `data` differ from those that a study was begun on; empty where they do not."""
    if data is None:
        return ""
    if not mark.get("data"):
        notify(f"an older version began study {name} and did not write down on what data; whether they have changed is not known")
        return ""
    try:
        return data.difference(Fingerprint.from_dict(mark["data"]))
    except ValueError as error:
        raise ConfigError(f"study {name}: its note of the data is damaged: {error}; begin another with --name NEW") from error


def _write_files(folder: Path, plan: Plan) -> None:
    content = plan.study.model_dump(by_alias=True, exclude_defaults=True, mode="json")
    texts = {
        "study.yaml": f"# What this study searches, as it was last run.\n{write_yaml(content)}",
        "base.yaml": f"# What holds where a trial does not say otherwise.\n{write_yaml(plan.values)}",
    }
    files.remove_leftovers(folder)
    for name, text in texts.items():
        files.write(folder / name, text.encode())
    plugins.keep(folder)


def _lay_out(study: optuna.Study, plan: Plan, notify: Callable[[str], None]) -> None:
    """Queue the trials that are known beforehand; those already there are left as they are."""
    if plan.study.sampler.name == "grid":
        for codes in plan.space.combinations(plan.values):
            study.enqueue_trial(codes, skip_if_exists=True)
        return
    for codes in plan.starts(notify):
        study.enqueue_trial(codes, skip_if_exists=True)


def steps_each(study: optuna.Study, plan: Plan) -> int:
    """How many steps belong to a seed in what the study's trials report; an older version took the epochs of the base."""
    return int(study.user_attrs.get(MARK, {}).get(STEPS, plan.base.trainer.epochs))


def _import(source: optuna.Study, study: optuna.Study, plan: Plan, name: str, notify: Callable[[str], None]) -> None:
    """Add the complete trials of another study whose configuration the new one could have tried as well."""
    trials = source.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    taken, alike = 0, plan.study.seeds == 1 or steps_each(source, plan) == steps_each(study, plan)
    for trial in trials:
        try:
            path = study_folder(name) / "trials" / trial.user_attrs[RUNS][0] / "config.yaml"
            values = from_dict(read_mapping(path)[0], str(path)).to_dict()
            codes = plan.space.codes_in(values)
            _, words = plan.space.walk(plan.values, by_name(codes))
            if plan.resolve([*words, f"seed={values['seed']}"]).hash != from_dict(values, "").hash:
                continue
        except (AevlpError, KeyError, UnfitError):
            continue
        distributions = {p.name: p.distribution for p in plan.space.parameters if p.name in codes}
        study.add_trial(optuna.trial.create_trial(
            values=trial.values, params=codes, distributions=distributions,
            intermediate_values=trial.intermediate_values if alike else {},
            user_attrs={IMPORTED_FROM: f"{name}/{trial.number}", WORDS: words},
        ))  # fmt: skip
        taken += 1
    notify(f"{taken} of {len(trials)} complete trials of {name} fit and were taken over; they are not counted as trials here")
