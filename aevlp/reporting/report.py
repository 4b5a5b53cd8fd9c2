"""The data of a report: everything its page shows, as one JSON-able object."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from aevlp import __version__
from aevlp.config.describe import flatten
from aevlp.config.errors import AevlpError
from aevlp.masking import mask_words
from aevlp.reading import number, read_json
from aevlp.reporting.budget import Budget, first_of
from aevlp.reporting.by_setting import curves_by_setting
from aevlp.reporting.comparison import METRICS, is_bound, settings, settings_of, shown_metrics, summary
from aevlp.reporting.details import THRESHOLDS, Images, mistakes, pseudo_labels, pseudo_positives, samples, scored
from aevlp.reporting.statistics import BEST, BEST_KNOWN, RANKED_BY, Group, class_precisions, group_runs, quantiles
from aevlp.reporting.studies import study
from aevlp.reporting.tables import Table, arrange
from aevlp.runs.collect import Run, collect, require_runs

CURVES = (
    "train/loss", "val/mAP", "val/mAP_observed", "val/known_recall_1", "val/known_rank", "val/labels_per_image", "val/agreement",
    "pseudo/positive/precision", "pseudo/positive/recall", "pseudo/positive/f1", "pseudo/positive/count",
    "pseudo/negative/precision", "pseudo/negative/recall",
)  # fmt: skip
MAX_BYTES = 20_000_000  # of the page; what would go beyond is left out, the lowest in the ranking first
RESERVED_BYTES = 1_000_000  # style, script and what is small
MAX_RUNS, MAX_EXPERIMENTS = 500, 100  # that are read as a whole: 10,000 runs would take minutes
MAX_SETTINGS = 40  # experiments whose settings are compared
MAX_LINES = 50  # of notes
MAX_TEXT = 2000  # letters of a value of environment.json

FILES = ("per_class.csv", "val_scores.npz", "pseudo_labels.npz", "samples.npz")
Rows = dict[Group | Run, dict[str, Any]]
OF_RUN, PSEUDO, SCORED = "curves, classes, cost and environment", "pseudo-labels by class", "thresholds"
SAMPLES, PICTURED = "images and mistakes", {"samples": samples, "mistakes": mistakes}


def report_data(paths: list[Path], baseline: str | None = None) -> dict[str, Any]:
    """Read runs in whatever state they are.

    Raises:
        ConfigError: there is no run and no study at all, or no such baseline.
    """
    found = collect(paths)
    require_runs(found, paths)
    tables = arrange(group_runs(found.runs), baseline)
    groups, baselines = [group for table in tables for group in table.groups], [table.baseline for table in tables]
    most = {OF_RUN: MAX_RUNS} | dict.fromkeys((PSEUDO, SCORED, SAMPLES), MAX_EXPERIMENTS)
    budget = Budget(MAX_BYTES - RESERVED_BYTES, most)
    rows = _rows(groups, baselines, budget)
    groups = [group for group in groups if group in rows]
    shown = [run for group in groups for run in _all_runs(group) if run in rows]
    row_of = {run: i for i, run in enumerate(shown)}
    studies = [budget.add("studies", folder.name, partial(study, folder)) for folder in found.studies]
    place = {group: i for i, group in enumerate(groups)}
    ranked = [_table(table, place, budget) for table in tables]
    details, pictures = _details(groups, baselines, rows, budget)
    datasets = [settings_of(group).get("dataset.name", "?") for group in groups] or [one["dataset"] for one in studies if one]
    why = f"a page holds {MAX_RUNS:,} runs and {MAX_EXPERIMENTS} experiments in detail, and {MAX_BYTES // 1_000_000} MB in all"
    return {
        "version": __version__,
        "created": datetime.datetime.now().astimezone().isoformat(timespec="minutes"),
        "notes": first_of(found.notes, MAX_LINES) + budget.notes(why),
        "datasets": first_of(sorted({str(name)[:MAX_TEXT] for name in datasets if name}), MAX_LINES),
        "tables": ranked,
        "groups": [
            {**rows[group], "runs": [row_of[run] for run in group.runs if run in row_of],
             "finished": [row_of[run] for run in group.runs if run.finished and run in row_of],
             "drawn": [row_of[run] for run in group.drawn if run in row_of], **details[group]}
            for group in groups
        ],
        "quantiles": quantiles(max((len(group.by_seed) for group in groups), default=0)),
        "thresholds": THRESHOLDS.tolist(),
        "images": pictures,
        "studies": [one for one in studies if one],
        "runs": [rows[run] for run in shown],
    }  # fmt: skip


def _all_runs(group: Group) -> list[Run]:
    return [*group.runs, *group.repeated]


def _table(table: Table, place: dict[Group, int], budget: Budget) -> dict[str, Any]:
    """What is said of experiments that may be compared; they go by their place in the page's list."""
    shown = [group for group in table.groups if group in place]
    differing = settings(shown[:MAX_SETTINGS])
    kept = {path: budget.add("settings", path, partial(list, values)) for path, values in differing.items()}
    return {
        "title": table.title,
        "caveats": table.caveats,
        "notes": [line[:MAX_TEXT] for line in table.notes],
        "metrics": shown_metrics(shown),
        "ranked_by": next((metric for metric in RANKED_BY if any(group.values(metric) for group in shown)), RANKED_BY[0]),
        "by_known": any(group.by_known for group in shown),
        "groups": [place[group] for group in shown],
        "baseline": place.get(table.baseline, place[shown[0]] if shown else None),
        "settings": {path: values for path, values in kept.items() if values},
        "by_setting": [
            {"setting": one.setting, "name": one.name, "values": one.values, "groups": [place[group] for group in one.groups]}
            for one in curves_by_setting(shown)
        ],
    }


def _from_baselines(groups: list[Group], baselines: list[Group]) -> list[Group]:
    """The baselines come first: they are what the others are compared with."""
    return sorted(groups, key=lambda group: group not in baselines)


def _rows(groups: list[Group], baselines: list[Group], budget: Budget) -> Rows:
    """What the tables say of groups and runs."""
    rows: Rows = {}
    ordered = _from_baselines(groups, baselines)
    for group in ordered:
        metrics = {metric: summary(group, metric) for metric in METRICS.values()}
        row = {"name": group.name, "seeds": sorted(group.by_seed), "metrics": metrics, "bound": is_bound(group)}
        rows[group] = budget.add("experiments", group.name, partial(dict, row))
    runs = [run for group in ordered for run in _all_runs(group)]
    by_known = {run for group in ordered if group.by_known for run in _all_runs(group)}
    labels, repeated = _labels(runs), {run for group in groups for run in group.repeated}
    for run, label in zip(runs, labels, strict=True):
        rows[run] = budget.add("runs", label, partial(_describe, run, label, run in repeated, run in by_known))
    return {key: row for key, row in rows.items() if row}


def _details(groups: list[Group], baselines: list[Group], rows: Rows, budget: Budget) -> tuple[Rows, list[str]]:
    """The large parts of each group as long as the page can hold them, and the pictures they name by number.

    Those of a single run are put into its row.
    """
    images = Images()
    details: Rows = {}
    for run in (run for group in _from_baselines(groups, baselines) for run in _all_runs(group) if run in rows):
        rows[run] |= budget.add(OF_RUN, rows[run]["name"], partial(_of_run, run)) or {}
    for group in groups:
        known = _best_first([run for run in group.runs if "curves" in rows.get(run, ())])
        if group.runs and not known:
            budget.leave_out(f"{PSEUDO}, {SCORED}, {SAMPLES}", group.name)
        before = len(images.uris)
        found = budget.add(SAMPLES, group.name, partial(_pictured, known, images))
        if found is None:
            images.forget(before)
        details[group] = {
            "pseudo": budget.add(PSEUDO, group.name, partial(_of_first, known, "pseudo_labels.npz", pseudo_positives)),
            "scored": budget.add(SCORED, group.name, partial(_of_first, known, "val_scores.npz", scored)),
            **(found["about"] if found else {"samples": None, "mistakes": None}),
        }
    for subject, row in rows.items():  # now that all has been read
        if isinstance(subject, Run) and "curves" in row:
            row["problems"] = budget.add("problems", subject.path.name, partial(_problems, subject)) or row["problems"]
    return details, images.uris


def _best_first(runs: list[Run]) -> list[Run]:
    """Finished ones by the figure that chose their checkpoint, then the others."""
    return sorted(runs, key=lambda run: (not run.finished, -(number(run.summary.get(BEST)) or 0.0)))


def _of_first(runs: list[Run], file: str, read: Callable[[Run], dict[str, Any] | None]) -> dict[str, Any] | None:
    """One run an experiment is enough to look at, and sums over seeds mislead: the first that has the file."""
    first = next((run for run in runs if run.has(file)), None)
    value = None if first is None else read(first)
    return None if first is None or value is None else value | {"run": first.path.name}


def _pictured(runs: list[Run], images: Images) -> dict[str, Any] | None:
    """What samples.npz of the first run that has it shows, and the pictures that were not there before, which are part of it."""
    before, run = len(images.uris), next((run for run in runs if run.has("samples.npz")), None)
    if run is None:
        return None
    arrays, name = run.arrays("samples.npz"), {"run": run.path.name}
    about = {key: (found := read(run, arrays, images)) and found | name for key, read in PICTURED.items()}
    return {"about": about, "pictures": images.uris[before:]} if any(about.values()) else None


def _labels(runs: list[Run]) -> list[str]:
    """Folder names; with the folder above where two are equal."""
    count = Counter(run.path.name for run in runs)
    return [run.path.name if count[run.path.name] == 1 else f"{run.path.absolute().parent.name}/{run.path.name}" for run in runs]


def _describe(run: Run, label: str, repeated: bool, by_known: bool) -> dict[str, Any]:
    """What the table of runs says."""
    figures = {name: value for name, value in run.summary.items() if name.startswith(("test/m", "best/", "val/m"))}
    if by_known:  # as `Group.values` has it
        chosen = figures.pop(BEST, None)
        figures[BEST_KNOWN] = chosen if figures.get(BEST_KNOWN) is None else figures[BEST_KNOWN]
    if repeated:
        run.say("a later run has the same settings and seed, and counts instead")
    return {
        "name": label,
        "experiment": run.experiment,
        "seed": run.seed,
        "state": run.state,
        "problems": _problems(run),
        "summary": figures,
    }


def _problems(run: Run) -> list[str]:
    missing = [name for name in FILES if not run.has(name)]
    if "per_class.csv" in missing and run.data is not None and (run.data.test is None or run.data.test.targets is None):
        missing.remove("per_class.csv")  # which is by full labels of test images
    return run.problems + ([f"without {', '.join(missing)}"] if missing else [])


def _of_run(run: Run) -> dict[str, Any]:
    """What is shown of a run beyond the tables."""
    _ = run.config  # read for what may be wrong with it
    positives = {row.get("class"): row.get("test_positives") for row in run.table("per_class.csv")}
    precisions = class_precisions(run)
    classes = {
        name: {"AP": precisions.get(str(name)), "positives": _count(count)} for name, count in positives.items() if precisions
    }
    return {
        "epochs": [row.get("trainer/epoch") for row in run.epochs],
        "curves": {name: [row.get(name) for row in run.epochs] for name in CURVES},
        "classes": classes,
        "class_names": [str(name) for name in classes] or _class_names(run),
        "cost": _cost(run),
        "environment": _environment(run),
    }


def _class_names(run: Run) -> list[str]:
    """From classes.json, which is there from the beginning; empty where it is not."""
    if not run.has("classes.json"):
        return []
    try:
        names = read_json(run.path / "classes.json")
    except (AevlpError, OSError, ValueError):
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        run.say("classes.json cannot be read, or is no list of words")
        return []
    return names


def _count(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() else None


_COSTS = ("images_per_second", "data_wait", "clip_images_encoded", "memory_peak_mb", "gpu_memory_peak_mb", "cpu_seconds")


def _cost(run: Run) -> dict[str, Any]:
    """What the run took. Training time is images through training, over their rate, summed over epochs."""
    last = run.epochs[-1] if run.epochs else {}
    images = _num_images(run)
    rates = [row.get("perf/images_per_second") for row in run.epochs]
    known = [rate for rate in rates if rate is not None and rate > 0]
    told = images > 0 and len(known) == len(rates) > 0
    return {
        "epochs": len(run.epochs),
        "seconds": sum(images / rate for rate in known) if told else None,
        "clock_seconds": last.get("perf/seconds"),
        **{name: last.get(f"perf/{name}") for name in _COSTS},
    }


def _num_images(run: Run) -> int:
    """Number of training images; 0 where it is not told. An older version left no data.json, and the labels are unpacked."""
    if run.data is not None:
        return run.data.train.images
    pseudo = pseudo_labels(run)
    return 0 if pseudo is None else len(pseudo)


def _environment(run: Run) -> dict[str, str]:
    """environment.json as lines of text; of uncommitted changes only whether there were any."""
    values = dict(run.environment)
    git = values.pop("git", None)
    command = values.pop("command", None)
    rows = {key.replace("packages.", ""): value for key, value in flatten(values).items()}
    if isinstance(git, dict):
        rows["git commit"] = str(git.get("commit"))[:10]
        rows["uncommitted changes"] = "unknown" if git.get("dirty") is None else "yes" if git["dirty"] else "no"
    if isinstance(command, list):
        rows["command"] = " ".join(mask_words([str(word) for word in command]))
    return {key[:MAX_TEXT]: str(value)[:MAX_TEXT] for key, value in rows.items() if value is not None}
