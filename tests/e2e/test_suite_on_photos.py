"""A suite on photos of one's own, of which not all labels are known."""

from __future__ import annotations

import json
import re

import pytest
import suite_runs as suites
from miniatures import make_folder

from aevlp.cli import main
from aevlp.folders import runs_root

SETS = (
    "model=small_cnn", "dataset.image_size=32", "trainer.batch_size=4", "trainer.epochs=1", "trainer.precision=fp32",
    "trainer.num_workers=0", "trainer.channels_last=false", "trainer.threads=1", "tracking.mode=off",
)  # fmt: skip
SUITE = "upper: Full labels\nrows: {Full labels: bce, AN: an, EPR: epr}\n"


@pytest.fixture
def photos(tmp_path):
    """Photos with one label each."""
    root = make_folder(tmp_path / "photos", train=12, test=0)
    lines = (root / "labels.csv").read_text().splitlines()
    (root / "labels.csv").write_text("\n".join(",".join(line.split(",")[:2]) for line in lines) + "\n")
    return root


@pytest.fixture
def suite(tmp_path, monkeypatch):
    """The suite of three methods on a folder."""
    suites.InThisProcess(monkeypatch)
    path = suites.write(tmp_path, SUITE)
    return lambda root, *words: main([
        "suite", path, "--dataset", "folder", "--seeds", "1", *words, "--set", *SETS, f"dataset.root={root}",
    ])  # fmt: skip


def test_rows_that_need_full_labels_are_left_out_with_a_word_and_known_labels_rank_the_others(suite, photos, capsys):
    assert suite(photos) == 0
    said = capsys.readouterr().out
    left_out = (f"Full labels is left out: {photos}/labels.csv:2: dataset.train_labels: full needs the column `labels` in every "
                "training row")  # fmt: skip
    assert said.count(left_out) == 2  # before the first run, which may take hours, and below the table
    assert "suite tiny on folder: 2 methods, 1 seed" in said
    assert re.search(r"^AN, seed 0: val mAP \(known labels\) [\d.]+", said, re.MULTILINE)
    assert re.search(r"^ +method +val mAP \(known labels\)", said, re.MULTILINE)
    assert suite(photos, "--table", "--json") == 0
    data = json.loads(capsys.readouterr().out)
    assert [row["rank"] for row in data["rows"]] == [1, 2]
    assert {row["title"] for row in data["rows"]} == {"AN", "EPR"}
    assert data["known_labels"] is True
    assert left_out in data["notes"]


def test_a_suite_that_is_all_full_labels_is_refused(suite, photos, capsys):
    assert suite(photos, "--rows", "Full labels") == 2
    assert "labels.csv:2: dataset.train_labels: full needs the column `labels`" in capsys.readouterr().err
    assert not list(runs_root().glob("*/config.yaml"))


def test_with_full_labels_every_row_runs(suite, tmp_path, capsys):
    assert suite(make_folder(tmp_path / "whole", train=12, test=4)) == 0
    said = capsys.readouterr().out
    assert "left out" not in said
    assert "known labels" not in said
    assert "test mAP" in said


def test_a_folder_that_is_not_there_is_told_before_anything_is_written(suite, tmp_path, capsys):
    assert suite(tmp_path / "nowhere") == 1
    assert f"{tmp_path}/nowhere: there is no such folder (dataset.root)" in capsys.readouterr().err
    assert not runs_root().exists()


def test_a_test_split_with_known_labels_alone_ranks_by_them(suite, photos, capsys):
    lines = (photos / "labels.csv").read_text().splitlines()
    split = [f"{line},{'test' if i % 3 == 0 else 'train'}" for i, line in enumerate(lines[1:])]
    (photos / "labels.csv").write_text("\n".join([f"{lines[0]},split", *split]) + "\n")
    assert suite(photos, "--rows", "AN", "EPR") == 0
    assert re.search(r"^ +method +test mAP \(known labels\)", capsys.readouterr().out, re.MULTILINE)
