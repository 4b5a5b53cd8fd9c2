"""Opening a study: creating it, finding it again, refusing what has changed, importing what still fits."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

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
from aevlp.sweeps.ledger import IMPORTED_FROM, IMPORTED_RUNS, WORDS, locked, params_of, remaining, runs_of
from aevlp.sweeps.plan import Plan
from aevlp.sweeps.samplers import build_pruner, build_sampler
from aevlp.sweeps.space import UnfitError
from aevlp.sweeps.storage import JOURNAL, open_storage
from aevlp.text import counted

MARK, STEPS, IS_LOW, TAKES_OVER = "aevlp", "steps", "is_judged_low", "takes_over"
"""What a study is for; in it how many steps of its trials belong to a seed, `Plan.is_judged_low`, whose trials it takes over."""
TAKEN_OVER = "taken_over"
"""Of a study that has taken over all that fits."""
optuna.logging.set_verbosity(optuna.logging.ERROR)
warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
# A choice of mappings: what other programs make of the storage is not told again for each trial.
warnings.filterwarnings("ignore", message="Choices for a categorical distribution should be a tuple of", category=UserWarning)


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
        _require_begun_from(there := optuna.load_study(study_name=name, storage=kept_in), new_from)
        source = None if TAKEN_OVER in there.user_attrs else source
    fitting = [] if source is None else _fitting(source, plan, notify)  # before a study is made
    try:
        study = optuna.create_study(
            study_name=name, storage=kept_in, directions=plan.directions, sampler=sampler, pruner=pruner, load_if_exists=True
        )
    except ValueError as error:  # other directions than before
        raise ConfigError(f"study {name}: {error}; give the study another name with --name") from error
    _check(study, plan, data, name, notify, new_from)
    folder.mkdir(parents=True, exist_ok=True)
    _write_files(folder, plan)
    older = study.user_attrs[MARK].get(TAKES_OVER)
    with locked(folder / ".reap"):  # of two processes that begin it at once, one takes over
        if source is not None and TAKEN_OVER not in study.user_attrs:
            _import(fitting, study)
        elif older and TAKEN_OVER not in study.user_attrs:
            raise ConfigError(f"study {name}: does not have all trials of {older} yet; give --new-study-from {older} once more")
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
    """Trials to end with: so many, and of a grid at most those with which each combination has been tried, here or elsewhere."""
    if plan.study.sampler.name != "grid":
        assert trials is not None
        return trials
    found = [] if study is None else study.get_trials(deepcopy=False)
    taken_over = [trial.params for trial in found if IMPORTED_FROM in trial.user_attrs]
    lacking = [codes for codes in plan.space.combinations(plan.values) if codes not in taken_over]
    begun = [params_of(trial) for trial in remaining(found) if trial.state != TrialState.WAITING]
    # Another sampler, before the study's was the grid, may have tried one again, or one that was taken over.
    size = len(lacking) + len(begun) - sum(codes in begun for codes in lacking)
    if trials is not None and trials > size:
        notify(f"the whole grid is tried with {counted(size, 'trial')}; no more are begun")
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


def _require_begun_from(study: optuna.Study, new_from: str) -> None:
    """Only a study that was begun from another goes on from it; so does one that was killed before it had its mark."""
    mark = study.user_attrs.get(MARK)
    if study.get_trials(deepcopy=False) if mark is None else mark.get(TAKES_OVER) != new_from:
        what = f"there is a study {study.study_name} already"
        raise ConfigError(f"--new-study-from {new_from}: {what}; name the new one with --name")


def _check(
    study: optuna.Study, plan: Plan, data: Fingerprint | None, name: str, notify: Callable[[str], None],
    new_from: str | None = None,
) -> None:  # fmt: skip
    """Compare with what the study was made for; a new one is given its mark."""
    wanted = plan.definition()
    mark = study.user_attrs.get(MARK)
    if mark is None:
        if study.get_trials(deepcopy=False):
            raise ConfigError(f"the storage has a study {name!r} that was not made by `sweep run`; choose another with --name")
        study.set_metric_names(plan.metrics)
        told = {"definition": wanted, "data": None if data is None else data.to_dict(), STEPS: plan.most_epochs,
                IS_LOW: plan.is_judged_low}  # fmt: skip
        source = {} if new_from is None else {TAKES_OVER: new_from}
        study.set_user_attr(MARK, {"base": plan.study.base, "metrics": plan.metrics, **told, **source})
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
    wanted = plan.definition()
    if mark["metrics"] != plan.metrics or any(mark["definition"].get(one) != wanted[one] for one in ("seeds", "base.seed")):
        raise ConfigError(
            f"--new-study-from {name}: it has another objective, seed of the base or number of seeds, so no trial fits"
        )
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


def _fitting(source: optuna.Study, plan: Plan, notify: Callable[[str], None]) -> list[FrozenTrial]:
    """The complete trials of another study whose configuration the new one could have tried as well, as trials of the new one."""
    found, told = [], source.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    alike = plan.study.seeds == 1 or steps_each(source, plan) == plan.most_epochs
    for trial in told:
        name, runs = runs_of(source, trial)
        if not runs:  # an older version took it over
            continue
        path = study_folder(name) / "trials" / runs[0] / "config.yaml"
        if not path.is_file():
            raise ConfigError(f"--new-study-from: {path}: is not on this machine; begin the study where it is, or copy it here")
        try:
            config = from_dict(read_mapping(path)[0], str(path))
            codes, words = plan.nearest(config.to_dict())
            if plan.resolve([*words, f"seed={config.seed}"]).hash != config.hash:
                continue
        except (AevlpError, UnfitError):
            continue
        origin = trial.user_attrs.get(IMPORTED_FROM, f"{name}/{trial.number}")
        found.append(optuna.trial.create_trial(
            values=trial.values, params=codes, intermediate_values=trial.intermediate_values if alike else {},
            distributions={one.name: one.distribution for one in plan.space.parameters if one.name in codes},
            user_attrs={IMPORTED_FROM: origin, IMPORTED_RUNS: runs, WORDS: words},
        ))  # fmt: skip
    what = f"{len(found)} of {counted(len(told), 'complete trial')} of {source.study_name}"
    notify(f"{what} fit and are taken over; they are not counted as trials here")
    return found


def _import(fitting: list[FrozenTrial], study: optuna.Study) -> None:
    """Add what is taken over, but for what is there: it was killed, or another machine adds it."""
    for trial in fitting:
        known = (other.user_attrs.get(IMPORTED_FROM) for other in study.get_trials(deepcopy=False))
        if trial.user_attrs[IMPORTED_FROM] not in known:
            study.add_trial(trial)
    study.set_user_attr(TAKEN_OVER, True)
