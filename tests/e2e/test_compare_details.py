"""`compare` beyond its ranking: paired differences, classes, settings, and the formats for other programs."""

import csv
import io
import json
import math

import numpy as np
import pytest
from scipy import stats

from aevlp.cli import main

GPR, AN = (90.0, 93.0, 91.0), (80.0, 84.0, 80.0)


@pytest.fixture
def runs(tmp_path):
    """Two methods on three seeds, and a fourth seed of gpr alone. Returns the folder of all."""

    def make(name, loss, seed, test_map, precisions, extra=""):
        folder = tmp_path / "runs" / f"{name}-20260101-000000-{seed:06x}"
        folder.mkdir(parents=True)
        (folder / "config.yaml").write_text(f"name: {name}\nseed: {seed}\nloss:\n  name: {loss}\n{extra}trainer:\n  epochs: 8\n")
        summary = {"state": "finished", "experiment": name, "seed": seed, "config_hash": loss * 6, "test/mAP": test_map}
        (folder / "summary.json").write_text(json.dumps(summary))
        rows = "".join(f"{label},{value},5\n" for label, value in precisions.items())
        (folder / "per_class.csv").write_text(f"class,test_AP,test_positives\n{rows}")

    for seed in range(3):
        make("digits_gpr", "gpr", seed, GPR[seed], {"cat": 60.0 + seed, "dog": 40.0, "owl": 50.0}, "  rho: 0.9\n")
        make("digits_an", "an", seed, AN[seed], {"cat": 50.0, "dog": 45.0 + seed, "owl": 50.0})
    make("digits_gpr", "gpr", 3, 10.0, {"cat": 0.0, "dog": 0.0, "owl": 0.0}, "  rho: 0.9\n")
    return tmp_path / "runs"


def said(capsys, *words):
    assert main(["compare", *map(str, words)]) == 0
    return capsys.readouterr().out


def test_differences_are_paired_over_common_seeds(runs, capsys):
    data = json.loads(said(capsys, runs, "--json"))
    found = next(entry for entry in data["experiments"] if entry["name"] == "digits_gpr")["difference"]["test/mAP"]
    gaps = np.subtract(GPR, AN)
    low, high = stats.t.interval(0.95, 2, loc=gaps.mean(), scale=stats.sem(gaps))
    assert (found["mean"] - found["half"], found["mean"] + found["half"]) == pytest.approx((low, high))
    assert (found["seeds"], found["clear"]) == ([0, 1, 2], True)


def test_the_baseline_is_assume_negative_or_the_one_named(runs, capsys):
    assert "against digits_an, over common seeds" in said(capsys, runs)
    output = said(capsys, runs, "--baseline", "digits_gpr")
    assert "against digits_gpr, over common seeds" in output
    half = stats.t.ppf(0.975, 2) * np.std(np.subtract(GPR, AN), ddof=1) / math.sqrt(3)
    assert f"-10.0 ± {half:.1f} *" in output


def test_classes_that_gain_and_lose_most_are_named(runs, capsys):
    output = said(capsys, runs)
    (line,) = [line for line in output.splitlines() if "cat" in line]
    assert line.split() == ["digits_gpr", "cat", "+11.0", "dog", "-6.0"]


def test_settings_that_differ_are_listed_and_those_of_an_absent_component_are_not(runs, capsys):
    assert json.loads(said(capsys, runs, "--json"))["settings"] == {"loss.name": ["an", "gpr"]}
    folder = runs / "digits_an-20260101-000000-000009"
    folder.mkdir()
    (folder / "config.yaml").write_text("name: digits_an\nloss:\n  name: an\ntrainer:\n  epochs: 9\n")
    summary = {"state": "finished", "experiment": "digits_an", "seed": 0, "config_hash": "other", "test/mAP": 99.0}
    (folder / "summary.json").write_text(json.dumps(summary))
    settings = json.loads(said(capsys, runs, "--json"))["settings"]
    assert settings["trainer.epochs"] == [9, 8, 8]


def test_csv_has_unrounded_numbers_and_no_formulas(runs, capsys):
    for folder in runs.glob("digits_an-*"):
        summary = json.loads((folder / "summary.json").read_text())
        (folder / "summary.json").write_text(json.dumps(summary | {"experiment": "=1+1"}))
    rows = list(csv.DictReader(io.StringIO(said(capsys, runs, "--csv", "--baseline", "digits_gpr"))))
    assert {row["experiment"] for row in rows} == {"digits_gpr", "'=1+1"}
    other = next(row for row in rows if row["experiment"] == "'=1+1")
    assert float(other["test/mAP mean"]) == np.mean(AN)
    assert float(other["test/mAP difference"]) == -10.0


def test_markdown_and_latex_escape_what_would_be_markup(runs, capsys):
    markdown = said(capsys, runs, "--markdown")
    assert r"| digits\_an | 0,1,2 |" in markdown
    widths = {line.replace(r"\|", "").count("|") for line in markdown.split("\n\n")[0].splitlines()}
    assert len(widths) == 1
    latex = said(capsys, runs, "--latex")
    assert r"digits\_an & 0,1,2 & 81.3 $\pm$ 5.7 \\" in latex
    assert latex.count(r"\\") == 3


def test_notes_do_not_mix_with_the_format(runs, capsys):
    (runs / "digits_an-20260101-000000-000000" / "summary.json").unlink()
    assert main(["compare", str(runs), "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["baseline"] == "digits_an"
    assert "not finished" in captured.err


def test_control_characters_of_a_name_do_not_reach_the_terminal(runs, capsys):
    for folder in runs.glob("digits_an-*"):
        summary = json.loads((folder / "summary.json").read_text())
        (folder / "summary.json").write_text(json.dumps(summary | {"experiment": "an\u001b[2J\u202e[red]"}))
    output = said(capsys, runs)
    assert "\x1b" not in output
    assert "\u202e" not in output
    assert "[red]" in output
