"""A trial that another machine has taken over is left to it, and a run that a crash left half written is gone on with."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from types import SimpleNamespace

import optuna
import pytest
import sweep_runs as sweeps

from aevlp.machine import Machine
from aevlp.sweeps import ledger, trial, workers
from aevlp.sweeps.plan import Plan
from aevlp.sweeps.runner import Runner
from aevlp.sweeps.study import study_folder
from aevlp.sweeps.trial import Outcome, Trial
from aevlp.sweeps.view import View


@pytest.fixture
def plan(tmp_path):
    return Plan.load(sweeps.write(tmp_path))


def take_over(study, number):
    """As another machine does once it has not heard of this one for too long."""
    assert ledger.try_again(study, study.get_trials()[number], "its process died", is_retry=True)


@pytest.fixture
def taken(plan, tmp_path):
    """A trial of this process that is another machine's by now."""
    study = optuna.create_study(direction="maximize")
    mine = Trial(plan, study.ask(), tmp_path / "tiny", ())
    take_over(study, 0)
    mine._next_sign = 1.0
    return mine


def test_its_run_is_stopped_and_the_worker_ends(taken, tmp_path):
    worker = workers.ProcessWorker(taken, {})
    worker._process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    outcomes, until = [worker.poll()], time.monotonic() + 30
    while (outcome := worker.poll()) is None and time.monotonic() < until:
        time.sleep(0.05)
    assert (outcomes, outcome) == ([None], Outcome("lost"))
    assert worker._process.returncode is not None


@pytest.mark.parametrize("state", ["lost", "complete", "pruned", "failed", "crashed", "stopped"])
def test_whatever_its_end_here_it_is_said_and_the_study_goes_on(plan, taken, tmp_path, capsys, state):
    study, view = taken.trial.study, View("tiny", plan.metrics)
    runner = Runner(plan, study, tmp_path, Machine.of(1, None), view, confirmation=None, in_process=False, keep_checkpoints=False)
    runner._finish(taken, Outcome(state, (90.0,) if state == "complete" else (), "why"))
    assert "another machine has trial 0 now" in capsys.readouterr().out
    assert [one.state.name for one in study.get_trials()] == ["FAIL", "WAITING"]
    assert study.get_trials()[0].user_attrs[ledger.REASON] == "its process died"


def test_a_study_in_one_process_goes_on_with_what_was_taken_from_it(tmp_path, monkeypatch, capsys):
    path, report = sweeps.write(tmp_path), Trial.report

    def lose_the_first(self, row):
        if self.number == 0:
            take_over(self.trial.study, 0)
        report(self, row)

    monkeypatch.setattr(Trial, "report", lose_the_first)
    assert sweeps.run(path, "--trials", "1") == 0
    assert "another machine has trial 0 now" in capsys.readouterr().out
    assert sweeps.states() == ["FAIL", "COMPLETE"]


def test_a_run_in_this_process_signs_while_it_goes_on():
    signed = []
    workers._Reporter(SimpleNamespace(sign=lambda: signed.append(1))).log({"trainer/step": 1})
    assert signed == [1]


@pytest.mark.parametrize("damaged", ["", "[]", '{"best/val_mAP": "a"}', '{"best/val_mAP": NaN}', '{"best/val_mAP": '])
def test_a_damaged_summary_of_a_finished_run_is_written_anew(tmp_path, damaged):
    path = sweeps.write(tmp_path)
    assert sweeps.run(path, "--trials", "1") == 0
    study, (folder,) = sweeps.load(), sweeps.run_folders()
    whole = json.loads((folder / "summary.json").read_text())
    study.enqueue_trial(study.trials[0].params, user_attrs={ledger.RETRY_OF: 0, ledger.ATTEMPT: 1, ledger.RUNS: [folder.name]})
    (folder / "summary.json").write_text(damaged)
    assert sweeps.run(path, "--trials", "1") == 0
    assert sweeps.states() == ["COMPLETE", "COMPLETE"]
    assert sweeps.load().trials[1].value == whole["best/val_mAP"]
    assert json.loads((folder / "summary.json").read_text())["best/val_mAP"] == whole["best/val_mAP"]
    assert sweeps.run_folders() == [folder]


def test_what_is_still_no_number_after_the_run_is_said_once(plan, tmp_path):
    folder = study_folder("tiny") / "trials" / "x"
    folder.mkdir(parents=True)
    (folder / "summary.json").write_text('{"best/val_mAP": "a"}')
    mine = Trial(plan, optuna.create_study(direction="maximize").ask(), study_folder("tiny"), ())
    with pytest.raises(trial.NotMeasuredError, match=r"summary\.json: cannot be read, or a word stands where a number belongs"):
        mine.finish_run(folder)


def test_a_grid_that_two_processes_queued_at_once_is_tried_whole_and_each_combination_once(tmp_path, monkeypatch):
    text = sweeps.STUDY.replace("sampler: random", "sampler: grid").replace("trials: 3\n", "")
    path = sweeps.write(tmp_path, text.replace("{float: [0.0001, 0.01], log: true}", "{choice: [0.001]}"))

    def both(study, plan, notify):
        for codes in plan.space.combinations(plan.values):
            study.enqueue_trial(codes)
            study.enqueue_trial(codes)

    monkeypatch.setattr("aevlp.sweeps.study._lay_out", both)
    assert sweeps.run(path) == 0
    complete = [one for one in sweeps.load().trials if one.state.name == "COMPLETE"]
    assert [one.params["trainer.weight_decay"] for one in complete] == [0.0, 0.01]
    assert "FAIL" in sweeps.states()
    assert (study_folder("tiny") / "trials.csv").read_text().count("complete") == 2
    assert "failed" not in (study_folder("tiny") / "trials.csv").read_text()


def test_a_trial_that_is_tried_again_costs_a_grid_none_of_its_combinations(tmp_path):
    text = sweeps.STUDY.replace("sampler: random", "sampler: grid").replace("trials: 3\n", "")
    text = text.replace("[0.0, 0.01]", "[0.0, 0.01, 0.02, 0.03]").replace(
        "{float: [0.0001, 0.01], log: true}", "{choice: [0.001]}"
    )
    path = sweeps.write(tmp_path, text)
    assert sweeps.run(path, "--trials", "1") == 0
    study = sweeps.load()
    take_over(study, study.ask().number)
    for trials in ("2", "4"):
        assert sweeps.run(path, "--trials", trials) == 0
        complete = [one.params["trainer.weight_decay"] for one in sweeps.load().trials if one.state.name == "COMPLETE"]
        assert len(complete) == int(trials)
    assert sorted(complete) == [0.0, 0.01, 0.02, 0.03]
