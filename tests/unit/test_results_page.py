"""docs/results.md defines every name that a run and the commands upon it write, and none beside."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
import pytest
from PIL import Image

from aevlp.cli import main
from aevlp.data.dataset import Split, SPMLData
from aevlp.data.images import ArrayImages
from aevlp.inference.evaluate import evaluate
from aevlp.inference.evaluation_tables import write_evaluation
from aevlp.inference.label import COLUMNS
from aevlp.inference.open import open_trained
from aevlp.reporting.compare import _csv, sheets
from aevlp.reporting.comparison import compare_groups
from aevlp.reporting.statistics import group_runs
from aevlp.runs.collect import read_run
from aevlp.runs.folder import RunFolder
from aevlp.sweeps.study import MARK
from aevlp.sweeps.summary import rows
from aevlp.tracking import read_metrics
from aevlp.tracking.metrics import BY_KNOWN, EPOCH_METRICS

PAGE = (Path(__file__).parents[2] / "docs" / "results.md").read_text()
SECTIONS = dict(re.findall(r"^## ([^\n]*)\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S))
QUALITY = [name.removeprefix("pseudo/") for name in EPOCH_METRICS if name.startswith("pseudo/")]


def defined(section: str) -> list[str]:
    """Names in the first column of the tables of a section."""
    cells = re.findall(r"^\| (`.*?) \| ", SECTIONS[section], re.M)
    return [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]


def header(path: Path) -> list[str]:
    with path.open(newline="") as file:
        return next(csv.reader(file))


def test_no_name_is_defined_twice_in_a_section():
    for section in SECTIONS:
        if section not in ("predict CSV", "eval", "compare"):  # which tell of several tables
            assert len(defined(section)) == len(set(defined(section))), section


def test_the_files_of_a_run(trained_run):
    names = defined("The run folder")
    assert {path.name + "/" * path.is_dir() for path in trained_run.iterdir()} <= set(names)
    # Not of every run: those of `precision: auto`, of W&B, of a labeler or an encoder, and of parts from outside.
    assert set(names) - {path.name + "/" * path.is_dir() for path in trained_run.iterdir()} == {
        "precision.json", "labeler.json", "encoders.json", "wandb/", "pseudo_per_class.csv", "plugins/",
    }  # fmt: skip


def test_metrics_and_summary(trained_run):
    rows = read_metrics(trained_run / "metrics.jsonl")
    assert set(defined("metrics.jsonl")) == set().union(*rows, EPOCH_METRICS)
    summary = json.loads((trained_run / "summary.json").read_text())
    ends = set(defined("summary.json"))
    assert set(summary) <= ends | set(defined("metrics.jsonl"))
    by_known = {"test/mAP_observed", "test/mAP_assumed", *(f"test/{name}" for name in BY_KNOWN)}
    assert ends - set(summary) == {"test/labeler_mAP", *(f"test/pseudo/{name}" for name in QUALITY), *by_known}


@pytest.mark.parametrize(
    ("file", "of_a_labeler"), [("val_scores.npz", ()), ("pseudo_labels.npz", ()), ("samples.npz", ("views",))]
)
def test_arrays(trained_run, file, of_a_labeler):
    for name in (file, "test_scores.npz") if file == "val_scores.npz" else (file,):
        with np.load(trained_run / name) as arrays:
            assert set(defined(file)) == {*arrays, *of_a_labeler}


def test_tables_and_descriptions_of_the_run(trained_run, tmp_path):
    assert defined("per_class.csv") == header(trained_run / "per_class.csv")
    labels = np.eye(2, dtype=np.uint8)
    split = Split(ArrayImages(np.zeros((2, 8, 8, 3), dtype=np.uint8)), labels * 0, labels)
    RunFolder(tmp_path).write_pseudo_labels(SPMLData(["a", "b"], ["a", "b"], split, split, None), labels.astype(np.int8), 1)
    assert defined("pseudo_per_class.csv") == header(tmp_path / "pseudo_per_class.csv")
    data = json.loads((trained_run / "data.json").read_text())
    assert set(defined("data.json")) == {*data, *data["train"]}
    assert set(defined("environment.json")) == set(json.loads((trained_run / "environment.json").read_text()))


def test_what_commands_write(trained_run, tmp_path):
    assert defined("label CSV") == list(COLUMNS)
    paths = write_evaluation(evaluate(open_trained(str(trained_run)), "test"), tmp_path)
    assert set(defined("eval")) == {name for path in paths if path.suffix == ".csv" for name in header(path)}
    with np.load(tmp_path / "test_scores.npz") as arrays:
        assert set(defined("val_scores.npz")) == {*arrays, "epoch"}


def test_what_compare_writes(trained_run):
    run = read_run(trained_run)
    (group,) = group_runs([run])
    data = compare_groups([group, replace(group)], group)
    told = set(defined("compare"))
    assert set(sheets(data)[0].header) <= told
    written = _csv([data | {"title": "digits"}]).splitlines()[0].split(",")
    assert {f"... {name.rpartition(' ')[2]}" if "/" in name else name for name in written} <= told


def test_what_predict_writes(trained_run, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"nothing")
    Image.new("RGB", (8, 8)).save(tmp_path / "whole.png")
    output = tmp_path / "scores.csv"
    assert main(["predict", str(trained_run), str(tmp_path), "-o", str(output), "--on-bad-image", "quarantine"]) == 0
    names = json.loads((trained_run / "classes.json").read_text())
    assert [name for name in header(output) if name not in names] == ["image", "labels"]
    assert defined("predict CSV") == ["image", "labels", *header(tmp_path / "scores.csv.quarantine.csv")]


def test_the_columns_of_a_study_are_told_on_its_page():
    study = optuna.create_study()
    study.set_user_attr(MARK, {"metrics": ["best/val_mAP"]})
    columns, _ = rows(study)
    text = (Path(__file__).parents[2] / "docs" / "sweeps.md").read_text()
    assert [name for name in columns if name != "best/val_mAP" and f"`{name}`" not in text] == []
