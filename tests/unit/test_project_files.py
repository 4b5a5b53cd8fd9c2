"""The files around the package that no program reads, and that people do."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]


def test_the_readme_is_two_screens():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 130


def test_what_runs_before_a_commit_is_pinned_in_one_place():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    pinned = re.findall(r"^(\w+)==[\d.]+", setup["options.extras_require"]["test"], re.MULTILINE)
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    assert {hook["entry"].split()[0] for hook in hooks} == set(pinned) == {"ruff", "mypy"}
    assert {hook["language"] for hook in hooks} == {"system"}
