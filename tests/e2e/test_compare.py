"""`compare`: means and intervals over seeds, from summaries as runs leave them."""

import json
import math

import numpy as np
import pytest
from scipy import stats

from aevlp.cli import main
from aevlp.reporting.caveats import TWO
from aevlp.reporting.statistics import mean_and_interval
from aevlp.runs.collect import TRAINS_ONE


@pytest.fixture
def finished(tmp_path):
    def make(experiment, seed, test_map, *, config_hash="aaaaaaaaaaaa", state="finished", stamp="20260101-000000"):
        folder = tmp_path / "runs" / f"{experiment}-{stamp}-{seed:06x}"
        folder.mkdir(parents=True)
        (folder / "config.yaml").write_text("name: x\n")
        summary = {"state": state, "experiment": experiment, "seed": seed, "config_hash": config_hash, "test/mAP": test_map}
        (folder / "summary.json").write_text(json.dumps(summary))
        return folder

    return make


def rows(text):
    return {line.split()[0]: line.split()[1:] for line in text.splitlines() if line.startswith("digits")}


@pytest.mark.parametrize("values", [[90.0, 92.0], [95.1, 96.4, 97.9]])
def test_interval_is_students(values):
    mean, half = mean_and_interval(values)
    low, high = stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=stats.sem(values))
    assert (mean - half, mean + half) == pytest.approx((low, high))
    assert mean_and_interval([5.0]) == (5.0, None)


def test_how_wide_an_interval_of_two_seeds_is_is_said(finished, tmp_path, capsys):
    for seed, test_map in enumerate((90.0, 92.0)):
        finished("digits_gpr", seed, test_map)
        finished("digits_an", seed, test_map - 10)
    assert main(["compare", str(tmp_path / "runs")]) == 0
    said = capsys.readouterr().out
    assert rows(said)["digits_gpr"][:4] == ["0,1", "91.0", "±", "12.7"]
    assert said.count(TWO) == 1
    finished("digits_gpr", 2, 94.0)
    finished("digits_an", 2, 83.0)
    assert main(["compare", str(tmp_path / "runs")]) == 0
    said = capsys.readouterr().out
    assert TWO not in said
    assert rows(said)["digits_gpr"][:3] == ["0,1,2", "92.0", "±"]


def test_one_row_an_experiment_best_first(finished, tmp_path, capsys):
    for seed, test_map in enumerate((90.0, 92.0, 94.0)):
        finished("digits_gpr", seed, test_map)
    finished("digits_an", 0, 71.25)
    assert main(["compare", str(tmp_path / "runs")]) == 0
    found = rows(capsys.readouterr().out)
    assert list(found) == ["digits_gpr", "digits_an"]
    half = stats.t.ppf(0.975, 2) * 2 / math.sqrt(3)
    assert found["digits_gpr"][:4] == ["0,1,2", "92.0", "±", f"{half:.1f}"]
    assert found["digits_an"][:2] == ["0", "71.2"]


def test_other_settings_are_another_row_and_a_repeated_seed_counts_once(finished, tmp_path, capsys):
    finished("digits_gpr", 0, 90.0)
    finished("digits_gpr", 0, 96.0, stamp="20260102-000000")
    finished("digits_gpr", 1, 50.0, config_hash="bbbbbbbbbbbb")
    assert main(["compare", str(tmp_path / "runs")]) == 0
    output = capsys.readouterr().out
    assert "a later run has the same settings and seed" in output
    lines = [line.split() for line in output.splitlines() if line.startswith("digits")]
    assert lines[0][:4] == ["digits_gpr", "(aaaaaa)", "0", "96.0"]
    assert lines[1][:4] == ["digits_gpr", "(bbbbbb)", "1", "50.0"]


def test_many_seeds_are_told_in_short(finished, tmp_path, capsys):
    for seed in (*range(7), 9, 11, 12):
        finished("digits_gpr", seed, 90.0)
    assert main(["compare", str(tmp_path / "runs")]) == 0
    assert rows(capsys.readouterr().out)["digits_gpr"][0] == "0-6,9,11-12"


def test_unfinished_runs_are_named_and_nothing_finished_is_an_error(finished, capsys):
    stopped = finished("digits_gpr", 0, None, state="stopped")
    (finished("digits_gpr", 1, None) / "summary.json").unlink()
    assert main(["compare", str(stopped.parent)]) == 2
    captured = capsys.readouterr()
    assert captured.out.count("not finished") == 2
    assert f"there is no finished run in {stopped.parent}; `" in captured.err


@pytest.mark.parametrize("verb", ["compare", "report"])
@pytest.mark.parametrize("is_there", [True, False])
def test_where_nothing_was_trained_yet_that_is_the_reason_and_what_trains_is_named(tmp_path, monkeypatch, capsys, verb, is_there):
    runs = tmp_path / "runs"
    monkeypatch.setenv("AEVLP_RUNS", str(runs))
    if is_there:
        runs.mkdir()
    assert main([verb]) == 2
    captured = capsys.readouterr()
    assert captured.err == f"error: there is no run in {runs}; {TRAINS_ONE}\n"
    assert captured.out == ""


def test_a_value_that_no_run_knows_is_a_dash(finished, capsys):
    finished("digits_gpr", 0, None)
    finished("digits_an", 0, 71.0)
    assert main(["compare", *map(str, (finished("digits_em", 0, 80.0).parent.iterdir()))]) == 0
    assert rows(capsys.readouterr().out)["digits_gpr"][1] == "–"  # noqa: RUF001
