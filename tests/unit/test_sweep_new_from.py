"""A study that takes over the trials of an older one: each once, from where its runs lie, and all or none."""

from __future__ import annotations

import shutil
import threading
import time

import optuna
import pytest
import sweep_runs as sweeps

from aevlp.sweeps.best import config_of
from aevlp.sweeps.plan import Plan
from aevlp.sweeps.study import open_study, study_folder

FROM_TINY = ("--name", "new", "--new-study-from", "tiny", "--trials", "1")


@pytest.fixture
def path(tmp_path, monkeypatch):
    """File of a study that has three trials, whose runs took no time."""
    monkeypatch.setattr("aevlp.training.run.resume", sweeps.Trained().resume)
    found = sweeps.write(tmp_path)
    assert sweeps.run(found) == 0
    return found


def origins(study):
    return [trial.user_attrs["imported_from"] for trial in study.trials if "imported_from" in trial.user_attrs]


def test_what_a_study_took_over_itself_is_taken_over_with_it(path):
    assert sweeps.run(path, *FROM_TINY) == 0
    assert sweeps.run(path, "--name", "third", "--new-study-from", "new", "--trials", "1") == 0
    third = sweeps.load("third")
    assert origins(third) == ["tiny/0", "tiny/1", "tiny/2", "new/3"]
    for trial in third.trials[:4]:
        rate = config_of(third, trial).trainer.learning_rate
        assert rate == pytest.approx(trial.params["trainer.learning_rate"], 1e-3)


def test_runs_that_are_not_on_this_machine_are_told_before_a_study_is_made(path, tmp_path, capsys):
    trials = study_folder("tiny") / "trials"
    trials.rename(tmp_path / "elsewhere")
    assert sweeps.run(path, *FROM_TINY) == 2
    assert "config.yaml: is not on this machine; begin the study where it is, or copy it here" in capsys.readouterr().err
    assert not (study_folder("new") / "study.yaml").exists()
    shutil.copytree(tmp_path / "elsewhere", trials)
    assert sweeps.run(path, *FROM_TINY) == 0
    assert origins(sweeps.load("new")) == ["tiny/0", "tiny/1", "tiny/2"]
    shutil.rmtree(trials)  # what has been taken over is there
    assert sweeps.run(path, *FROM_TINY) == 0


def test_of_two_processes_that_begin_at_once_one_takes_over(path, monkeypatch):
    plan, add, second = Plan.load(path), optuna.Study.add_trial, []

    def add_and_begin_again(self, trial):
        if not second:
            second.append(threading.Thread(target=open_study, args=(plan, "new", None, print, "tiny")))
            second[0].start()
            time.sleep(0.5)
        add(self, trial)

    monkeypatch.setattr(optuna.Study, "add_trial", add_and_begin_again)
    study = open_study(plan, "new", None, print, "tiny")
    second[0].join()
    assert origins(study) == ["tiny/0", "tiny/1", "tiny/2"]


def test_what_another_machine_takes_over_meanwhile_is_there_once(path, monkeypatch):
    plan, add, elsewhere = Plan.load(path), optuna.Study.add_trial, []

    def add_twice(self, trial):
        add(self, trial)
        if not elsewhere:
            elsewhere.append(optuna.trial.create_trial(
                value=1.0, params=trial.params, distributions=trial.distributions, user_attrs={"imported_from": "tiny/1"},
            ))  # fmt: skip
            add(self, elsewhere[0])

    monkeypatch.setattr(optuna.Study, "add_trial", add_twice)
    assert origins(open_study(plan, "new", None, print, "tiny")) == ["tiny/0", "tiny/1", "tiny/2"]
