"""The numbers of a suite's table against scipy and against arithmetic by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest
import scipy.stats
import suite_runs as suites

from aevlp.config.loading import files
from aevlp.reporting.sheets import NONE
from aevlp.suites.plan import find_runs, load_plan
from aevlp.suites.suite_file import FOLDER
from aevlp.suites.table import as_csv, measure, notes, sheet
from aevlp.training.run_folder import RunFolder


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
    assert data["best_other"] == "AN"
    ours = data["rows"][2]
    values, baseline = np.array([95, 96, 97.5, 95, 96.5]), np.array([79, 80, 81, 80, 80])
    low, high = scipy.stats.t.interval(0.95, 4, values.mean(), scipy.stats.sem(values))
    assert ours["metrics"]["test/mAP"]["mean"] == pytest.approx(values.mean())
    assert ours["metrics"]["test/mAP"]["half"] == pytest.approx((high - low) / 2)
    assert ours["difference"]["mean"] == pytest.approx((values - baseline).mean())
    assert ours["difference"]["p"] == pytest.approx(scipy.stats.ttest_rel(values, baseline).pvalue)
    assert ours["gap_closed"] == pytest.approx(100 * (96 - 80) / (99 - 80))
    assert data["rows"][3]["gap_closed"] is None
    assert "AEVLP and AN differ (paired t-test, p < 0.001)" in notes(data)


def test_columns_that_say_nothing_are_left_out_and_text_is_not_right_aligned(plan):
    table = sheet(measure(plan))
    assert table.header == ["", "method", "test mAP", "gap closed", "against AN", "p", "published"]
    assert table.rows[2] == ["1", "AEVLP", "96.0 ± 1.3", "84 %", "+16.0 ± 0.8", "< 0.001", NONE]
    assert [table.is_number(i) for i in range(3)] == [False, False, True]
    assert as_csv(measure(plan)).count("\n") == 5


def test_one_seed_has_no_interval_and_no_claim(plan):
    for line in plan.lines:
        line.jobs = line.jobs[:1]
    data = measure(plan)
    ours = data["rows"][2]
    assert ours["metrics"]["test/mAP"]["half"] is None
    assert ours["difference"]["p"] is None
    assert "1 seeds: nothing is claimed of AEVLP against AN; take --seeds 5" in notes(data)


@pytest.mark.parametrize("name", sorted(files(FOLDER)))
def test_every_suite_is_ready_on_digits_and_no_two_rows_are_the_same(name):
    plan = load_plan(name, "digits", 1)
    hashes = [line.jobs[0].config.hash for line in plan.lines]
    assert len(set(hashes)) == len(hashes)
