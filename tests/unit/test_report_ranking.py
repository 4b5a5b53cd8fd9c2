"""Who leads in a report, what its curves are drawn of, and what is paired: by runs written by hand."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

import browser
import pytest

import aevlp
from aevlp.cli import main
from aevlp.config.yaml_reading import write_yaml
from aevlp.reporting.comparison import class_gains
from aevlp.reporting.report import report_data
from aevlp.reporting.statistics import RANKED_BY, class_precisions, group_runs
from aevlp.runs.collect import collect

RANKING = Path(aevlp.__file__).parent / "reporting" / "page" / "ranking.js"


@pytest.fixture
def made(tmp_path):
    """Make a run of an experiment, without training it: finished where it is given a summary. `.root` is the folder of all."""
    numbers = itertools.count()

    def make(experiment, seed=0, epochs=(), classes=None, **summary):
        config = aevlp.load_experiment(experiment, [f"seed={seed}"])
        folder = make.root / f"{experiment}-20260101-{next(numbers):06d}-abcdef"
        folder.mkdir(parents=True)
        (folder / "config.yaml").write_text(write_yaml(config.to_dict()))
        rows = [{"trainer/epoch": i, "train/loss": 1.0, "val/mAP": value} for i, value in enumerate(epochs, start=1)]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        if classes:
            lines = "".join(f"{name},{value},5\n" for name, value in classes.items())
            (folder / "per_class.csv").write_text(f"class,test_AP,test_positives\n{lines}")
        if summary:
            told = {"state": "finished", "experiment": experiment, "seed": seed, "config_hash": config.hash}
            (folder / "summary.json").write_text(json.dumps(told | summary))
        return folder.name

    make.root = tmp_path / "runs"
    return make


@pytest.mark.parametrize(
    ("an", "em", "metric"),
    [
        ({"val/mAP": 1.0, "best/val_mAP": 80.0, "test/mAP_observed": 30.0}, {"best/val_mAP": 70.0, "test/mAP_observed": 40.0},
         "best/val_mAP"),
        ({"test/mAP": 80.0, "best/val_mAP": 30.0}, {"best/val_mAP": 40.0}, "test/mAP"),
        ({"test/mAP_observed": 30.0}, {"test/mAP_observed": 20.0}, "test/mAP_observed"),
        ({"best/val_mAP_observed": 30.0}, {"best/val_mAP_observed": 20.0}, "best/val_mAP_observed"),
        ({"val/mAP": 1.0}, {"val/mAP": 1.0}, "test/mAP"),
    ],
)  # fmt: skip
def test_the_headline_is_by_the_metric_that_the_order_is_by(made, an, em, metric):
    made("digits_an", **an)
    made("digits_em", **em)
    data = report_data([made.root])
    (table,) = data["tables"]
    assert table["ranked_by"] == metric
    assert [data["groups"][i]["name"] for i in table["groups"]] == ["digits_an", "digits_em"]


@pytest.mark.parametrize(
    ("gpr", "em", "said"),
    [
        ([93, 94, 95], [92.9, 93.9, 94.9], "digits_gpr leads with 94.0 ± 2.5 test mAP, +13.0 ± 0.0 against digits_an: beyond "
         "seed noise over 3 common seeds."),
        ([93, 94, 95], [95, 91, 93], "digits_gpr has the highest test mAP, 94.0 ± 2.5, +13.0 ± 0.0 against digits_an: beyond "
         "seed noise over 3 common seeds. digits_em cannot be told apart from it."),
        ([83, 80, 83], [70, 71, 72], "digits_gpr has the highest test mAP, 82.0 ± 4.3, +1.0 ± 5.0 against digits_an: they cannot "
         "be told apart over 3 common seeds."),
        ([93, 94, 95], [92.9], "digits_gpr has the highest test mAP, 94.0 ± 2.5, +13.0 ± 0.0 against digits_an: beyond seed "
         "noise over 3 common seeds. digits_em shares too few seeds with it to tell."),
        ([93, 94], [90, 90], "digits_gpr has the highest test mAP, 93.5 ± 6.4, +13.0 ± 0.0 against digits_an: beyond seed noise "
         "over 2 common seeds. digits_em cannot be told apart from it."),
    ],
)  # fmt: skip
def test_nobody_leads_whose_gain_may_be_chance(made, tmp_path, gpr, em, said):
    browser.require_chromium()
    for experiment, values in (("digits_gpr", gpr), ("digits_em", em), ("digits_an", [80, 81, 82])):
        for seed, value in enumerate(values):
            made(experiment, seed, **{"test/mAP": value})
    page = tmp_path / "report.html"
    assert main(["report", str(made.root), "-o", str(page)]) == 0
    with browser.chromium(tmp_path / "profile") as driver:
        driver.get(page.as_uri())
        assert driver.find_element("css selector", ".lead").text == said
        assert driver.get_log("browser") == []


def test_the_page_has_a_name_for_whatever_a_table_is_ranked_by():
    text = RANKING.read_text()
    constants = dict(re.findall(r'(\w+) = "([\w/]+)"', text))
    names = re.search(r"RANKED_BY = \{(.*?)\};", text)[1]
    known = [constants.get(name, name) for name in re.findall(r'\[?"?([\w/]+)"?\]?: "', names)]
    assert known == list(RANKED_BY)


def test_curves_are_drawn_of_one_run_a_seed(made):
    made("digits_an", epochs=[10.0])  # crashed, and begun again
    first = made("digits_an", epochs=[10.0], **{"test/mAP": 90.0})
    second = made("digits_an", seed=1, epochs=[40.0], **{"test/mAP": 90.0})
    third = made("digits_an", seed=2, epochs=[30.0, 31.0])
    made("digits_an", seed=2, epochs=[30.0])
    data = report_data([made.root])
    (group,) = data["groups"]
    assert len(group["runs"]) == 5
    assert [data["runs"][i]["name"] for i in group["drawn"]] == [first, second, third]


def test_the_gain_of_a_class_is_over_the_seeds_of_which_both_tell_it(made):
    test = {"test/mAP": 50.0}
    made("digits_an", classes={"cat": 40.0, "dog": 60.0}, **test)
    made("digits_an", seed=1, classes={"cat": 80.0, "dog": 60.0}, **test)
    made("digits_gpr", classes={"cat": 41.0, "dog": 63.0}, **test)
    made("digits_gpr", seed=1, classes={"dog": 61.0}, **test)  # in which no test image shows the other
    groups = {group.experiment: group for group in group_runs(collect([made.root]).runs)}
    baseline = {seed: class_precisions(run) for seed, run in groups["digits_an"].by_seed.items()}
    assert class_gains(groups["digits_gpr"], baseline) == [
        {"class": "dog", "AP": 62.0, "gain": 2.0}, {"class": "cat", "AP": 41.0, "gain": 1.0},
    ]  # fmt: skip


@pytest.mark.parametrize("rows", [("digits_bce", "digits_an"), ("digits_bce",)])
def test_latex_has_the_bounds_in_a_table_of_their_own(made, capsys, rows):
    for row in rows:
        made(row, **{"test/mAP": 90.0})
    assert main(["compare", str(made.root), "--latex"]) == 0
    output = capsys.readouterr().out
    assert output.count(r"\begin{tabular}") == len(rows)
    bounds = output.partition("% trained with all labels: what one label can hope for, not ranked\n\\begin{tabular}")[2]
    assert r"digits\_bce" in bounds
    assert r"digits\_an" not in bounds
