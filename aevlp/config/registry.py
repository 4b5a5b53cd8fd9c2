"""Finding components by name. A component is a file in its room; the file is imported when the name is first used.

    @register("losses", "gpr", config=GPRConfig)
    class GPRLoss(nn.Module): ...

Files whose name begins with an underscore are helpers, not components. Components from outside the package register
themselves the same way, from a file given by `--plugin` or a module named by an entry point `aevlp.plugins`.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aevlp.config.errors import ConfigError, suggest
from aevlp.config.schema import ComponentConfig
from aevlp.config.settings import settings_class
from aevlp.input import require_file

KINDS = {
    "datasets": "data/formats", "models": "models", "labelers": "labelers", "losses": "losses", "imports": "data/imports",
    "encoders": "vision_language/encoders",
}  # fmt: skip
"""Kinds of components, and the room of the package where those of each lie."""
SECTIONS = {"dataset": "datasets", "model": "models", "labeler": "labelers", "loss": "losses"}
"""Sections of an experiment, and the kind of component that each names."""
PARTS = {"encoder": ("encoders", "huggingface"), "backbone": ("models", "resnet")}
"""Settings of components that name a component themselves: its kind, and the one that is meant where no name is given."""
_PACKAGE = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Component:
    """A registered component: its configuration class, and what builds it from configuration and runtime objects."""

    name: str
    """As registered."""
    config: type[ComponentConfig]
    """The class of its settings."""
    build: Callable[..., Any]
    """Called with (config, **runtime objects)."""


_components: dict[str, dict[str, Component]] = {kind: {} for kind in KINDS}
plugin_files: list[str] = []
"""Loaded by `load_plugin`; a resumed run needs them again."""
_entry_points_loaded = False


def register(kind: str, name: str, *, config: type[ComponentConfig]) -> Callable[[Any], Any]:
    """Decorate a class or function that builds component `name`: it is called with (config, **runtime objects)."""
    if kind not in KINDS:
        raise ConfigError(f"unknown kind of component {kind!r}{suggest(kind, KINDS)}")

    def decorate(build: Any) -> Any:
        known = _components[kind].get(name)
        own = (known.build.__module__, known.build.__qualname__) if known else (_module(kind, name), build.__qualname__)
        if (known or name in _file_names(kind)) and own != (build.__module__, build.__qualname__):
            raise ConfigError(f"{kind}: {name!r} is registered twice, by {own[0]} and {build.__module__}")
        _components[kind][name] = Component(name, config, build)
        return build

    return decorate


def names(kind: str) -> list[str]:
    """All names of one kind, without importing the package's own components."""
    _load_entry_points()
    return sorted({*_file_names(kind), *_components[kind]})


def get(kind: str, name: str) -> Component:
    """The component `name`; a ConfigError with the nearest name where there is none."""
    if name not in _components[kind] and name in _file_names(kind):
        importlib.import_module(_module(kind, name))
    if name not in _components[kind]:
        _load_entry_points()
    if name not in _components[kind]:
        word = {section_kind: section for section, section_kind in SECTIONS.items()}.get(kind, kind.removesuffix("s"))
        raise ConfigError(f"unknown {word} {name!r}{suggest(name, names(kind))}; one of your own needs --plugin FILE.py")
    return _components[kind][name]


def settings(kind: str, name: str) -> type[ComponentConfig]:
    """The configuration class of a component, without importing what it computes with; errors as of `get`."""
    if "torch" not in sys.modules and name not in _components[kind] and name in _file_names(kind):
        found: type[ComponentConfig] | None = settings_class(_module(kind, name), kind, name)
        if found is not None:
            return found
    return get(kind, name).config  # with torch there it costs little, and all classes are those of the modules


def part(setting: str, value: Any) -> Any:
    """A setting of PARTS as the settings of the component that it names; what is no mapping is left to pydantic."""
    kind, default = PARTS[setting]
    if not isinstance(value, dict) or not isinstance(value.get("name", default), str):
        return value
    named = {"name": default, **value}
    return settings(kind, named["name"]).model_validate(named)


def build(kind: str, config: ComponentConfig, **runtime: Any) -> Any:
    """Build the component that `config` names, from its own configuration and the runtime objects it needs."""
    component = get(kind, config.name)
    if not isinstance(config, component.config):  # of the class that `settings` gave before the component was imported
        config = component.config.model_validate(config.model_dump())
    return component.build(config, **runtime)


def load_plugin(path: str | Path) -> None:
    """Import a Python file that registers components."""
    path = Path(path)
    try:
        require_file(path)
    except FileNotFoundError as error:
        raise ConfigError(f"--plugin {path}: no such file") from error
    except OSError as error:
        raise ConfigError(f"--plugin {path}: cannot be read: {error}") from error
    twin = next((file for file in plugin_files if Path(file).name == path.name and Path(file).resolve() != path.resolve()), None)
    if twin is not None:  # they would be one module, and one file among what a run keeps
        raise ConfigError(f"--plugin {path}: {twin} has the same name; rename one of them")
    name = f"aevlp_plugin_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"--plugin {path}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename) == path.absolute()]
        where = f"--plugin {path}{f', line {lines[-1]}' if lines else ''}"
        raise ConfigError(f"{where}: {type(error).__name__}: {error}") from error
    plugin_files.append(str(path))


def _module(kind: str, name: str) -> str:
    return f"aevlp.{KINDS[kind].replace('/', '.')}.{name}"


def _file_names(kind: str) -> set[str]:
    return {path.stem for path in (_PACKAGE / KINDS[kind]).glob("[!_]*.py")}


def _load_entry_points() -> None:
    global _entry_points_loaded
    if not _entry_points_loaded:
        _entry_points_loaded = True
        for entry_point in importlib.metadata.entry_points(group="aevlp.plugins"):
            try:
                entry_point.load()
            except Exception as error:
                raise ConfigError(f"plugin {entry_point.value}: {type(error).__name__}: {error}") from error
