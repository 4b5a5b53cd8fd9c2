"""`~` is the home folder wherever a path may be given; a home that nobody knows is one line."""

from __future__ import annotations

import os

import pytest

import aevlp
from aevlp import folders
from aevlp.cli import main
from aevlp.data.formats.arrays import ArraysConfig, arrays_folder, dataset_root


@pytest.fixture
def home(tmp_path, monkeypatch):
    """The home folder of this test."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.chdir(tmp_path)
    return folder


def test_the_environment_s_folders_may_lie_in_the_home_folder(home, monkeypatch):
    (home / "DATA/arrays").mkdir(parents=True)
    for name in ("RUNS", "DATA", "CACHE"):
        monkeypatch.setenv(f"AEVLP_{name}", f"~/{name}")
    found = [folders.runs_root(), folders.data_root(), folders.cache_root()]
    assert found == [home / "RUNS", home / "DATA", home / "CACHE"]
    assert dataset_root(ArraysConfig(name="arrays")) == home / "DATA" / "arrays"
    for name in ("RUNS", "DATA", "CACHE"):
        monkeypatch.setenv(f"AEVLP_{name}", "")  # as if it were not set
    assert [str(folders.runs_root()), folders.data_root(), folders.cache_root()] == ["runs", None, home / ".cache" / "aevlp"]


def test_settings_name_paths_in_the_home_folder(home, capsys):
    (home / "a").mkdir()
    config = ArraysConfig(name="arrays", root="~/a", arrays="~/b")
    assert dataset_root(config) == home / "a"
    assert arrays_folder(config, home / "a") == home / "b"
    (home / "mine.yaml").write_text("base: ['~/base.yaml']\n")
    (home / "base.yaml").write_text("base: [digits_gpr]\nseed: 7\n")
    assert aevlp.load_experiment("~/mine.yaml").seed == 7
    assert main(["prepare", "folder", "--root=~/photos"]) == 1
    assert f"{home}/photos" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [["--resume=~/x"], ["eval", "~/x"], ["predict", "~/x", "photos", "-o", "y"], ["--plugin=~/x", "list"]]
)
def test_flags_name_paths_in_the_home_folder(home, capsys, words):
    assert main(words) == 2
    assert str(home / "x") in capsys.readouterr().err
    assert sorted(os.listdir()) == ["home"]


UNKNOWN = "~no_such_user_/x"


@pytest.mark.parametrize(
    ("variable", "words", "where"),
    [
        ("AEVLP_RUNS", ["compare"], "AEVLP_RUNS: "),
        ("AEVLP_RUNS", ["--exp", "digits_gpr"], "AEVLP_RUNS: "),
        ("AEVLP_RUNS", ["sweep", "show", "digits_gpr"], "AEVLP_RUNS: "),
        ("AEVLP_CACHE", ["cache", "list"], "AEVLP_CACHE: "),
        ("AEVLP_DATA", ["cache", "build", "--exp", "voc_gpr"], "AEVLP_DATA: "),
        *[("", ["cache", "build", "--exp", "voc_gpr", "--set", "dataset.root=.", f"{key}={UNKNOWN}"], f"{key}: ")
          for key in ("dataset.root", "dataset.arrays")],
        ("", ["show", "--exp", "voc_gpr", "--set", "model.weights=" + UNKNOWN], "model.weights: "),
        ("", ["predict", "run", "photos", "-o", UNKNOWN], ""),
        ("", ["eval", UNKNOWN], ""),
        ("", ["sweep", "run", UNKNOWN, "--trials", "1"], ""),
        ("", ["prepare", "folder", "--root", UNKNOWN], ""),
        ("", ["report", "-o", UNKNOWN], ""),
    ],
)  # fmt: skip
def test_an_unknown_home_is_a_usage_error_of_one_line(tmp_path, monkeypatch, capsys, variable, words, where):
    monkeypatch.chdir(tmp_path)
    if variable:
        monkeypatch.setenv(variable, UNKNOWN)
    assert main(words) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert f"{where}{UNKNOWN}: no home folder is known for ~no_such_user_; write the path in full" in said[0]
    assert not any("~" in name for name in os.listdir())
