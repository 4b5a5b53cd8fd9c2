"""The W&B workspace: what is specified is what is built, and errors say what to do."""

import sys

import pytest
from workspaces import panels

from aevlp.cli import main
from aevlp.config.finding import files
from aevlp.config.loading import read_mapping
from aevlp.reporting.dashboard import build, specification

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def test_the_workspaces_hold_the_specified_sections_and_panels():
    spec = specification("me", "mine")
    for workspace, wanted in zip(build(spec), spec["workspaces"], strict=True):
        assert (workspace.entity, workspace.project, workspace.name) == ("me", "mine", wanted["name"])
        assert [section.name for section in workspace.sections] == [section["name"] for section in wanted["sections"]]
        for built, section in zip(workspace.sections, wanted["sections"], strict=True):
            assert len(built.panels) == len(section["panels"])
            titled = [panel.title for panel in built.panels if type(panel).__name__ in ("LinePlot", "ScatterPlot")]
            assert titled == [panel["title"] for panel in section["panels"] if panel["type"] in ("lines", "scatter")]


def test_what_was_asked_for_is_there():
    names = [section["name"] for workspace in specification(None, "p")["workspaces"] for section in workspace["sections"]]
    assert names[:6] == ["Overview", "Known labels", "Pseudo-label quality", "Classes", "Efficiency", "What differs"]
    assert names[6:] == ["Sweeps", "Labeler", "Loss and optimiser", "What differs"]


def test_one_workspace_shows_the_trials_of_studies_and_the_other_all_but_them():
    filters = [workspace.runset_settings.filters for workspace in build(specification("me", "mine"))]
    assert filters == ["Metric(\"JobType\") not in ['sweep-trial', 'sweep']", "Metric(\"JobType\") in ['sweep-trial']"]


def test_settings_that_are_plotted_are_ones_that_studies_search():
    searched = {path for file in files("sweeps").values() for path in read_mapping(file)[0]["space"]}
    plotted = {name for panel in panels(specification(None, "p")) for name in panel.get("config", [])}
    assert len(plotted) > 10
    assert plotted <= searched


def test_without_the_extra_it_says_how_to_install_it(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "wandb_workspaces.workspaces", None)
    assert main(["dashboard", "--entity", "me"]) == 1
    assert "pip install 'aevlp[dashboard]'" in capsys.readouterr().err
