"""Label Studio's JSON export: choices, boxes, polygons and brushes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from aevlp.config.errors import ConfigError, DataError
from aevlp.config.registry import register
from aevlp.data.column_names import GUESSES
from aevlp.data.imports._base import AS_KNOWN, MAX_BYTES, Found, ImportConfig, Report, begins_with
from aevlp.data.locate import is_photo
from aevlp.data.table import Row
from aevlp.reading import read_json

UPLOADED = re.compile(r"[0-9a-f]{8}-(.+)")
HEAVY = ("rle", "points", "prediction", "drafts")


class LabelStudioImport(ImportConfig):
    """Where a task names its photo."""

    image: str | None = None
    """Key of a task's data; by itself, `image`, or the one that names a picture."""

    @classmethod
    def recognises(cls, source: Path, files: list[str]) -> bool:
        """A JSON file that begins as a list."""
        return source.suffix.lower() == ".json" and begins_with(source, "[")


@register("imports", "labelstudio", config=LabelStudioImport)
def read_labelstudio(config: LabelStudioImport, *, source: Path, report: Report) -> Iterator[Found]:
    """One row a task. What annotators mark, or choose where several may be chosen, is all of a photo's labels.

    Where no task has more than one choice, it is what is known, and nothing is said of the other classes. Where annotators of one
    task disagree, what all of them say is known. So is what is predicted, which is never all.
    """
    tasks = read_json(source, MAX_BYTES, _without_shapes)
    if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
        raise DataError(f"{source}: is no list of tasks; export from Label Studio as JSON")
    read = [_answers(source, i, task, report) for i, task in enumerate(tasks)]
    guessed = [_has_only_predictions(task) for task in tasks]
    single = not any(
        shape or len(labels) > 1
        for answers, is_guess in zip(read, guessed, strict=True) if not is_guess for shape, labels in answers
    )  # fmt: skip
    for i, (task, answers, is_guess) in enumerate(zip(tasks, read, guessed, strict=True)):
        name, *otherwise = _names(_image(config, source, i, task))
        said = [labels for _, labels in answers]
        agreed = tuple(label for label in said[0] if all(label in labels for labels in said)) if said else ()
        known: tuple[str, ...] = ()
        if any(set(labels) != set(agreed) for labels in said):
            report.notes.add("{photos|photo} whose annotators disagree; what all of them say is known, and nothing else", name)
            known, agreed = agreed, ()
        elif single or is_guess:
            known, agreed = agreed, ()
        if not known and not agreed:
            report.notes.add("{tasks give their|task gives its} photo no label", name)
        yield Found(source, Row(0, name, known, labels=agreed), tuple(otherwise))


def _answers(source: Path, number: int, task: dict[str, Any], report: Report) -> list[tuple[bool, tuple[str, ...]]]:
    """What each annotator says: whether by marks on the photo, and the labels. The ground truth alone, where there is one."""
    annotations = task.get("annotations", task.get("completions"))
    if _has_only_predictions(task):
        annotations = task["predictions"]
        report.notes.add(f"{{tasks have|task has}} predictions and no annotations: {GUESSES}; {AS_KNOWN}", f"task {number + 1}")
    if not isinstance(annotations, list):
        raise DataError(f"{source}: task {number + 1} has no list of annotations; export from Label Studio as JSON, not JSON-MIN")
    answers, true = [], []
    for annotation in annotations:
        where = f"{source}: task {number + 1}"
        if not isinstance(annotation, dict) or not isinstance(results := annotation.get("result", []), list):
            raise DataError(f"{where} has an annotation without results")
        if annotation.get("was_cancelled") or annotation.get("skipped"):
            report.notes.add(
                "{annotations were|annotation was} skipped or cancelled, and {are|is} not read", f"task {number + 1}"
            )
            continue
        answer = _labels(where, results)
        answers.append(answer)
        true += [answer] if annotation.get("ground_truth") is True else []
    return true or answers


def _has_only_predictions(task: dict[str, Any]) -> bool:
    """Whether a task is as it is before anybody has looked at it."""
    return "predictions" in task and task.get("annotations", task.get("completions")) is None


def _labels(where: str, results: list[Any]) -> tuple[bool, tuple[str, ...]]:
    marked, labels = False, dict[str, None]()
    for result in results:
        kind, value = (result.get(key) for key in ("type", "value")) if isinstance(result, dict) else (None, None)
        if not isinstance(kind, str) or not (kind == "choices" or kind.endswith("labels")):
            continue  # a rating, a text, a relation
        words = value.get(kind, []) if isinstance(value, dict) else None
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise DataError(f"{where}: a result of type {kind!r} names no classes")
        marked |= kind != "choices"
        labels |= dict.fromkeys(words)
    return marked, tuple(labels)


def _image(config: LabelStudioImport, source: Path, number: int, task: dict[str, Any]) -> str:
    data = task.get("data")
    words = {key: value for key, value in data.items() if isinstance(value, str)} if isinstance(data, dict) else {}
    if config.image is not None:
        keys = [config.image] if config.image in words else []
    else:
        keys = ["image"] if "image" in words else [key for key, value in words.items() if is_photo(_names(value)[0])]
    if len(keys) != 1:
        raise ConfigError(
            f"{source}: task {number + 1} has {'no' if not keys else 'several'} data that name a photo; say which: --image KEY "
            f"(it has {', '.join(words) or 'none'})"
        )
    return words[keys[0]]


def _names(url: str) -> list[str]:
    """The name of a photo by its address, and what it was called before it was uploaded."""
    try:
        parts = urlsplit(url) if re.match(r"[a-z][a-z0-9+.-]*://|/data/", url) else None
    except ValueError:  # text that begins like an address, such as http://[oops/1.jpg
        parts = None
    if parts is None:
        return [url]
    if "d" in (query := parse_qs(parts.query)):
        return [query["d"][0]]
    path = unquote(parts.path).lstrip("/")
    uploaded = UPLOADED.fullmatch(path.rpartition("/")[2])
    return [path, *([uploaded[1]] if uploaded else [])]


def _without_shapes(one: dict[str, Any]) -> dict[str, Any]:
    for key in (*HEAVY, *(["predictions"] if "annotations" in one or "completions" in one else [])):
        one.pop(key, None)
    return one
