"""What a study's folder tells of it, from its plain files: trials.csv, study.yaml and base.yaml. Optuna is not asked."""

from __future__ import annotations

import datetime
import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from aevlp.config.describe import flatten, lookup
from aevlp.config.errors import ConfigError, DataError
from aevlp.config.loading import read_mapping
from aevlp.reading import parse_json, read_rows
from aevlp.reporting.statistics import rank_correlation
from aevlp.tracking.metrics import preferred_direction

BEST = 10  # trials that are shown whole
MIN_TRIALS = 10  # of a rank correlation
OBJECTIVE = "best/val_mAP"  # of a study.yaml that names none
CONFIRMED = ["trial", "mean", "half", "seeds", "search", "labels", "verdict"]  # columns of confirmed.csv
AFTER = ("reason", "retried_as", "imported_from", "runs")  # the last columns of trials.csv; parameters come before them
NULL = "null"  # a parameter that a trial has, and that is nothing there: an empty cell is one that it does not have
STATES = ("complete", "pruned", "failed", "running", "waiting")
Trial = dict[str, Any]


def study(folder: Path) -> dict[str, Any]:
    """A study as JSON-able data, whatever state its files are in. What is absent or damaged is empty, and named in `problems`."""
    problems: list[str] = []
    file, base = _yaml(folder / "study.yaml", problems), _yaml(folder / "base.yaml", problems)
    words = file.get("set") or []
    if not isinstance(words, list):
        problems.append("study.yaml: set is no list")
        words = []
    metrics, parameters, trials = _trials(folder, problems)
    directions = _directions(file)
    metrics = metrics or list(directions) or [OBJECTIVE]
    objectives = [{"metric": metric, "direction": directions.get(metric) or preferred_direction(metric)} for metric in metrics]
    signs = [1 if objective["direction"] == "maximize" else -1 for objective in objectives]
    # Not those that were tried again, or taken over from another study.
    own = [trial for trial in trials if not trial["retried_as"] and not trial["imported_from"]]
    complete = [trial for trial in trials if trial["state"] == "complete" and None not in trial["values"]]
    pruned = [trial for trial in trials if trial["state"] == "pruned" and trial["values"][0] is not None]
    ranked = sorted(complete, key=lambda trial: (-signs[0] * trial["values"][0], trial["number"]))
    codes = [_code(base, name) for name in parameters]
    return {
        "name": folder.name,
        "dataset": flatten(base).get("dataset.name"),
        "base": str(file.get("base", "?")),
        "changes": [str(word) for word in words],
        "planned": file.get("trials"),
        "written": _written(folder / "trials.csv"),
        "objectives": objectives,
        "counts": {state: sum(trial["state"] == state for trial in own) for state in STATES},
        "seconds": sum(trial["seconds"] or 0 for trial in trials),
        "history": [_history(complete, i, sign) for i, sign in enumerate(signs)],
        "pruned": {"numbers": [trial["number"] for trial in pruned], "values": [trial["values"][0] for trial in pruned]},
        "parameters": parameters,
        "base_codes": codes,
        "has_base": bool(base),
        "base_trial": next((trial for trial in complete if base and _alike(trial["codes"], codes)), None),
        "front": [trial["number"] for trial in _front(ranked, signs)],
        "best": ranked[:BEST],
        "confirmed": _confirmed(folder / "confirmed.csv", problems),
        "correlations": _correlations(parameters, complete + pruned),
        "failed": [{"number": trial["number"], "reason": trial["reason"]} for trial in own if trial["state"] == "failed"],
        "problems": problems,
    }


def _yaml(path: Path, problems: list[str]) -> dict[str, Any]:
    try:
        return read_mapping(path)[0] if os.path.lexists(path) else {}
    except ConfigError as error:
        problems.append(f"{path.name} cannot be read: {str(error).splitlines()[0]}")
        return {}


def _directions(file: dict[str, Any]) -> dict[str, str | None]:
    given = file.get("objective", OBJECTIVE)
    found = {}
    for item in given if isinstance(given, list) else [given]:
        known = item if isinstance(item, dict) else {"metric": item}
        found[str(known.get("metric", OBJECTIVE))] = known.get("direction")
    return found


def _trials(folder: Path, problems: list[str]) -> tuple[list[str], list[str], list[Trial]]:
    """Names of the objectives and of the parameters, and the trials of trials.csv in the order of their numbers."""
    path = folder / "trials.csv"
    if not os.path.lexists(path):
        problems.append(f"trials.csv is missing; `sweep show {folder.name} --csv FILE` makes one")
        return [], [], []
    try:
        rows = read_rows(path)
    except (OSError, DataError) as error:
        problems.append(str(error).replace(f"{path}: ", f"{path.name} "))
        return [], [], []
    header = rows[0] if rows else []
    named = header[:2] == ["trial", "state"] and {"std", "epoch", "seconds"} < set(header) and header[-4:] == [*AFTER]
    if not named or header.index("std") == 2:  # an objective stands before it
        problems.append("trials.csv has other columns than expected" if header else "trials.csv is empty")
        return [], [], []
    first = header.index("std")
    metrics, parameters = header[2:first], header[header.index("seconds") + 1 : -len(AFTER)]
    trials, unread = [], []
    for line, row in enumerate(rows[1:], start=2):
        if len(row) != len(header) or not row[0].isdecimal():
            unread.append(line)
            continue
        spread, _, seconds = (_number(cell) for cell in row[first : first + 3])
        trials.append({
            "number": int(row[0]), "state": row[1], "values": [_number(cell) for cell in row[2:first]], "std": spread,
            "seconds": seconds, "codes": [_cell(cell) for cell in row[first + 3 : -len(AFTER)]],
            **dict(zip(AFTER, row[-len(AFTER) :], strict=True)),
        })  # fmt: skip
    if unread:
        problems.append(f"trials.csv: {len(unread)} rows cannot be read, the first is row {unread[0]}")
    return metrics, parameters, sorted(trials, key=lambda trial: trial["number"])


def _confirmed(path: Path, problems: list[str]) -> list[dict[str, Any]]:
    """What fresh seeds said of the best trials, in the order of the file; empty where there is none."""
    if not os.path.lexists(path):
        return []
    try:
        rows = read_rows(path)
    except (OSError, DataError) as error:
        problems.append(str(error).replace(f"{path}: ", f"{path.name} "))
        return []
    numbers = [[_number(cell) for cell in row[:5]] for row in rows[1:]]
    if rows[:1] != [CONFIRMED] or any(len(row) != len(CONFIRMED) for row in rows) or any(
        None in (trial, mean, seeds, search) for trial, mean, _, seeds, search in numbers
    ):  # fmt: skip
        problems.append("confirmed.csv has other columns than expected, or no numbers in them")
        return []
    return [dict(zip(CONFIRMED, (*found, *row[5:]), strict=True)) for found, row in zip(numbers, rows[1:], strict=True)]


def _number(cell: str) -> float | None:
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _cell(cell: str) -> float | str | None:
    number = _number(cell)
    return number if number is not None else cell or None


def _code(base: dict[str, Any], name: str) -> float | str | None:
    """What a parameter is in the base experiment, as trials.csv would have it; None where it cannot be told."""
    path, _, whole = name.partition(" / ")
    try:
        value = lookup(base, path)
        return value / lookup(base, whole) if whole else _plain(value)
    except (KeyError, TypeError, ZeroDivisionError):  # a set of cases has no path
        return None


def _plain(value: Any) -> float | str | None:
    if value is None or isinstance(value, list):
        return json.dumps(value)
    return value if (isinstance(value, int | float) and not isinstance(value, bool)) else str(value)


def _alike(codes: list[Any], base: list[Any]) -> bool:
    """Whether all that a trial chose is as in the base; a parameter that it did not have says nothing."""
    pairs = [(code, other) for code, other in zip(codes, base, strict=True) if code is not None]
    return bool(pairs) and all(
        math.isclose(code, other, rel_tol=1e-9)
        if isinstance(code, int | float) and isinstance(other, int | float) else _meant(code) == _meant(other)
        for code, other in pairs
    )  # fmt: skip


def _meant(code: Any) -> Any:
    """The list or number that a text stands for: [0, 2] is [0.0, 2.0]; the text itself where it is no JSON."""
    try:
        return parse_json(code) if isinstance(code, str) else code
    except ValueError:
        return code


def _history(complete: list[Trial], objective: int, sign: int) -> dict[str, list[float]]:
    values = [trial["values"][objective] for trial in complete]
    best = np.maximum.accumulate(sign * np.array(values, dtype=float)) * sign
    return {"numbers": [trial["number"] for trial in complete], "values": values, "best": best.tolist()}


def _front(ranked: list[Trial], signs: list[int]) -> list[Trial]:
    """The best trial; of several objectives all trials that no other one beats in something and equals in the rest."""
    if len(signs) == 1:
        return ranked[:1]
    values = np.array([[sign * value for sign, value in zip(signs, trial["values"], strict=True)] for trial in ranked])
    beaten = [((values >= row).all(axis=1) & (values > row).any(axis=1)).any() for row in values]
    return [trial for trial, is_beaten in zip(ranked, beaten, strict=True) if not is_beaten]


def _correlations(parameters: list[str], trials: list[Trial]) -> list[dict[str, Any]]:
    """Rank correlation of each numeric parameter with the first objective, strongest first.

    Pruned trials are among them, with the figure they were given up at: without those that did badly nothing is told.
    """
    found = []
    for i, name in enumerate(parameters):
        pairs = [(trial["codes"][i], trial["values"][0]) for trial in trials if trial["codes"][i] not in (None, NULL)]
        if len(pairs) < MIN_TRIALS or not all(isinstance(code, int | float) for code, _ in pairs):
            continue
        correlation, chance = rank_correlation(*(np.array(side, dtype=float) for side in zip(*pairs, strict=True)))
        if correlation is not None:
            found.append({"parameter": name, "trials": len(pairs), "correlation": correlation, "chance": chance})
    return sorted(found, key=lambda row: -abs(row["correlation"]))


def _written(path: Path) -> str | None:
    try:
        return datetime.datetime.fromtimestamp(path.stat().st_mtime).astimezone().isoformat(timespec="minutes")
    except OSError:
        return None
