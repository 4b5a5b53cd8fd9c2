"""The registry: names without imports, plugins, and what it refuses."""

from __future__ import annotations

import importlib.metadata
import sys

import pytest

from aevlp import load_experiment, losses
from aevlp.config import describe, registry
from aevlp.config.errors import ConfigError
from aevlp.config.schema import ComponentConfig

PLUGIN = '''"""Squared error against the observed labels."""

from pydantic import Field
from torch import nn

from aevlp.config.registry import register
from aevlp.config.schema import ComponentConfig


class SquaredConfig(ComponentConfig):
    power: float = Field(2.0, gt=0)


@register("losses", "squared", config=SquaredConfig)
class Squared(nn.Module):
    def __init__(self, config, **_):
        super().__init__()
        self.power = config.power

    def forward(self, logits, observed, pseudo, **_):
        return ((logits.sigmoid() - observed).abs() ** self.power).mean()
'''


@pytest.fixture(autouse=True)
def _forget_plugins():
    yield
    for components in registry._components.values():
        for name in [name for name, component in components.items() if component.build.__module__.startswith("aevlp_plugin_")]:
            del components[name]


@pytest.fixture
def plugin(tmp_path):
    """Write a plugin file; returns its path."""

    def write(text: str, name: str = "mine"):
        path = tmp_path / f"{name}.py"
        path.write_text(text)
        return path

    return write


def error(path) -> str:
    with pytest.raises(ConfigError) as raised:
        registry.load_plugin(path)
    return str(raised.value)


@pytest.mark.parametrize("kind", registry.KINDS)
def test_every_listed_name_is_a_component_with_its_own_name_and_description(kind):
    described = dict(describe.describe(kind))
    assert list(described) == registry.names(kind)
    for name in registry.names(kind):
        component = registry.get(kind, name)
        assert component.name == name
        assert issubclass(component.config, ComponentConfig)
        assert len(described[name]) > 10


def test_helper_files_are_no_components():
    assert not [name for kind in registry.KINDS for name in registry.names(kind) if name.startswith("_")]


def test_an_unknown_component_is_told_the_nearest():
    with pytest.raises(ConfigError, match=r"^unknown loss 'gprr'; did you mean 'gpr' or 'gr'\?; one of your own needs --plugin"):
        registry.get("losses", "gprr")


@pytest.mark.parametrize("name", ["../losses/an", "_terms", "", "an.py", "os"])
def test_a_name_is_never_a_path_or_module(name):
    with pytest.raises(ConfigError, match="unknown loss"):
        registry.get("losses", name)


def test_a_plugin_is_listed_configured_and_built_like_any_other(plugin):
    registry.load_plugin(plugin(PLUGIN))
    assert ("squared", "Squared error against the observed labels.") in describe.describe("losses")
    config = load_experiment("digits_an", ["loss=squared", "loss.power=1"])
    assert config.to_dict()["loss"] == {"name": "squared", "power": 1.0}
    assert registry.build("losses", config.loss).power == 1.0
    assert losses.build("squared", num_classes=10, num_samples=5, power=3.0).power == 3.0
    assert "loss/squared" in describe.schema()["$defs"]
    with pytest.raises(ConfigError, match=r"loss.power: input should be greater than 0"):
        load_experiment("digits_an", ["loss=squared", "loss.power=0"])


def test_a_plugin_may_be_given_twice(plugin):
    path = plugin(PLUGIN)
    registry.load_plugin(path)
    registry.load_plugin(path)
    assert registry.names("losses").count("squared") == 1


def test_a_second_plugin_may_not_take_the_name(plugin):
    registry.load_plugin(plugin(PLUGIN))
    message = error(plugin(PLUGIN, "other"))
    assert message.endswith("losses: 'squared' is registered twice, by aevlp_plugin_mine and aevlp_plugin_other")
    assert registry.get("losses", "squared").build.__module__ == "aevlp_plugin_mine"


@pytest.mark.parametrize("class_name", ["ANPLLoss", "Mine"])
@pytest.mark.parametrize("used_before", [False, True])
def test_a_plugin_may_not_take_the_name_of_a_component_of_the_package(plugin, class_name, used_before, monkeypatch):
    own = registry.get("losses", "an_pl")
    if not used_before:
        monkeypatch.delitem(registry._components["losses"], "an_pl")
    message = error(plugin(PLUGIN.replace('"squared"', '"an_pl"').replace("Squared(", f"{class_name}(")))
    assert message.endswith("losses: 'an_pl' is registered twice, by aevlp.losses.an_pl and aevlp_plugin_mine")
    monkeypatch.undo()
    assert registry.get("losses", "an_pl") is own


def test_a_plugin_that_registers_an_unknown_kind_is_told_the_nearest(plugin):
    assert "unknown kind of component 'loss'; did you mean 'losses'" in error(plugin(PLUGIN.replace('"losses"', '"loss"')))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a = 1\nraise RuntimeError('no')\n", ", line 2: RuntimeError: no"),
        ("def f():\n    return 1 / 0\n\nf()\n", ", line 2: ZeroDivisionError: division by zero"),
        ("import no_such_module\n", ", line 1: ModuleNotFoundError: No module named 'no_such_module'"),
        ("def f(:\n", ": SyntaxError: invalid syntax (mine.py, line 1)"),
    ],
)
def test_a_plugin_that_fails_is_told_with_its_line_and_leaves_no_module(plugin, text, expected):
    path = plugin(text)
    assert error(path) == f"--plugin {path}{expected}"
    assert "aevlp_plugin_mine" not in sys.modules


def test_the_line_of_a_plugin_that_fails_is_told_wherever_it_was_named_from(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text("a = 1\nundefined\n")
    with pytest.raises(ConfigError, match=r"^--plugin mine\.py, line 2: NameError: name 'undefined' is not defined"):
        registry.load_plugin("mine.py")


def test_a_plugin_that_is_no_python_file_is_refused(tmp_path):
    assert error(tmp_path / "absent.py").endswith("absent.py: no such file")
    (tmp_path / "notes.txt").write_text("x")
    assert error(tmp_path / "notes.txt").endswith("notes.txt: not a Python file")


def test_entry_points_are_loaded_when_names_are_asked_for_and_their_failure_is_told(plugin, monkeypatch):
    plugin(PLUGIN, "aevlp_plugin_installed")
    monkeypatch.syspath_prepend(str(plugin("", "unused").parent))
    found = [importlib.metadata.EntryPoint("mine", "aevlp_plugin_installed", "aevlp.plugins")]
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: found if group == "aevlp.plugins" else [])
    monkeypatch.setattr(registry, "_entry_points_loaded", False)
    assert "squared" in registry.names("losses")

    found[:] = [importlib.metadata.EntryPoint("gone", "no_such_module", "aevlp.plugins")]
    monkeypatch.setattr(registry, "_entry_points_loaded", False)
    with pytest.raises(ConfigError, match="plugin no_such_module: ModuleNotFoundError"):
        registry.names("losses")
