"""What `list`, `show` and `schema` print about configurations."""

from __future__ import annotations

import ast
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aevlp.command import COMMAND
from aevlp.config import registry
from aevlp.config.finding import EXPERIMENTS, SUITES, config_roots, dataset_of, files
from aevlp.config.schema import ExperimentConfig

DATASETS = "configs/dataset"
FOLDERS = {"experiments": EXPERIMENTS, "suites": SUITES, "sweeps": "sweeps"}


def describe(kind: str) -> list[tuple[str, str]]:
    """Name and one line of every experiment, suite, study or component, without importing the package's own components."""
    if kind in FOLDERS:
        return [(name, _first_comment(path)) for name, path in sorted(files(FOLDERS[kind]).items())]
    return [(name, _first_line(kind, name)) for name in registry.names(kind)]


@dataclass(frozen=True)
class Group:
    """Experiments that are listed together: those on one dataset, or a user's own."""

    title: str
    preparation: list[str]
    """The command that prepares the dataset, and what its folder must hold; empty where none is needed."""
    experiments: list[tuple[str, str]]
    """Name and one line of each."""


def describe_groups() -> list[Group]:
    """All experiments by dataset, a user's own last: those in no dataset's folder, or in the working folder alone."""
    datasets, shipped = files(DATASETS), config_roots()[0]
    groups: dict[str, list[tuple[str, str]]] = {}
    for name, path in sorted(files(EXPERIMENTS).items()):
        dataset = dataset_of(path) if path.is_relative_to(shipped) else ""
        groups.setdefault(dataset if dataset in datasets else "", []).append((name, _first_comment(path)))
    own = groups.pop("", [])
    found = [Group(*_dataset(datasets[dataset]), rows) for dataset, rows in groups.items()]
    return found + [Group("Your own: in experiments/ itself, or of the working folder.", [], own)] * bool(own)


def _dataset(path: Path) -> tuple[str, list[str]]:
    """What the head of a dataset's file says: its first line, and the command that prepares it."""
    told = next((line for line in _comments(path) if line.startswith("python run.py prepare")), "")
    command, _, needs = told.replace("python run.py", COMMAND).partition("  ")
    return _first_comment(path), [line for line in (f"prepare it: {command}" if command else "", needs.strip()) if line]


def _first_comment(path: Path) -> str:
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return lines[0].removeprefix("#").strip() if lines and lines[0].startswith("#") else ""


def _comments(path: Path) -> list[str]:
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return [line.lstrip("# ").strip() for line in lines if line.startswith("#")]


def adaptations(experiment: str) -> list[str]:
    """What the head of an experiment's file says to be filled in where the public record is incomplete: its `adapted:` lines."""
    head = _comments(files(EXPERIMENTS)[experiment])
    return [line.removeprefix("adapted:").strip() for line in head if line.startswith("adapted:")]


def _first_line(kind: str, name: str) -> str:
    path = Path(__file__).resolve().parents[1] / registry.KINDS[kind] / f"{name}.py"
    if path.is_file():
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    else:
        text = sys.modules[registry.get(kind, name).build.__module__].__doc__
    return (text or "").strip().splitlines()[0] if text else ""


def flatten(values: Any, path: str = "") -> dict[str, Any]:
    """Nested mappings as dotted paths; lists stay whole."""
    if not isinstance(values, dict):
        return {path: values}
    result: dict[str, Any] = {}
    for key, value in values.items():
        result |= flatten(value, f"{path}.{key}" if path else str(key))
    return result


def lookup(values: dict[str, Any], path: str) -> Any:
    """The value at a dotted path such as loss.beta[1]; a component by its name. KeyError where there is none."""
    found: Any = values
    for step in re.findall(r"\w+|\[\d+\]", path):
        try:
            found = found[int(step[1:-1])] if step.startswith("[") else found[step]
        except (IndexError, TypeError) as error:
            raise KeyError(path) from error
    return found["name"] if isinstance(found, dict) and "name" in found else found


def schema() -> dict[str, Any]:
    """JSON schema of an experiment with the settings of every component."""
    result = ExperimentConfig.model_json_schema()
    definitions = result.setdefault("$defs", {})
    parts: dict[str, Any] = {}
    for section, kind in (registry.SECTIONS | {"encoder": "encoders"}).items():
        choices = []
        for name in registry.names(kind):
            component = registry.get(kind, name).config.model_json_schema(ref_template="#/$defs/{model}")
            definitions |= component.pop("$defs", {})
            component["properties"]["name"]["const"] = name
            component["required"] = []  # `base:` may give the rest
            definitions[f"{section}/{name}"] = component
            choices.append({"$ref": f"#/$defs/{section}~1{name}"})
        if section == "encoder":
            parts["EncoderConfig"] = {"anyOf": choices}  # of which every labeler's is one
        else:
            result["properties"][section] = {"anyOf": [*choices, {"type": "string"}]}
    backbones = [name for name, one in definitions.items() if name.startswith("model/") and "boost" in one["properties"]]
    parts["BoostConfig"] = {"anyOf": [{"$ref": f"#/$defs/{name.replace('/', '~1')}"} for name in backbones]}
    definitions |= parts
    definitions["model/probe"]["properties"]["backbone"]["anyOf"].append({"type": "string"})  # resnet50, or timm:NAME
    for section in ("trainer", "tracking"):
        result["properties"][section] = {"anyOf": [{"$ref": result["properties"][section]["$ref"]}, {"type": "string"}]}
    result["properties"]["base"] = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
    result["required"] = []
    return result
