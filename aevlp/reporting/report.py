"""The data of a report: everything its page shows, as one JSON-able object."""

from __future__ import annotations

import datetime
import json
import math
from pathlib import Path
from typing import Any

from aevlp import __version__
from aevlp.config.describe import flatten
from aevlp.masking import mask_words
from aevlp.reporting.collect import Run, collect, require_runs
from aevlp.reporting.comparison import METRICS, choose_baseline, difference, settings, summary
from aevlp.reporting.details import THRESHOLDS, Images, pseudo_positives, samples, scored
from aevlp.reporting.same_data import data_notes
from aevlp.reporting.statistics import Group, class_precisions, group_runs
from aevlp.reporting.studies import study

CURVES = (
    "train/loss", "val/mAP", "val/mAP_observed",
    "pseudo/positive/precision", "pseudo/positive/recall", "pseudo/positive/f1", "pseudo/positive/count",
    "pseudo/negative/precision", "pseudo/negative/recall",
)  # fmt: skip
MAX_BYTES = 20_000_000  # of the page; what would go beyond is left out, the lowest in the ranking first
RESERVED_BYTES = 1_000_000  # style, script and what is small

FILES = ("per_class.csv", "val_scores.npz", "pseudo_labels.npz", "samples.npz")


def report_data(paths: list[Path], baseline: str | None = None) -> dict[str, Any]:
    """Read runs in whatever state they are.

    Raises:
        ConfigError: there is no run and no study at all, or no such baseline.
    """
    found = collect(paths)
    require_runs(found, paths)
    notes, groups = found.notes, group_runs(found.runs)
    against = choose_baseline(groups, baseline) if groups or baseline else None
    notes += data_notes({group.name: group.runs[0] for group in groups}, against.name) if against else []
    ordered = [run for group in groups for run in [*group.runs, *group.repeated]]
    number = {id(run): i for i, run in enumerate(ordered)}
    details, pictures = _details(groups, notes)
    studies = [study(folder) for folder in found.studies]
    datasets = [flatten(run.config).get("dataset.name", "?") for run in ordered] or [one["dataset"] for one in studies]
    data = {
        "version": __version__,
        "created": datetime.datetime.now().astimezone().isoformat(timespec="minutes"),
        "notes": notes,
        "datasets": sorted({str(name) for name in datasets if name}),
        "metrics": METRICS,
        "baseline": 0 if against is None else groups.index(against),
        "groups": [
            {"name": group.name, "seeds": sorted(group.by_seed), "runs": [number[id(run)] for run in group.runs],
             "finished": [number[id(run)] for _, run in sorted(group.by_seed.items())],
             "metrics": {metric: summary(group, metric) for metric in METRICS.values()}, **detail}
            for group, detail in zip(groups, details, strict=True)
        ],
        "differences": [[difference(group, other, "test/mAP") for other in groups] for group in groups],
        "settings": settings(groups),
        "thresholds": THRESHOLDS.tolist(),
        "images": pictures,
        "studies": studies,
    }  # fmt: skip
    labels = _labels(ordered)
    repeated = {id(run) for group in groups for run in group.repeated}
    data["runs"] = [_describe(run, label, id(run) in repeated) for run, label in zip(ordered, labels, strict=True)]
    return _finite(data)


def _details(groups: list[Group], notes: list[str]) -> tuple[list[dict[str, Any]], list[str]]:
    """The large parts of each group as long as the page can hold them, and the pictures they name by number."""
    images, left = Images(), MAX_BYTES - RESERVED_BYTES
    details: list[dict[str, Any]] = [{"pseudo": None, "scored": None, "samples": None} for _ in groups]
    for group, detail in zip(groups, details, strict=True):
        for key in detail:
            pictures = len(images.uris)
            value = _detail(group, key, images)
            size = len(json.dumps(value)) + sum(map(len, images.uris[pictures:]))
            if size > left:
                notes.append(f"{group.name}: {key} left out, the page would be larger than {MAX_BYTES // 1_000_000} MB")
                images.forget(pictures)
                continue
            detail[key] = value
            left -= size
    return details, images.uris


def _detail(group: Group, key: str, images: Images) -> Any:
    if key == "pseudo":
        return pseudo_positives(group.runs)
    file = {"scored": "val_scores.npz", "samples": "samples.npz"}[key]
    first = next((run for run in group.runs if (run.path / file).is_file()), None)  # one run an experiment is enough to look at
    if first is None:
        return None
    value = scored(first) if key == "scored" else samples(first, images)
    return None if value is None else value | {"run": first.path.name}


def _labels(runs: list[Run]) -> list[str]:
    """Folder names; with the folder above where two are equal."""
    names = [run.path.name for run in runs]
    return [name if names.count(name) == 1 else f"{run.path.absolute().parent.name}/{name}" for name, run in zip(names, runs)]  # noqa: B905


def _describe(run: Run, label: str, repeated: bool) -> dict[str, Any]:
    positives = {row.get("class"): row.get("test_positives") for row in run.table("per_class.csv")}
    classes = {
        name: {"AP": precision, "positives": _count(positives.get(name))} for name, precision in class_precisions(run).items()
    }
    missing = [name for name in FILES if not (run.path / name).is_file()]
    problems = run.problems + ([f"without {', '.join(missing)}"] if missing else [])
    if repeated:
        problems.append("a later run has the same settings and seed, and counts instead")
    return {
        "name": label,
        "experiment": run.experiment,
        "seed": run.seed,
        "state": run.state,
        "problems": list(dict.fromkeys(problems)),
        "epochs": [row.get("trainer/epoch") for row in run.epochs],
        "curves": {name: [row.get(name) for row in run.epochs] for name in CURVES},
        "summary": {name: value for name, value in run.summary.items() if name.startswith(("test/m", "best/", "val/m"))},
        "classes": classes,
        "cost": _cost(run),
        "environment": _environment(run),
    }


def _count(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() else None


def _cost(run: Run) -> dict[str, Any]:
    """What the run took. Training time is images through training, over their rate, summed over epochs."""
    last = run.epochs[-1] if run.epochs else {}
    pseudo = run.arrays("pseudo_labels.npz").get("pseudo", ())
    rates = [row.get("perf/images_per_second") for row in run.epochs]
    known = [float(rate) for rate in rates if isinstance(rate, int | float) and rate > 0]
    told = len(pseudo) > 0 and len(known) == len(rates) > 0
    return {
        "epochs": len(run.epochs),
        "seconds": sum(len(pseudo) / rate for rate in known) if told else None,
        **{
            name: last.get(f"perf/{name}") for name in ("images_per_second", "data_wait", "clip_images_encoded", "memory_peak_mb")
        },
    }


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
    return {key: str(value) for key, value in rows.items() if value is not None}


def _finite(value: Any) -> Any:
    """Numbers that JSON has no word for become None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _finite(part) for key, part in value.items()}
    return [_finite(part) for part in value] if isinstance(value, list | tuple) else value
