"""The plan of the package: what may import what, and what starts without torch."""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest
from exports import class_folders, make_photos

from aevlp.config import registry
from aevlp.config.settings import settings_class

ROOT = Path(__file__).parents[2]
# Each knows only of those before it. The first stands for config/ and the files beside it.
ORDER = (
    "ground", "data", "vision_language", "metrics", "labelers", "losses", "models", "tracking", "runs", "reporting", "training",
    "inference", "review", "sweeps", "suites", "bench", "verbs", "cli", "__main__",
)  # fmt: skip
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in (ROOT / "aevlp").rglob("*.py") if "shipped" not in path.parts
}  # fmt: skip


def imports(module: str) -> set[str]:
    """Modules of the package that one imports, at its top or when a function is called, but not for the type checker alone."""
    found: set[str] = set()

    def look(node: ast.AST) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            found.update(name if (name := f"{node.module}.{alias.name}") in FILES else str(node.module) for alias in node.names)
        for child in ast.iter_child_nodes(node):
            look(child)

    look(ast.parse(FILES[module].read_text()))
    return (found & FILES.keys()) - {module}


GRAPH = {module: imports(module) for module in FILES}


def room(module: str) -> str:
    name = module.split(".")[1] if "." in module else "__init__"
    return name if name in ORDER else "ground"


def test_no_import_leads_back():
    graphlib.TopologicalSorter(GRAPH).prepare()  # CycleError names the cycle


def test_nothing_knows_of_what_is_above():
    upwards = [
        (module, other)
        for module, others in GRAPH.items() for other in others
        if module != "aevlp" and other != "aevlp" and ORDER.index(room(other)) > ORDER.index(room(module))
    ]  # fmt: skip
    assert upwards == []


@pytest.mark.parametrize("room_of_parts", ["losses", "metrics"])
def test_parts_that_get_tensors_know_nothing_of_data(room_of_parts):
    known = {(module, other) for module, others in GRAPH.items() for other in others if room(module) == room_of_parts}
    assert [(module, other) for module, other in known if room(other) == "data"] == []


def test_the_walk_sees_imports_inside_functions_and_of_modules():
    assert "aevlp.training.run" in GRAPH["aevlp.verbs.train"]
    assert "aevlp.config.registry" in GRAPH["aevlp.config.loading"]


def without_descriptions(schema):
    """Those of fields come from the source of an imported module."""
    if isinstance(schema, dict):
        return {key: without_descriptions(value) for key, value in schema.items() if key != "description"}
    return [without_descriptions(value) for value in schema] if isinstance(schema, list) else schema


@pytest.mark.parametrize("kind", registry.KINDS)
def test_settings_are_the_same_without_what_a_component_computes_with(kind):
    for name in sorted(registry._file_names(kind)):
        light = settings_class(registry._module(kind, name), kind, name)
        assert light is not None, name
        whole = registry.get(kind, name).config
        assert without_descriptions(light.model_json_schema()) == without_descriptions(whole.model_json_schema())


def test_what_only_reads_starts_without_torch(trained_run, tmp_path):
    class_folders(tmp_path / "classes", make_photos(tmp_path / "photos"))
    program = f"""
import sys
from aevlp.cli import main
for words in (["list"], ["show", "--exp", "coco_mime"], ["show", "--exp", "folder_probe_gpr"],
              ["show", "--diff", "digits_gpr", "coco_em"],
              ["compare", {str(trained_run)!r}], ["report", {str(trained_run)!r}, "-o", "page.html"], ["cache", "list"],
              ["import", "classes"], ["import", "classes", "--table", "mine.csv"]):
    assert main(words) == 0, words
    assert "torch" not in sys.modules, words
"""
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "page.html").is_file()


def test_rooms_are_there_once_the_package_is_imported():
    rooms = ("sweeps", "suites", "review", "inference", "training", "runs", "reporting", "data")  # none brings those behind it
    program = f"import aevlp; print(*(getattr(aevlp, name).__name__ for name in {rooms}))"
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert ended.stdout.split() == [f"aevlp.{name}" for name in rooms]


def test_settings_read_before_torch_was_imported_build_the_same_parts(tmp_path):
    program = """
import sys
from aevlp import load_experiment
before = [load_experiment(name) for name in ("digits_mime", "digits_smile", "digits_gpr")]
assert "torch" not in sys.modules
import torch
from aevlp.config import registry
for config in before:
    assert load_experiment(config.name).to_dict() == config.to_dict()
    assert load_experiment(config.name).hash == config.hash
    model = registry.build("models", config.model, num_classes=10, image_size=96)
    assert model(torch.zeros(2, 3, 96, 96, dtype=torch.uint8)) is not None
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
