"""Runs that know other labels than one positive an image: what they say, that they resume, what is refused before one begins."""

from __future__ import annotations

import signal

import numpy as np
import pytest
import small_runs as runs
from PIL import Image

import aevlp
from aevlp.cli import main
from aevlp.data.formats.arrays import write_arrays
from aevlp.folders import runs_root
from aevlp.training.run import resume
from aevlp.training.signals import RunStopped

WORDS = (*runs.FAST, "trainer.threads=1")


def test_runs_say_what_they_know_and_are_compared_and_reported(tmp_path, capsys):
    for known in ("dataset.known.share=0.3", "dataset.known={positives: 1, negatives: 5}", "dataset.known={positives: all}"):
        assert main(["--exp", "digits_gpr", "--set", *WORDS, known, "selection.labels=observed"]) == 0
    said = capsys.readouterr().out
    assert said.count("known of the 48 training images: ") == 3
    assert ", 0 that are absent; nothing of 0 images" in said
    assert main(["compare", str(runs_root())]) == 0
    told = " ".join(capsys.readouterr().out.split())
    line = told.partition("rows differ in known labels of training: ")[2]
    assert all(f"{known} (" in line for known in ("share 0.3", "positives 1, negatives 5", "positives all"))
    assert main(["report", str(runs_root()), "-o", str(tmp_path / "report.html")]) == 0


@pytest.mark.parametrize("loss", ["ll_cp", "em_apl"])
def test_a_run_stopped_and_resumed_is_the_run_that_never_stopped_whatever_is_known(loss, monkeypatch, tmp_path):
    config = runs.config(
        f"loss={loss}", "dataset.known.share=0.3", "trainer.threads=1", *(["loss.warmup=1"] * (loss == "em_apl"))
    )
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("AEVLP_RUNS", str(tmp_path / "whole"))
        whole = runs.outcome(aevlp.train(config).run_dir)
    with monkeypatch.context() as patch:
        runs.signal_after_step(patch, 2, signal.SIGTERM)
        with pytest.raises(RunStopped):
            aevlp.train(config)
    assert runs.differences(runs.outcome(resume(runs.only_run()).run_dir), whole) == []


def test_what_cannot_be_known_is_told_in_one_line_and_leaves_nothing(tmp_path, capsys):
    root = tmp_path / "data"
    root.mkdir()
    labels = np.eye(12, 3)
    labels[3:, 0] = 1
    for split in ("train", "val"):
        write_arrays(root, split, np.array([f"{i}.png" for i in range(12)]), labels)
    for i in range(12):
        Image.new("RGB", (8, 8)).save(root / f"{i}.png")
    (root / "classes.txt").write_text("cat\ndog\nbird\n")
    path = root / "formatted_train_labels_obs.npy"
    observed = np.load(path)
    before = {file: file.read_bytes() for file in root.iterdir()}
    words = [word for word in WORDS if not word.startswith("dataset.num")]
    command = ["--exp", "digits_an", "--set", "dataset=arrays", f"dataset.root={root}", *words]

    def refused(code, message, *more):
        assert main([*command, *more]) == code
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert error.count("\n") == 1
        assert message in error
        assert not runs_root().exists() or not any(runs_root().iterdir())

    refused(2, "dataset.known.share: input should be greater than 0 (got 0)", "dataset.known.share=0")
    refused(2, "dataset.known.share: input should be less than or equal to 1 (got 2)", "dataset.known.share=2")
    observed[0] = [1, -1, 0]
    np.save(path, observed)
    refused(1, f"{path}: row 0 says that class 'dog' is absent, and dataset.known is single; with dataset.known=given")
    observed[0] = [1, 0, 0]
    observed[1] = [0, -1, 0]
    np.save(path, observed)
    for known in ("single", "given"):
        refused(1, f"{path}: row 1 says that class 'dog' is absent, which the full labels hold", f"dataset.known={known}")
    assert {file: file.read_bytes() for file in root.iterdir() if file != path} == {
        file: content for file, content in before.items() if file != path
    }
    observed[1] = [-1, 1, 0]
    np.save(path, observed)
    assert main([*command, "dataset.known=given"]) == 0
    assert "training images: " in capsys.readouterr().out
