"""An installed package trains from anywhere: made into an sdist, from that into a wheel, and installed into an empty folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import small_runs as runs

import aevlp

ROOT = Path(__file__).parents[2]
SOURCE = ("aevlp", "configs", "experiments", "sweeps", "setup.cfg", "pyproject.toml", "README.md", "LICENSE")


def call(*words, cwd, **variables):
    """What a process prints; it must end well."""
    ended = subprocess.run(
        [sys.executable, *map(str, words)], cwd=cwd, env=os.environ | variables, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The package as it is installed, within somebody's own checkout."""
    work = tmp_path_factory.mktemp("wheel")
    source = work / "source"
    source.mkdir()
    for name in SOURCE:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, symlinks=True)
        else:
            shutil.copy(ROOT / name, source / name)
    for cache in source.rglob("__pycache__"):
        shutil.rmtree(cache)
    call("-c", "from setuptools.build_meta import build_sdist; build_sdist('../sdist')", cwd=source)
    (sdist,) = (work / "sdist").iterdir()
    offline = ("--no-deps", "--no-index", "--quiet", "--disable-pip-version-check")
    call("-m", "pip", "wheel", *offline, "--no-build-isolation", "-w", work / "dist", sdist, cwd=work)
    (wheel,) = (work / "dist").iterdir()
    project = work / "project"
    project.mkdir()
    if shutil.which("git"):
        for words in (["init", "-q"], ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "x", "--allow-empty"]):
            subprocess.run(["git", *words], cwd=project, check=True)
    call("-m", "pip", "install", *offline, "--target", project / "site", wheel, cwd=work)
    return project / "site"


def test_the_wheel_holds_every_file_of_the_package_and_every_yaml_file(site):
    for folder in ("configs", "experiments", "sweeps"):
        assert names(site / "aevlp" / "shipped" / folder) == names(ROOT / folder)
    assert {"aevlp", "bin"} <= {path.name for path in site.iterdir()} <= {"aevlp", "bin", f"aevlp-{aevlp.__version__}.dist-info"}
    assert names(site / "aevlp") - {name for name in names(site / "aevlp") if name.startswith("shipped")} == names(ROOT / "aevlp")


def names(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"}


def test_it_lists_what_there_is_by_its_own_name(site, tmp_path):
    listed = call(site / "bin" / "aevlp", "list", cwd=tmp_path, PYTHONPATH=str(site))
    assert {"  digits_gpr", "  table1", "  digits_eta"} <= {line[:12].rstrip() for line in listed.splitlines()}
    usage = call("-m", "aevlp", "--help", cwd=tmp_path, PYTHONPATH=str(site))
    assert usage.startswith("usage: python -m aevlp ")
    assert "run.py" not in usage


def test_it_trains_from_another_folder(site, tmp_path):
    said = call("-m", "aevlp", "--exp", "digits_gpr", "--set", *runs.FAST, cwd=tmp_path, PYTHONPATH=str(site), AEVLP_RUNS="mine")
    (run,) = (tmp_path / "mine").iterdir()
    assert len(runs.epoch_rows(run)) == 2
    assert f"python -m aevlp report {run.name} -o report.html" in said
    assert json.loads((run / "environment.json").read_text())["git"] is None  # not the commit of the checkout it lies in
