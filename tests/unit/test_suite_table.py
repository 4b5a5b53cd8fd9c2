"""The numbers of a suite's table against scipy and against arithmetic by hand."""

from __future__ import annotations

import csv
import dataclasses
import io
import json

import numpy as np
import pytest
import scipy.stats
import suite_runs as suites

from aevlp.cli import main
from aevlp.config.describe import lookup
from aevlp.config.errors import ConfigError
from aevlp.config.finding import EXPERIMENTS, SUITES, files
from aevlp.reporting.sheets import NONE
from aevlp.runs.folder import RunFolder
from aevlp.suites import wandb_summary
from aevlp.suites.find import find_runs
from aevlp.suites.measure import measure
from aevlp.suites.plan import load_plan
from aevlp.suites.suite_file import TuneConfig
from aevlp.suites.table import as_csv, notes, sheet
from aevlp.sweeps.space import Parameter
from aevlp.sweeps.study_file import ParameterConfig


@pytest.fixture
def plan(tmp_path):
    """A suite whose runs are written by hand: test mAP by row and seed."""
    plan = load_plan(suites.write(tmp_path), "digits", 5)
    figures = {
        "Full labels": [99, 99, 99, 99, 99], "AN": [79, 80, 81, 80, 80], "AEVLP": [95, 96, 97.5, 95, 96.5],
        "SMILE": [97, 97, 97, 97, 97],
    }  # fmt: skip
    for line in plan.lines:
        for job in line.jobs:
            folder = RunFolder.create(job.config)
            summary = {"state": "finished", "experiment": job.config.name, "seed": job.config.seed,
                       "test/mAP": figures[line.title][job.config.seed], "best/val_mAP": 50.0}  # fmt: skip
            folder.write("summary.json", json.dumps(summary).encode())
    find_runs(plan.jobs)
    return plan


def test_means_intervals_and_the_paired_test_are_scipys(plan):
    data = measure(plan)
    assert [row["title"] for row in data["rows"]] == ["Full labels", "SMILE", "AEVLP", "AN"]
    assert [row["rank"] for row in data["rows"]] == [None, None, 1, 2]
    assert data["reference"] == "AN"
    ours = data["rows"][2]
    values, baseline = np.array([95, 96, 97.5, 95, 96.5]), np.array([79, 80, 81, 80, 80])
    low, high = scipy.stats.t.interval(0.95, 4, values.mean(), scipy.stats.sem(values))
    assert ours["metrics"]["test/mAP"]["mean"] == pytest.approx(values.mean())
    assert ours["metrics"]["test/mAP"]["half"] == pytest.approx((high - low) / 2)
    assert ours["difference"]["mean"] == pytest.approx((values - baseline).mean())
    assert ours["difference"]["p"] == pytest.approx(scipy.stats.ttest_rel(values, baseline).pvalue)
    assert ours["gap_closed"] == pytest.approx(100 * (96 - 80) / (99 - 80))
    assert data["rows"][3]["gap_closed"] is None
    assert "AEVLP against AN: better, +16.00, p < 0.001 (paired t-test; the other was chosen by its mean)" in notes(data)


def test_columns_that_say_nothing_are_left_out_and_text_is_not_right_aligned(plan):
    table = sheet(measure(plan))
    assert table.header == ["", "method", "test mAP", "gap closed", "against AN", "p (Holm)", "published"]
    assert table.rows[2] == ["1", "AEVLP", "96.0 ± 1.3", "84 %", "+16.0 ± 0.8", "< 0.001", NONE]
    assert [table.is_number(i) for i in range(3)] == [False, False, True]
    assert as_csv(measure(plan)).count("\n") == 5


def test_without_the_data_at_hand_the_runs_tell_that_known_labels_alone_chose_them(plan):
    assert plan.jobs[0].data is None
    for job in plan.jobs:
        summary = json.loads((job.path / "summary.json").read_text())
        known = {"val/mAP": None, "test/mAP": None, "val/mAP_observed": summary["test/mAP"], "best/val_mAP": summary["test/mAP"]}
        (job.path / "summary.json").write_text(json.dumps(summary | known))
    data = measure(plan)
    assert (data["metric"], data["known_labels"]) == ("best/val_mAP_observed", True)
    assert [row["rank"] for row in data["rows"]] == [None, None, 1, 2]
    assert sheet(data).rows[2][2] == "96.0 ± 1.3"


def tell(plan, title, seed, **figures):
    """Add figures to the summary of a run of the plan."""
    (job,) = [job for line in plan.lines if line.title == title for job in line.jobs if job.config.seed == seed]
    summary = json.loads((job.path / "summary.json").read_text())
    summary |= {f"perf/{name}": value for name, value in figures.items()}
    (job.path / "summary.json").write_text(json.dumps(summary))


def test_time_and_memory_stand_beside_each_row(plan):
    """Means of seconds, the most of memory; what old runs do not tell is a dash, and no number is told for it."""
    for seed, cpu, memory in ((0, 70.0, 800.0), (1, 74.0, 812.4), (2, 75.0, 790.0)):
        tell(plan, "AN", seed, cpu_seconds=cpu, seconds=2 * cpu, memory_peak_mb=memory)
    tell(plan, "SMILE", 0, memory_peak_mb=1900.0)
    data = measure(plan)
    table = sheet(data)
    cells = {row[1].partition(" (")[0]: dict(zip(table.header, row, strict=True)) for row in table.rows}
    assert {title: (row["CPU s"], row["peak MB"]) for title, row in cells.items()} == {
        "AN": ("73", "812"), "SMILE": (NONE, "1900"), "AEVLP": (NONE, NONE), "Full labels": (NONE, NONE),
    }  # fmt: skip
    assert "GPU MB" not in table.header
    said = " ".join(notes(data))
    assert "by the clock that was 146 s, which depends on what else runs" in said
    assert "peak MB: the most memory that the processes of a run took" in said
    saved = {row["method"]: row for row in csv.DictReader(io.StringIO(as_csv(data)))}
    assert float(saved["AN"]["cpu_seconds"]) == 73.0
    assert float(saved["AN"]["seconds"]) == 146.0
    assert (saved["AN"]["memory_peak_mb"], saved["SMILE"]["cpu_seconds"], saved["AEVLP"]["memory_peak_mb"]) == ("812.4", "", "")


@pytest.mark.parametrize("damaged", ["fast", None, True, [1]])
def test_a_cost_that_is_no_number_is_not_told(plan, damaged):
    for name in ("cpu_seconds", "seconds", "memory_peak_mb", "gpu_memory_peak_mb"):
        tell(plan, "AN", 0, **{name: damaged})
    assert not {"CPU s", "peak MB", "GPU MB"} & set(sheet(measure(plan)).header)


def test_the_most_memory_of_a_gpu_has_a_column_where_one_was_used(plan):
    tell(plan, "AN", 3, gpu_memory_peak_mb=4096.0)
    table = sheet(measure(plan))
    assert [row[table.header.index("GPU MB")] for row in table.rows] == [NONE, NONE, NONE, "4096"]


def test_one_seed_has_no_interval_and_no_claim(plan):
    for line in plan.lines:
        line.jobs = line.jobs[:1]
    data = measure(plan)
    ours = data["rows"][2]
    assert ours["metrics"]["test/mAP"]["half"] is None
    assert ours["difference"]["p"] is None
    assert "1 seed: nothing is claimed of AEVLP against AN; take --seeds 5" in notes(data)


def test_p_is_corrected_for_the_number_of_tests_by_holm(plan):
    rows = {row["title"]: row["difference"] for row in measure(plan)["rows"] if row["difference"]}
    p = {title: found["p"] for title, found in rows.items()}
    ordered = sorted(p, key=lambda title: p[title])
    expected, largest = {}, 0.0
    for i, title in enumerate(ordered):
        largest = max(largest, (len(p) - i) * p[title])
        expected[title] = min(1, largest)
    assert {title: found["holm"] for title, found in rows.items()} == pytest.approx(expected)
    assert expected["AEVLP"] > p["AEVLP"]


def test_a_row_that_lacks_a_seed_is_shown_and_neither_ranked_nor_a_measure_for_others(plan):
    incomplete = next(line for line in plan.lines if line.title == "AN")
    incomplete.jobs[0].path = None
    data = measure(plan)
    assert [(row["title"], row["rank"]) for row in data["rows"]] == [
        ("Full labels", None), ("SMILE", None), ("AEVLP", 1), ("AN", None),
    ]  # fmt: skip
    assert data["reference"] is None
    assert all(row["gap_closed"] is None for row in data["rows"])
    assert sheet(data).rows[3][1] == "AN (4 of 5 seeds)"


def test_a_suite_may_name_the_row_that_all_are_compared_with(plan):
    against = dataclasses.replace(plan, suite=plan.suite.model_copy(update={"against": "AEVLP"}))
    data = measure(against)
    assert data["reference"] == "AEVLP"
    assert {row["title"] for row in data["rows"] if row["difference"] is None} == {"AEVLP"}


@pytest.mark.parametrize(("against", "by_mean"), [("AN", False), ("Full labels", False), (None, True)])
def test_only_of_a_row_that_was_chosen_by_its_mean_this_is_said(plan, against, by_mean):
    named = dataclasses.replace(plan, suite=plan.suite.model_copy(update={"against": against}))
    (verdict,) = [note for note in notes(measure(named)) if note.startswith("AEVLP against ")]
    assert verdict.startswith(f"AEVLP against {against or 'AN'}: ")
    assert verdict.endswith("(paired t-test; the other was chosen by its mean)" if by_mean else "(paired t-test)")


def test_where_the_row_to_compare_with_is_left_out_the_best_is_chosen_by_its_mean(plan):
    lines = [line for line in plan.lines if line.title != "Full labels"]
    named = dataclasses.replace(plan, lines=lines, suite=plan.suite.model_copy(update={"against": "Full labels"}))
    assert any("the other was chosen by its mean" in note for note in notes(measure(named)))


def test_csv_and_wandb_hold_the_same_table(plan, tmp_path, monkeypatch):
    logged = {}
    monkeypatch.setattr(wandb_summary, "log_table", lambda *_, **told: logged.update(told))
    data = measure(plan)
    wandb_summary.log_suite(plan, data, print)
    saved = list(csv.reader(io.StringIO(as_csv(data))))
    assert logged["columns"] == saved[0]
    assert [["" if cell is None else str(cell) for cell in row] for row in logged["rows"]] == saved[1:]
    assert all(len(row) == len(saved[0]) for row in logged["rows"])


def test_table1_has_every_method_of_photos_of_ones_own():
    methods = {name.removeprefix("folder_") for name in files(EXPERIMENTS) if name.startswith("folder_")}
    assert {line.row.method for line in load_plan("table1", "folder", 1).lines} == methods - {"probe_gpr"}  # which is `gpr`


def test_a_word_changes_the_rows_that_have_such_a_setting_and_this_is_said():
    words = ("loss.expected_positives=1.4", "trainer.epochs=2")
    plan = load_plan("table1", "folder", 1, words=words)
    losses = {line.title: line.jobs[0].config.to_dict()["loss"] for line in plan.lines}
    counting = {title: loss["expected_positives"] for title, loss in losses.items() if "expected_positives" in loss}
    assert counting == dict.fromkeys(["EPR", "ROLE", "ROLE, linear start", "AEVLP"], 1.4)
    assert all(line.jobs[0].config.trainer.epochs == 2 for line in plan.lines)
    told = "--set loss.expected_positives=1.4 is for 4 of 23 rows: EPR, ROLE, ROLE, linear start, AEVLP"
    assert plan.notes == [told]
    assert plan.changes == list(words)


@pytest.mark.parametrize("words", [("loss=mime", "model=mime"), ("model=mime", "loss=mime", "loss.beta=0.1")])
def test_words_that_go_together_only_are_for_all_rows(words, tmp_path):
    plan = load_plan(suites.write(tmp_path), "digits", 1, rows=["AN"], words=words)
    assert plan.lines[0].jobs[0].config.loss.name == "mime"
    assert plan.notes == []


def test_of_a_model_on_another_the_key_that_works_is_told():
    plan = load_plan("table1", "folder", 1, rows=["AN", "SMILE", "MIME"], words=("model.weights=none",))
    assert plan.notes == ["--set model.weights=none is for 1 of 3 rows: AN; model.backbone.weights is that of SMILE, MIME"]
    with pytest.raises(ConfigError) as caught:
        load_plan("table1", "folder", 1, rows=["SMILE", "MIME"], words=("model.weights=none", "labeler.encoder.source=bundled"))
    told = str(caught.value)
    for title in ("SMILE", "MIME"):
        assert f"rows.{title}: --set model.weights=none: model.weights: unknown key; did you mean model.backbone.weights?" in told
        assert f"rows.{title}: --set labeler.encoder.source=bundled: labeler.encoder: unknown key" in told


def test_a_word_that_no_row_has_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"rows\.AEVLP: --set loss\.rhoo=1: loss\.rhoo: unknown key; did you mean 'rho'"):
        load_plan(suites.write(tmp_path), "digits", 1, words=("loss.rhoo=1",))


DATASETS = sorted({name.partition("_")[0] for name in files(EXPERIMENTS)})


def cases():
    """Suites and datasets; each dataset where rows change single values, which it may have already."""
    for_all = ("digits", "scenes", "folder")
    return [(name, one) for name in sorted(files(SUITES)) for one in DATASETS if one in for_all or name == "components"]


@pytest.mark.parametrize(("name", "dataset"), cases())
def test_every_suite_is_ready_and_no_two_rows_are_the_same(name, dataset):
    plan = load_plan(name, dataset, 1)
    hashes = [line.jobs[0].config.hash for line in plan.lines]
    assert len(set(hashes)) == len(hashes)


@pytest.mark.parametrize("dataset", DATASETS)
def test_a_row_as_it_stands_lies_in_what_tuning_searches_as_it_is_the_first_trial(dataset):
    for line in load_plan("table1", dataset, 1).lines:
        values = line.jobs[0].config.to_dict()
        for path, parameter in line.row.tune.items():
            own = lookup(values, path)
            assert Parameter(path, parameter.around(own) if parameter.times else parameter).code_in(values) == own


def test_a_number_is_tuned_around_the_rows_own_and_a_suite_with_columns_not_at_all(tmp_path, capsys):
    tune = TuneConfig(times=(0.5, 1.5))
    assert tune.around(0.4) == ParameterConfig(float=(0.2, 0.6))
    assert tune.around(0.005) == ParameterConfig(float=(0.0025, 0.0075))
    with pytest.raises(ValueError, match="times needs a number above 0, is 'encoder'"):
        tune.around("encoder")
    with pytest.raises(ValueError, match="0 < low <= 1 <= high"):
        TuneConfig(times=(2, 3))
    for path, said in (("loss.rhoo", "the row has no such setting"), ("labeler.name", "times needs a number above 0, is 'damp'")):
        file = suites.write(tmp_path, f"rows: {{A: {{method: gpr, tune: {{{path}: {{times: [0.5, 2]}}}}}}}}\n")
        assert main(["suite", file, "--dataset", "digits", "--tune", "2"]) == 2
        assert capsys.readouterr().err == f"error: --tune: row 'A': {path}: {said}\n"
    assert main(["suite", "partial", "--dataset", "digits", "--tune", "2"]) == 2
    assert capsys.readouterr().err.startswith("error: --tune: the table of a suite with columns has no place for it")


@pytest.fixture
def wide(tmp_path):
    """A suite of two methods and two columns, with runs by hand: one row lacks a run."""
    text = (
        'columns: {10 %: ["dataset.known={share: 0.1}"], 90 %: ["dataset.known={share: 0.9}"]}\nrows: {AN: an, EM: em, GR: gr}\n'
    )
    plan = load_plan(suites.write(tmp_path, text), "digits", 3)
    figures = {"AN, 10 %": [50, 51, 52], "AN, 90 %": [80, 82, 81], "EM, 10 %": [60, 61, 63], "EM, 90 %": [84, 83, 88],
               "GR, 10 %": [90, 90, 90], "GR, 90 %": [99, 99]}  # fmt: skip
    for line in plan.lines:
        for job, figure in zip(line.jobs, figures[line.title], strict=False):
            summary = {"state": "finished", "experiment": job.config.name, "seed": job.config.seed, "test/mAP": float(figure)}
            RunFolder.create(job.config).write("summary.json", json.dumps(summary).encode())
    find_runs(plan.jobs)
    return plan


def test_columns_are_averaged_by_seed_and_rows_ranked_by_that_mean(wide):
    data = measure(wide)
    assert [row["title"] for row in data["grid"]] == ["GR", "EM", "AN"]
    assert [row["rank"] for row in data["grid"]] == [None, 1, 2]  # one that lacks a run is no rival
    em = data["grid"][1]
    by_seed = np.array([[60, 61, 63], [84, 83, 88]]).mean(axis=0)
    low, high = scipy.stats.t.interval(0.95, 2, by_seed.mean(), scipy.stats.sem(by_seed))
    assert em["cells"] == pytest.approx({"10 %": 184 / 3, "90 %": 85.0})
    assert em["mean"] == pytest.approx({"mean": by_seed.mean(), "half": (high - low) / 2})
    assert all(row["rank"] is None and row["difference"] is None for row in data["rows"])
    table = sheet(data)
    assert table.header == ["", "method", "10 %", "90 %", "mean"]
    assert table.rows[0][1:] == ["GR (incomplete)", "90.0", "99.0", "94.5 ± 0.0"]
    assert table.rows[2] == ["2", "AN", "51.0", "81.0", "66.0 ± 2.2"]  # 4.303 * 0.866 / sqrt(3)
    assert notes(data)[0].startswith("test mAP: in each cell the mean over seeds, at the end the mean over columns, ± 95 %")
    saved = list(csv.DictReader(io.StringIO(as_csv(data))))
    assert [(row["rank"], row["method"], row["seeds"]) for row in saved] == [
        ("", "GR", "0 1"),
        ("1", "EM", "0 1 2"),
        ("2", "AN", "0 1 2"),
    ]
    assert [float(saved[1][name]) for name in ("10 %", "90 %", "mean", "half")] == pytest.approx(
        [184 / 3, 85.0, by_seed.mean(), (high - low) / 2]
    )


def test_what_the_runs_of_a_row_took_is_over_all_columns(wide):
    for share, cpu in (("10 %", 60.0), ("90 %", 80.0)):
        tell(wide, f"EM, {share}", 0, cpu_seconds=cpu, memory_peak_mb=10 * cpu)
    table = sheet(measure(wide))
    assert table.header[-2:] == ["CPU s", "peak MB"]
    assert [row[-2:] for row in table.rows] == [[NONE, NONE], ["70", "800"], [NONE, NONE]]


def test_columns_change_the_protocol_and_can_be_chosen(wide):
    shares = {line.column: line.jobs[0].config.dataset.known.share for line in wide.lines}
    assert shares == {"10 %": 0.1, "90 %": 0.9}
    chosen = load_plan("partial", "digits", 1, rows=["AN"], columns=["30 %"])
    assert [line.title for line in chosen.lines] == ["AN, 30 %"]
    with pytest.raises(ConfigError, match="--columns 35 %: the suite has no such column; did you mean"):
        load_plan("partial", "digits", 1, columns=["35 %"])


def test_a_suite_with_columns_has_no_rival_row(tmp_path):
    text = "columns: {a: [], b: [trainer.epochs=2]}\nours: AN\nrows: {AN: an}\n"
    with pytest.raises(ConfigError, match="such a suite ranks its rows by their mean; leave out ours"):
        load_plan(suites.write(tmp_path, text), "digits", 1)


def test_a_title_has_the_changes_there_is_room_for_and_the_rest_is_told_below(plan):
    data = measure(plan)
    data["changes"] = ["trainer.epochs=2"]
    assert sheet(data).title == "tiny on digits (trainer.epochs=2)"
    assert not [note for note in notes(data) if "trainer.epochs" in note]
    data["changes"] = [f"trainer.setting_{i}={i}" for i in range(7)]
    assert sheet(data).title == "tiny on digits (trainer.setting_0=0, trainer.setting_1=1 and 5 more)"
    assert f"changed in all rows that have it: {', '.join(data['changes'])}" in notes(data)
    for length in range(1, 100):
        data["changes"] = ["x" * length] * 3
        assert len(sheet(data).title) <= 80
    assert sheet(data).title == "tiny on digits (3 changes)"
