"""`~` is the home folder wherever a path may be given; a home that nobody knows is one line."""

from __future__ import annotations

import os
import re
from typing import get_args

import pytest
from miniatures import make_folder
from pydantic import BaseModel

import aevlp
from aevlp import folders
from aevlp.cli import main
from aevlp.config import registry
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


def models_below(config: type[BaseModel]) -> list[type[BaseModel]]:
    """A configuration and those that are parts of it."""
    parts = [kind for field in config.model_fields.values() for kind in (field.annotation, *get_args(field.annotation))]
    below = [kind for kind in parts if isinstance(kind, type) and issubclass(kind, BaseModel)]
    return [config, *(part for kind in below for part in models_below(kind))]


PATHS = [
    (config, key)
    for kind in registry.KINDS for name in registry.names(kind) for config in models_below(registry.get(kind, name).config)
    for key, field in config.model_fields.items()
    if str in [getattr(part, "__origin__", part) for part in (field.annotation, *get_args(field.annotation))]
    and re.search(r"\b(file|folder)\b", field.description or "", re.I)
]  # fmt: skip


@pytest.mark.parametrize(("config", "key"), PATHS, ids=lambda value: getattr(value, "__name__", value))
def test_every_setting_that_is_a_path_is_kept_in_full(config, key, home, monkeypatch):
    (home / "x").write_text("")
    required = {name: "any" for name, field in config.model_fields.items() if field.is_required()}
    assert getattr(config(**required | {key: "~/x"}), key) == str(home / "x")
    below = getattr(config(**required | {key: "./home/x"}), key)
    assert below == str(home / "x") or key in ("images", "classes", "table", "prompt_names")  # those are relative to the dataset
    with pytest.raises(ValueError, match=r"~nobody_/x: no home folder is known for ~nobody_; write the path in full"):
        config(**required | {key: "~nobody_/x"})


def test_all_kinds_of_paths_are_among_them():
    known = {"root", "arrays", "images", "classes", "prompt_names", "table", "weights", "relation", "source", "names"}
    assert known <= {key for _, key in PATHS}


def test_the_paths_of_a_run_mean_the_same_from_any_folder(tmp_path, monkeypatch):
    make_folder(tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    words = ["dataset.root=photos", "model=small_cnn", "dataset.image_size=16", "trainer.epochs=1", "tracking.mode=off"]
    run = aevlp.train(aevlp.load_experiment("folder_an", words)).run_dir
    assert f"root: {tmp_path}/photos\n" in (run / "config.yaml").read_text()
    monkeypatch.chdir("/")
    assert main(["eval", str(run), "--split", "val"]) == 0


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


@pytest.mark.parametrize("name", ["2026-01-01 12:30:00.jpg", "a/12:30.jpg", "~one.jpg", "a/~b/c.jpg", "a..b.jpg"])
def test_names_with_colons_and_tildes_stay_in_their_folder(name):
    assert not folders.leads_outside(name)


@pytest.mark.parametrize(
    "name", [r"C:\a.jpg", "c:a.jpg", "~/a.jpg", r"~me\a.jpg", "/a.jpg", r"\a.jpg", "a/../b.jpg", r"..\b.jpg"]
)
def test_absolute_names_drives_homes_and_folders_above_do_not(name):
    assert folders.leads_outside(name)
