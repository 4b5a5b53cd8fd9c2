"""The manual: every page is in the navigation, every link leads somewhere, every public name is explained."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
TEXTS = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
PROSE = {path: re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.M | re.S) for path in TEXTS}
SHOWN = re.findall(r"^::: (\S+)", (DOCS / "python.md").read_text(), re.M)
# What outside programs call. The page shows each of these, and whatever else it shows is public as well.
SURFACE = (
    "aevlp.load_experiment", "aevlp.train", "aevlp.RunResult", "aevlp.losses.build", "aevlp.labelers.Labeler",
    "aevlp.labelers.damp.assign", "aevlp.metrics.mean_average_precision", "aevlp.metrics.pseudo_label_quality",
    "aevlp.data.protocol.draw_single_positives", "aevlp.data.protocol.split_train_val", "aevlp.config.registry.register",
)  # fmt: skip
MODULES = ("aevlp", "aevlp.losses", "aevlp.labelers", "aevlp.metrics", "aevlp.data.protocol", "aevlp.config.registry")


def pages(entry) -> list[str]:
    """Pages below an entry of the navigation."""
    if isinstance(entry, str):
        return [entry]
    return [page for part in (entry.values() if isinstance(entry, dict) else entry) for page in pages(part)]


def test_every_page_is_in_the_navigation_once():
    navigation = pages(yaml.safe_load((ROOT / ".mkdocs.yml").read_text())["nav"])
    assert sorted(navigation) == sorted(path.name for path in DOCS.glob("*.md"))


def anchors(path: Path) -> set[str]:
    """Of the headings of a page, as the site and code hosts make them; and of what `:::` shows."""
    headings = re.findall(r"^#+ (.*)$", PROSE[path], re.M)
    made = {re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", heading.lower()).strip()) for heading in headings}
    return made | set(re.findall(r"^::: (\S+)", PROSE[path], re.M))


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_every_relative_link_leads_somewhere(path):
    wrong = []
    for link in re.findall(r"\]\(([^)\s]+)\)", PROSE[path]):
        target, _, anchor = link.partition("#")
        file = (path.parent / target).resolve() if target else path
        if re.match(r"[a-z]+:", link):
            continue
        if not file.exists() or (path.parent == DOCS and DOCS not in file.parents):  # the site holds docs/ alone
            wrong.append(link)
        elif anchor and anchor not in anchors(file):
            wrong.append(link)
    assert wrong == []


def source(module: str) -> Path | None:
    path = ROOT / module.replace(".", "/")
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


def statements(module: str) -> list[ast.stmt]:
    """Of a module, those for the type checker included."""
    body = ast.parse(source(module).read_text()).body
    return [inner for node in body for inner in (node.body if isinstance(node, ast.If) else [node])]


def exported(module: str) -> list[str]:
    """Names that a module says it offers; else all that it defines without an underscore."""
    named = [
        ast.literal_eval(node.value) for node in statements(module)
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    ]  # fmt: skip
    return named[0] if named else [name for name, _, _ in definitions(statements(module))]


def definitions(body: list[ast.stmt]) -> Iterator[tuple[str, ast.stmt, bool]]:
    """Public names, what defines them, and whether a sentence says what they are."""
    for node, after in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found = {node.name: ast.get_docstring(node) is not None}
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            said = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) and isinstance(after.value.value, str)
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found = {target.id: said for target in targets if isinstance(target, ast.Name)}
        else:
            continue
        yield from ((name, node, said) for name, said in found.items() if not name.startswith("_"))


def unexplained(name: str) -> list[str]:
    """Public names below `name`, itself included, of which no docstring says what they are."""
    if source(name):
        module = ast.parse(source(name).read_text())
        own = [] if ast.get_docstring(module) else [name]
        return own + [found for part in exported(name) for found in unexplained(f"{name}.{part}")]
    module, _, part = name.rpartition(".")
    for known, node, said in definitions(statements(module)):
        if known == part:
            inside = definitions(node.body) if isinstance(node, ast.ClassDef) else ()
            return ([] if said else [name]) + [f"{name}.{inner}" for inner, _, told in inside if not told]
    for node in statements(module):
        if isinstance(node, ast.ImportFrom) and part in [alias.name for alias in node.names]:
            return unexplained(f"{node.module}.{part}")
    raise AssertionError(f"{name} is nowhere defined")


@pytest.mark.parametrize("name", sorted({*MODULES, *SHOWN}))
def test_every_public_name_is_explained(name):
    assert unexplained(name) == []


@pytest.mark.parametrize("name", SURFACE)
def test_the_page_of_the_api_shows_the_public_surface(name):
    assert name in SHOWN or name.rpartition(".")[0] in SHOWN


def test_a_name_without_a_docstring_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    (tmp_path / "odd.py").write_text(
        '"""Odd."""\nA = 1\n"""One."""\nB: int = 2\n\n\nclass C:\n    """C."""\n\n    def d(self): ...\n'
    )
    assert unexplained("odd") == ["odd.B", "odd.C.d"]
