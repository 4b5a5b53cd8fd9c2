"""SIGKILL of a trial's process and of the study's: nothing finished is lost, and the count of trials ends exact."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import small_runs as runs
import sweep_runs as sweeps

ROOT = Path(__file__).parents[2]
SECONDS = 120  # on a busy machine


def wait_for(condition, what):
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"{what} did not happen within {SECONDS} s")


def start(study):
    """The command in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "run.py", "sweep", "run", study], cwd=ROOT, env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def is_over(process):
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def child(parent):
    """The process of the trial that is under way."""
    found = [process for process in psutil.Process(parent.pid).children() if not is_over(process)]
    return next((process for process in found if "aevlp.runs.child" in process.cmdline()), None)


def has_saved(number, epoch):
    return any(sweeps.study_folder("tiny").glob(f"trials/tiny.t{number:04d}-*/checkpoints/epoch-{epoch:03d}/manifest.json"))


def two_trials(folder, epochs):
    text = sweeps.STUDY.replace("trainer.epochs=2", f"trainer.epochs={epochs}").replace("trials: 3", "trials: 2")
    return sweeps.write(folder, text)


def test_a_killed_trial_and_a_killed_study_go_on_from_their_checkpoints_and_the_count_ends_exact(tmp_path, capsys):
    study = two_trials(tmp_path, epochs=40)  # enough to be killed in the middle
    parent = start(study)
    try:
        wait_for(lambda: has_saved(0, 2), "the second epoch of trial 0")
        child(parent).kill()
        wait_for(lambda: has_saved(0, 40) and (sweeps.run_folders()[0] / "summary.json").exists(), "the end of trial 0")
        wait_for(lambda: has_saved(2, 2), "the second epoch of trial 2")
        orphan = child(parent)
    finally:
        parent.send_signal(signal.SIGKILL)
        output = parent.communicate()[0]
    assert "trial 0 crashed ended by SIGKILL, goes on from its checkpoint" in output
    value = sweeps.load().trials[1].value
    wait_for(lambda: is_over(orphan), "the end of the trial that nobody waits for")
    assert sweeps.run(study) == 0
    assert "trial 2: its process died; it goes on from its checkpoint" in capsys.readouterr().out
    assert sweeps.states() == ["FAIL", "COMPLETE", "FAIL", "COMPLETE"]
    trials = sweeps.load().trials
    assert [trial.user_attrs.get("retry_of") for trial in trials] == [None, 0, None, 2]
    assert trials[1].value == value
    assert trials[1].params == trials[0].params
    assert trials[3].params == trials[2].params
    assert len(sweeps.run_folders()) == 2
    for run in sweeps.run_folders():
        assert [row["trainer/epoch"] for row in runs.epoch_rows(run)] == list(range(1, 41))
        assert json.loads((run / "summary.json").read_text())["state"] == "finished"
    # Killed or not, the figures are the same.
    assert trials[1].value == max(row["val/mAP"] for row in runs.epoch_rows(sweeps.run_folders()[0]))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGUSR1])
def test_a_signal_saves_every_run_and_the_study_goes_on(tmp_path, monkeypatch, capsys, number):
    study = two_trials(tmp_path, epochs=6)
    with monkeypatch.context() as patch:
        runs.signal_after_step(patch, 10, number)
        assert sweeps.run(study) == 128 + number
    output = capsys.readouterr()
    assert "trial 0 stopped stopped by the user" not in output.out
    assert "Traceback" not in output.err
    assert sweeps.states() == ["FAIL", "WAITING"]
    (run,) = sweeps.run_folders()
    assert runs.checkpoint_names(run)[-1] == "epoch-004-step-10"
    assert sweeps.run(study, "--trials", "1") == 0
    assert sweeps.states() == ["FAIL", "COMPLETE"]
    assert sweeps.run_folders() == [run]
    assert [row["trainer/epoch"] for row in runs.epoch_rows(run)] == list(range(1, 7))
