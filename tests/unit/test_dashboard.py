"""The W&B workspace: what is specified is what is built, and errors say what to do."""

import sys

import pytest

from aevlp.cli import main
from aevlp.reporting.dashboard import build, specification

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def test_the_workspace_holds_the_specified_sections_and_panels():
    spec = specification("me", "mine")
    workspace = build(spec)
    assert (workspace.entity, workspace.project) == ("me", "mine")
    assert [section.name for section in workspace.sections] == [section["name"] for section in spec["sections"]]
    for built, wanted in zip(workspace.sections, spec["sections"], strict=True):
        assert len(built.panels) == len(wanted["panels"])
        lines = [panel for panel in built.panels if type(panel).__name__ == "LinePlot"]
        assert [panel.title for panel in lines] == [panel["title"] for panel in wanted["panels"] if panel["type"] == "lines"]


def test_without_the_extra_it_says_how_to_install_it(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "wandb_workspaces.workspaces", None)
    assert main(["dashboard", "--entity", "me"]) == 1
    assert "pip install 'aevlp[dashboard]'" in capsys.readouterr().err
