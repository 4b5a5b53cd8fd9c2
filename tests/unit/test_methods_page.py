"""The page of the methods names every loss and AEVLP's labeler, and its commands are valid."""

import re
from pathlib import Path

import pytest

from aevlp import load_experiment
from aevlp.config.registry import names

PAGE = (Path(__file__).parents[2] / "docs" / "methods.md").read_text()
SECTIONS = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S))


def test_every_loss_has_its_section_and_every_section_its_parts():
    methods = {name: text for name, text in SECTIONS.items() if name not in ("Values", "A")}
    assert set(methods) == set(names("losses")) - {"an_pl"} | {"boostlu", "damp"}
    for name, text in methods.items():
        for part in ("Needs:", "Run: `python run.py --exp ", "Source:", "Deviations:", "\n    "):
            assert part in text, (name, part)
        assert len(text.strip().splitlines()) <= 15, name


@pytest.mark.parametrize("command", re.findall(r"`python run\.py (--exp .*?)`", PAGE))
def test_the_commands_of_the_page_are_valid(command):
    _exp, name, *words = command.split()
    assert words == []
    load_experiment(name)


@pytest.mark.parametrize("words", re.findall(r"`--set (.*?)`", PAGE))
def test_the_settings_of_the_page_are_valid(words):
    for experiment in ("digits_ll_r",) if "delta" in words else ("digits_gpr",):
        load_experiment(experiment, words.split())


def test_every_method_has_a_ready_experiment():
    found = set(re.findall(r"--exp (digits_\w+)`", PAGE))
    assert {f"digits_{name}" for name in names("losses")} - found == set()
