"""The class of a component's settings, without importing what the component computes with.

A component's file begins with `import torch`, which takes seconds. To show, check and compare configurations, the class of its
settings is enough: this runs those statements of the file that the class needs, and no others.
"""

from __future__ import annotations
import __future__

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

_ROOT = Path(__file__).resolve().parents[2]
_FLAGS = __future__.annotations.compiler_flag


def settings_class(module: str, kind: str, name: str) -> Any:
    """What `@register(kind, name, config=...)` names in a module of this package; None where that cannot be told so."""
    try:
        part = _part(module)
        return part.get(part.config_of(kind, name))
    except Exception:  # whatever it is, importing the module will tell
        return None


@cache
def _part(module: str) -> _Part:
    return _Part(module)


class _Part:
    """A module of which only the statements that were asked for have run, and those that they need.

    It has no `__file__`: pydantic, which takes the descriptions of fields from there, would take this for the module itself.
    """

    def __init__(self, module: str):
        place = _ROOT.joinpath(*module.split("."))
        self.path = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
        self.tree = ast.parse(self.path.read_text(encoding="utf-8"))
        self.waiting = {name: statement for statement in self.tree.body for name in _names_bound(statement)}
        self.module = ModuleType(f"{module}:settings")
        sys.modules[self.module.__name__] = self.module  # where pydantic looks annotations up

    def config_of(self, kind: str, name: str) -> str:
        """Name of the class that the component registers."""
        for call in (node for node in ast.walk(self.tree) if isinstance(node, ast.Call)):
            if ast.unparse(call.func) == "register" and [ast.literal_eval(word) for word in call.args] == [kind, name]:
                return next(ast.unparse(word.value) for word in call.keywords if word.arg == "config")
        raise LookupError(name)

    def get(self, name: str) -> Any:
        """The value of a name of the module."""
        self._define(name)
        return getattr(self.module, name)

    def _define(self, name: str) -> None:
        statement = self.waiting.pop(name, None)
        if statement is None:  # defined already, or built in
            return
        if isinstance(statement, ast.ImportFrom) and (statement.module or "").startswith("aevlp."):
            wanted = next(alias.name for alias in statement.names if name in (alias.name, alias.asname))
            setattr(self.module, name, _value(str(statement.module), wanted))
            return
        for needed in _names_used(statement):
            self._define(needed)
        exec(compile(ast.Module([statement], []), self.path, "exec", _FLAGS), vars(self.module))  # noqa: S102, the package's own


def _value(module: str, name: str) -> Any:
    known = sys.modules.get(module)
    return _part(module).get(name) if known is None else getattr(known, name)


def _names_used(node: ast.AST, in_function: bool = False) -> Iterator[str]:
    """The names in a statement, but for those in the annotations of functions, which nothing looks up."""
    if isinstance(node, ast.Name):
        yield node.id
    in_function = in_function or isinstance(node, ast.FunctionDef)
    for field, below in ast.iter_fields(node):
        if not (in_function and field in ("annotation", "returns")):
            for child in below if isinstance(below, list) else [below]:
                if isinstance(child, ast.AST):
                    yield from _names_used(child, in_function)


def _names_bound(statement: ast.stmt) -> Iterator[str]:
    if isinstance(statement, ast.Import | ast.ImportFrom):
        yield from (alias.asname or alias.name.partition(".")[0] for alias in statement.names)
    elif isinstance(statement, ast.ClassDef | ast.FunctionDef):
        yield statement.name
    elif isinstance(statement, ast.Assign | ast.AnnAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        yield from (node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name))
