"""Epochs of trials that may differ in length: each has its step, and a trial is given up before its own end alone."""

from __future__ import annotations

import csv
import io
import json

import optuna
import pytest
import sweep_runs as sweeps

from aevlp.sweeps.ledger import try_again
from aevlp.sweeps.plan import Plan
from aevlp.sweeps.samplers import build_pruner
from aevlp.sweeps.study import open_study, study_folder
from aevlp.sweeps.study_file import PrunerConfig
from aevlp.sweeps.summary import as_csv
from aevlp.sweeps.trial import Trial

LENGTHS = (2, 3, 9)


def begun(tmp_path, *, seeds):
    """A study in whose trials the epochs differ; the base has 2."""
    text = sweeps.STUDY.replace("trainer.weight_decay: {choice: [0.0, 0.01]}", "trainer.epochs: {int: [2, 9]}")
    plan = Plan.load(sweeps.write(tmp_path, text.replace("trials: 3", f"trials: 3\nseeds: {seeds}")))
    return plan, open_study(plan, "tiny", None, print)


def told(plan, study, epochs, value):
    """The trial of so many epochs that tells the same value of each, and whether it was to be given up after each."""
    study.enqueue_trial({"trainer.learning_rate": 0.001, "trainer.epochs": epochs})
    while (trial := Trial(plan, study.ask(), study_folder("tiny"), ())).epochs != epochs:  # the base comes first
        study.tell(trial.trial, state=optuna.trial.TrialState.FAIL)
    given_up = []
    for _ in range(plan.study.seeds):
        for epoch in range(1, epochs + 1):
            trial.report({"trainer/epoch": epoch, "best/val_mAP": value})
            given_up.append(trial.pruned)
        trial._done.append([value])
    return trial, given_up


@pytest.mark.parametrize("seeds", [1, 3])
def test_every_epoch_of_every_run_is_reported_and_trials_are_compared_at_the_same_one(tmp_path, seeds):
    plan, study = begun(tmp_path, seeds=seeds)
    for epochs in LENGTHS:
        trial, _ = told(plan, study, epochs, 50.0)
        steps = list(study.trials[trial.number].intermediate_values)
        assert steps == [9 * index + epoch for index in range(seeds) for epoch in range(1, epochs + 1)]
        row = list(csv.DictReader(io.StringIO(as_csv(study))))[trial.number]
        assert row["epoch"] == str(epochs)
        study.tell(trial.trial, 50.0)


@pytest.mark.parametrize("seeds", [1, 2])
@pytest.mark.parametrize("epochs", LENGTHS)
def test_a_worse_trial_is_given_up_at_any_epoch_but_its_last(tmp_path, seeds, epochs):
    plan, study = begun(tmp_path, seeds=seeds)
    study.pruner = build_pruner(PrunerConfig(startup=1, warmup=0), plan.most_epochs)
    good, _ = told(plan, study, 9, 50.0)
    study.tell(good.trial, 50.0)
    _, given_up = told(plan, study, epochs, 10.0)
    assert given_up == [True] * (seeds * epochs - 1) + [False]


@pytest.mark.parametrize("seeds", [1, 2])
def test_a_trial_that_goes_on_has_reported_what_its_finished_runs_have(tmp_path, seeds):
    plan, study = begun(tmp_path, seeds=seeds)
    study.pruner = build_pruner(PrunerConfig(startup=1, warmup=0), plan.most_epochs)
    other, _ = told(plan, study, 3, 50.0)
    study.tell(other.trial, 50.0)
    study.enqueue_trial({"trainer.learning_rate": 0.002, "trainer.epochs": 3})
    folder = Trial(plan, study.ask(), study_folder("tiny"), ()).begin()  # its run ends, and the study dies with it
    rows = [{"trainer/epoch": epoch, "train/loss": 1.0, "best/val_mAP": value} for epoch, value in ((1, 10), (2, 60), (3, 60))]
    (folder.path / "metrics.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    (folder.path / "summary.json").write_text('{"best/val_mAP": 60}')
    assert try_again(study, study.get_trials()[-1], "its process died", is_retry=True)
    trial = Trial(plan, study.ask(), study_folder("tiny"), ())
    assert (trial.begin() is None) == (seeds == 1)
    assert study.get_trials()[-1].intermediate_values == {1: 10, 2: 60, 3: 60}
    assert not trial.pruned  # though its first epoch is the worst: an earlier attempt had passed that


@pytest.mark.parametrize("damage", [
    {"trainer/epoch": None}, {"trainer/epoch": "2"}, {"trainer/epoch": -1}, {"best/val_mAP": "60"}, {"best/val_mAP": [60]},
])  # fmt: skip
def test_a_damaged_row_of_a_finished_run_is_not_reported(tmp_path, damage):
    plan, study = begun(tmp_path, seeds=1)
    trial = Trial(plan, study.ask(), study_folder("tiny"), ())
    folder = trial.begin()
    whole = [{"trainer/epoch": epoch, "train/loss": 1.0, "best/val_mAP": 10.0} for epoch in (1, 2)]
    damaged = {name: value for name, value in {**whole[1], **damage}.items() if value is not None}
    (folder.path / "metrics.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in (whole[0], damaged)))
    (folder.path / "summary.json").write_text('{"best/val_mAP": 10.0}')
    assert trial.begin() is None
    assert study.get_trials()[-1].intermediate_values == {1: 10.0}


@pytest.mark.parametrize("name", ["2024", "1e5", "true", "null"])
def test_a_name_that_reads_as_something_else_is_the_group_of_its_runs(tmp_path, name):
    plan = Plan.load(sweeps.write(tmp_path))
    folder = Trial(plan, open_study(plan, name, None, print).ask(), study_folder(name), ()).begin()
    assert folder.read_config().tracking.group == name


def test_hyperband_knows_the_longest_trial(tmp_path, monkeypatch):
    known = []
    monkeypatch.setattr("aevlp.sweeps.study.build_pruner", lambda config, epochs: known.append(epochs))
    begun(tmp_path, seeds=1)
    assert known == [9]
