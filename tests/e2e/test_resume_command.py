"""Stopping and resuming from the command line."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
import small_runs as runs
from PIL import Image

import aevlp
from aevlp.cli import main
from aevlp.models import small_cnn
from aevlp.runs.collect import collect
from aevlp.training.run import resume

COMMAND = ["--exp", "digits_gpr", "--set", *runs.FAST]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2])
def test_a_signal_ends_with_its_exit_code_and_prints_the_resume_command(monkeypatch, capsys, number):
    handlers = [signal.getsignal(which) for which in (signal.SIGINT, signal.SIGTERM, number)]
    with monkeypatch.context() as patch:
        runs.signal_after_step(patch, 4, number)
        assert main(COMMAND) == 128 + number
    output = capsys.readouterr()
    (command,) = [line.split(None, 1)[1] for line in output.out.splitlines() if line.startswith("resume ")]
    assert command == f"python run.py --resume {runs.only_run().name}"
    assert "Traceback" not in output.out + output.err
    assert [signal.getsignal(which) for which in (signal.SIGINT, signal.SIGTERM, number)] == handlers
    assert not (runs.only_run() / "summary.json").exists()
    assert main(command.split()[2:]) == 0
    assert runs.newest(runs.only_run()).folder.name == "epoch-002"


def test_a_signal_before_the_first_step_ends_cleanly_and_the_run_can_be_resumed(monkeypatch):
    from aevlp.labelers.none import NoLabeler

    with monkeypatch.context() as patch:  # the labeler looks at the images and reports its progress, as DAMP does
        patch.setattr(NoLabeler, "prepare", lambda self, split, progress: (signal.raise_signal(signal.SIGTERM), progress(1, 2)))
        assert main(COMMAND) == 143
    assert runs.checkpoint_names(runs.only_run()) == []
    assert main(["--resume", runs.only_run().name]) == 0
    assert len(runs.epoch_rows(runs.only_run())) == 2


def test_resume_latest_continues_the_newest_run(monkeypatch, capsys):
    older = aevlp.train(runs.config("trainer.epochs=1")).run_dir
    assert main(["--resume", older.name, "--set", "dataset.root=/data"]) == 2
    assert "--set dataset.root=/data: dataset digits has no such place" in capsys.readouterr().err
    os.utime(older / "config.yaml", (1, 1))
    with monkeypatch.context() as patch:
        runs.signal_after_step(patch, 2)
        assert main(COMMAND) == 143
    assert main(["--resume", "latest"]) == 0
    done = {path.parent: json.loads(path.read_text())["trainer/epoch"] for path in older.parent.glob("*/summary.json")}
    assert sorted(done.values()) == [1, 2]
    assert done[older] == 1


def test_a_run_given_as_a_point_or_by_a_link_keeps_its_id(tmp_path, monkeypatch):
    run = aevlp.train(runs.config("trainer.epochs=1")).run_dir
    (tmp_path / "link").symlink_to(run)
    monkeypatch.chdir(run)
    for word in (".", str(tmp_path / "link")):
        (run / "summary.json").unlink()
        assert main(["--resume", word]) == 0
        assert json.loads((run / "summary.json").read_text())["run_id"] == run.name
        assert [found.path.name for found in collect([Path(word)]).runs] == [run.name]
    run.rename(tmp_path / "moved")
    run.symlink_to(tmp_path / "moved")
    for word in (run.name, str(run)):
        (run / "summary.json").unlink()
        assert main(["--resume", word]) == 0
        assert json.loads((run / "summary.json").read_text())["run_id"] == run.name
    assert [found.path.name for found in collect([run]).runs] == [run.name]


def test_resuming_a_finished_run_trains_nothing_and_changes_nothing(monkeypatch):
    result = aevlp.train(runs.config())
    before = runs.outcome(result.run_dir)
    with monkeypatch.context() as patch:
        runs.after_step(patch, 1, runs.crash)
        again = resume(result.run_dir)
    assert runs.differences(runs.outcome(result.run_dir), before) == []
    assert again.summary == result.summary
    assert (again.pseudo_labels == result.pseudo_labels).all()


@pytest.mark.parametrize("epochs", ["0", "-1", "1.5", "x", "99999999"])
def test_a_wrong_number_of_epochs_is_refused_and_the_run_stays_as_it_was(capsys, epochs):
    run = aevlp.train(runs.config("trainer.epochs=1")).run_dir
    before = (run / "config.yaml").read_bytes()
    assert main(["--resume", str(run), "--set", f"trainer.epochs={epochs}"]) == 2
    assert "trainer.epochs" in capsys.readouterr().err
    assert (run / "config.yaml").read_bytes() == before


def test_a_checkpoint_of_another_model_is_refused_without_a_traceback(capsys):
    run = aevlp.train(runs.config("trainer.epochs=1")).run_dir
    path = run / "config.yaml"
    path.write_text(path.read_text().replace("ema_decay: null", "ema_decay: 0.9"))
    before = path.read_bytes()
    assert main(["--resume", str(run), "--set", "trainer.epochs=2"]) == 1
    assert "does not fit the run's config.yaml" in capsys.readouterr().err
    assert path.read_bytes() == before  # a run that cannot go on is as long as it was


@pytest.mark.parametrize("verb", ["--resume", "eval", "export", "predict"])
def test_a_run_whose_model_is_another_now_is_told_in_a_line_with_the_way_out(verb, capsys, monkeypatch, tmp_path):
    run = aevlp.train(runs.config("trainer.epochs=1", "model.weights=none")).run_dir
    monkeypatch.setattr(small_cnn, "_LAYERS", ((16, 2), (24, 2), (48, 1), (96, 2), (64, 1)))
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    before = (run / "config.yaml").read_bytes()
    out = str(tmp_path / "scores.csv")
    more = {"--resume": ["--set", "trainer.epochs=2"], "export": ["-o", str(tmp_path / "model")],
            "predict": [str(tmp_path), "-o", out]}  # fmt: skip
    assert main([verb, str(run), *more.get(verb, [])]) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert (
        "of another shape (backbone.12.weight, backbone.13.weight, backbone.13.bias and 3 more); config.yaml was edited" in error
    )
    assert error.endswith("open it with the version of aevlp that wrote it")
    assert (run / "config.yaml").read_bytes() == before


def test_what_is_refused_leaves_a_stopped_run_stopped(monkeypatch, capsys):
    with monkeypatch.context() as patch:
        runs.signal_after_step(patch, 4, signal.SIGINT)
        assert main(COMMAND) == 130
    run = runs.only_run()
    before = sorted((path, path.read_bytes()) for path in run.rglob("*") if path.is_file())
    assert main(["--resume", str(run), "--set", "trainer.epochs=20000"]) == 2
    assert sorted((path, path.read_bytes()) for path in run.rglob("*") if path.is_file()) == before


def test_a_folder_of_somebody_else_beside_the_runs_stays(tmp_path, monkeypatch):
    monkeypatch.setenv("AEVLP_RUNS", str(tmp_path))
    thesis = tmp_path / ".tmp-thesis" / "draft.tex"
    thesis.parent.mkdir()
    thesis.write_text("mine")
    os.utime(thesis.parent, (0, 0))
    assert main([*COMMAND, "trainer.epochs=1"]) == 0
    assert thesis.read_text() == "mine"
