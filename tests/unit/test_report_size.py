"""Reports and comparisons of many runs: a page keeps to its size and says what it lacks; no more is read than is shown."""

import json
import re
from collections import Counter

import many_runs
import numpy as np
import pytest

from aevlp.cli import main
from aevlp.reporting import report
from aevlp.reporting.budget import Budget, embedded, first_of
from aevlp.reporting.page import render
from aevlp.reporting.report import report_data
from aevlp.runs import collect


@pytest.fixture
def many(tmp_path, trained_run):
    """Make a folder of synthetic runs."""

    def make(runs, experiments):
        many_runs.make(trained_run, tmp_path / "runs", runs, experiments)
        return tmp_path / "runs"

    return make


@pytest.fixture
def reads(monkeypatch):
    """How often each kind of file is read."""
    count = Counter()

    def counted(name):
        read = getattr(collect, name)

        def wrapper(path):
            count[path.name] += 1
            return read(path)

        monkeypatch.setattr(collect, name, wrapper)

    for name in ("read_mapping", "read_metrics", "read_json", "read_table", "read_npz"):
        counted(name)
    return count


def test_a_comparison_reads_a_configuration_for_each_experiment_and_nothing_twice(many, reads, capsys):
    root = many(60, 12)
    assert main(["compare", str(root), "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["experiments"]) == 12
    finished, stopped = 57, 3
    assert reads["summary.json"] == finished
    assert reads["per_class.csv"] == finished
    assert reads["config.yaml"] == 12 + stopped
    assert reads["metrics.jsonl"] == reads["environment.json"] == stopped


def test_a_report_reads_whole_only_the_runs_it_shows_whole_and_says_so(many, reads, monkeypatch):
    monkeypatch.setattr(report, "MAX_RUNS", 10)
    monkeypatch.setattr(report, "MAX_EXPERIMENTS", 3)
    data = report_data([many(60, 12)])
    assert (len(data["runs"]), len(data["groups"])) == (60, 12)
    assert sum("curves" in run for run in data["runs"]) == 10
    baseline = data["groups"][data["tables"][0]["baseline"]]
    assert all("curves" in data["runs"][number] for number in baseline["runs"])
    assert reads["environment.json"] <= 10 + 3
    assert reads["samples.npz"] <= 3
    assert any(note.startswith("curves, classes, cost and environment left out 50 times, first of ") for note in data["notes"])


@pytest.mark.parametrize("size", [60_000, 100_000, 300_000, 1_000_000])
def test_a_page_keeps_to_its_size_whatever_it_shows(many, monkeypatch, size):
    monkeypatch.setattr(report, "MAX_BYTES", size)
    monkeypatch.setattr(report, "RESERVED_BYTES", 100_000 if size > 100_000 else size)
    root = many(60, 12)
    for folder in list(root.iterdir())[::7]:
        (folder / "environment.json").unlink()
        (folder / "environment.json").write_text(json.dumps({"python": "<" * 100_000, "command": ["&" * 50_000]}))
    page = render(report_data([root]))
    data = json.loads(re.search(r'id="data">(.*?)</script>', page, re.S)[1])
    assert len(json.dumps(data)) < size
    assert any("left out" in note for note in data["notes"]) == (size < 1_000_000)


def test_what_is_counted_is_what_stands_in_the_page():
    budget = Budget(1000, {"few": 2})
    part = {"a": "<&>é\u2028", "b": [1.5, None]}
    assert budget.add("parts", "x", lambda: part) == part
    assert budget.left == 1000 - len(embedded(part)) - 1
    assert budget.add("parts", "x", lambda: [float("nan"), 1]) == [None, 1]
    assert budget.add("parts", "big", lambda: "x" * 2000) is None
    assert budget.add("parts", "small", lambda: "x") is None  # lower in the ranking than what did not fit
    assert [budget.add("few", str(i), lambda: 1) for i in range(3)] == [1, 1, None]
    assert budget.notes("why") == ["parts left out 2 times, first of big: why", "few left out 1 times, first of 2: why"]


def test_long_lists_of_notes_end_with_their_number():
    assert first_of(["a", "b"], 2) == ["a", "b"]
    assert first_of(list("abcd"), 2) == ["a", "b", "and 2 more"]


def test_quantiles_are_those_of_the_intervals():
    from aevlp.reporting.statistics import mean_and_interval, quantiles

    for count in (2, 3, 10):
        values = np.random.default_rng(count).normal(size=count)
        assert mean_and_interval(list(values))[1] == quantiles(count)[-1] * values.std(ddof=1) / np.sqrt(count)
    assert quantiles(1) == quantiles(0) == []
