"""A grid: each combination is tried once, whatever came before, and the base is the one that the experiment has."""

from __future__ import annotations

import re

import pytest
import sweep_runs as sweeps

from aevlp.sweeps.confirmation import find

CONFIRMED, FRESH = sweeps.CONFIRMED, sweeps.FRESH
GRID = CONFIRMED.replace("sampler: random", "sampler: grid").replace("trials: 8\n", "").replace(
    "{float: [0.0001, 0.01], log: true}\n  trainer.weight_decay: {choice: [0.0, 0.01]}", "{choice: [0.001, 0.0003, 0.0001]}"
)  # fmt: skip


@pytest.fixture
def trained(monkeypatch):
    """What is trained, in its order, without training."""
    made = sweeps.Trained()
    monkeypatch.setattr("aevlp.training.run.resume", made.resume)
    return made


def said(capsys):
    return re.sub(r"\s+", " ", capsys.readouterr().out)


def test_a_grid_tries_each_combination_once_and_its_base_is_the_experiment(tmp_path, trained, capsys):
    assert sweeps.run(sweeps.write(tmp_path, GRID), "--trials", "20") == 0
    assert "the whole grid is tried with 3 trials; no more are begun" in said(capsys)
    assert [rate for rate, seed in trained.runs if seed == 0] == [0.001, 0.0003, 0.0001]
    assert {(0.0003, seed) for seed in FRESH} <= set(trained.runs)
    assert find(sweeps.load()).noise() is not None


def test_where_the_base_lies_beyond_the_last_trial_the_first_stands_for_it(tmp_path, trained, capsys):
    path = sweeps.write(tmp_path, GRID.replace("[0.001, 0.0003, 0.0001]", "[0.0003, 0.0001, 0.001]"))
    assert sweeps.run(path, "--trials", "2") == 0
    assert sorted(trained.runs) == [(rate, seed) for rate in (0.0001, 0.0003) for seed in (0, *FRESH)]
    confirmation = find(sweeps.load())
    assert confirmation.look().first is not None
    assert confirmation.noise() is not None
    output = said(capsys)
    assert "not confirmed" not in output
    assert "3 runs of trial 0, which stands for the base, differ by" in output
    assert sweeps.run(path) == 0
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert "" not in lines  # while the base is trained, nothing is known of the noise
    assert any("3 runs of the base differ by" in line for line in lines)
    assert {(0.001, seed) for seed in (0, *FRESH)} <= set(trained.runs)


def test_a_grid_that_goes_on_from_another_sampler_is_tried_whole(tmp_path, trained):
    text = GRID.replace("0.0001]", "0.0001, 0.00003]")
    assert sweeps.run(sweeps.write(tmp_path, text.replace("sampler: grid", "sampler: random")), "--trials", "4") == 0
    assert len({rate for rate, _ in trained.runs}) < 4  # one was drawn twice, by the seed of the study
    assert sweeps.run(sweeps.write(tmp_path, text)) == 0
    assert {rate for rate, seed in trained.runs if seed == 0} == {0.001, 0.0003, 0.0001, 0.00003}


def test_what_is_taken_over_is_tried_no_more_and_may_be_the_base(tmp_path, trained, capsys):
    assert sweeps.run(sweeps.write(tmp_path, GRID)) == 0
    before = list(trained.runs)
    wider = sweeps.write(tmp_path, GRID.replace("0.0001]", "0.0001, 0.00003]"), "wider")
    assert sweeps.run(wider, "--new-study-from", "tiny") == 0
    assert "then at most 8 runs on fresh seeds" in said(capsys)  # of four that may lead, three of them taken over
    fresh = trained.runs[len(before) :]
    assert [rate for rate, seed in fresh if seed == 0] == [0.00003]
    assert {(0.0003, seed) for seed in FRESH} <= set(fresh)
