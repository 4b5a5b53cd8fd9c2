"""The leaders of a study on fresh seeds: which they are, what is trained and what is said, and that a kill changes nothing."""

from __future__ import annotations

import csv
import re

import numpy as np
import optuna
import pytest
import sweep_runs as sweeps

from aevlp.cli import main
from aevlp.owner import this_process
from aevlp.reporting.report import report_data
from aevlp.sweeps.confirmation import find
from aevlp.sweeps.ledger import OWNER
from aevlp.sweeps.study import study_folder

CONFIRMED, FRESH = sweeps.CONFIRMED, sweeps.FRESH


@pytest.fixture
def trained(monkeypatch):
    """What is trained, in its order, without training."""
    made = sweeps.Trained()
    monkeypatch.setattr("aevlp.training.run.resume", made.resume)
    return made


def rates(name="tiny"):
    trials = [trial for trial in sweeps.load(name).trials if trial.params]
    return {trial.number: float(f"{trial.params['trainer.learning_rate']:.4g}") for trial in trials}


def said(capsys):
    return re.sub(r"\s+", " ", capsys.readouterr().out)


def test_the_base_comes_first_then_the_trials_then_the_leaders_and_the_best_mean_is_taken(tmp_path, trained, capsys):
    assert sweeps.run(sweeps.write(tmp_path, CONFIRMED)) == 0
    by_trial, values = rates(), {trial.number: trial.value for trial in sweeps.load().trials}
    base = by_trial[0]
    assert trained.runs[:4] == [(base, 0), (base, 100), (base, 101), (by_trial[1], 0)]
    assert sorted(rate for rate, seed in trained.runs if seed == 0) == sorted(by_trial.values())
    leaders = sorted((number for number in values if number), key=lambda number: -values[number])[:3]
    fresh = [run for run in trained.runs[4:] if run[1] != 0]
    assert {rate for rate, _ in fresh} == {by_trial[number] for number in leaders}
    assert [seed for _, seed in fresh] == [100] * 3 + [101] * (len(fresh) - 3)
    assert len(set(trained.runs)) == len(trained.runs)
    whole = [by_trial[number] for number in [0, *leaders] if (by_trial[number], 101) in trained.runs]
    winner = max(whole, key=trained.mean)
    output = said(capsys)
    assert "8 trials, 0 of them done, then at most 8 runs on fresh seeds to confirm the best" in output
    spread = np.std([trained.value(base, seed) for seed in (0, *FRESH)], ddof=1)
    noise = f"3 runs of the base differ by {spread:.1f} (standard deviation): differences below"
    assert output.index(noise) < output.index("trial 1 complete")
    assert main(["sweep", "best", "tiny"]) == 0
    number = next(number for number, rate in by_trial.items() if rate == winner)
    best = said(capsys)
    assert f"best trial {number}: best/val_mAP {trained.mean(winner):.2f} ± " in best
    assert f"on 2 fresh seeds, by full labels; {values[number]:.2f} in the search" in best
    target = tmp_path / "best.yaml"
    assert main(["sweep", "best", "tiny", "--save", str(target)]) == 0
    head = target.read_text().splitlines()
    assert head[0].startswith(f"# Trial {number} of study tiny, its best by validation: best/val_mAP {trained.mean(winner):.2f} ")
    assert head[1].removeprefix("#   ") in best
    capsys.readouterr()
    assert main(["sweep", "show", "tiny"]) == 0
    shown = said(capsys)
    assert "best/val_mAP on fresh seeds, by full labels of validation" in shown
    assert noise in shown
    rows = list(csv.DictReader((study_folder("tiny") / "confirmed.csv").open()))
    assert (int(rows[0]["trial"]), rows[0]["verdict"]) == (number, "first")
    for row in rows:
        assert f"{row['trial']} {float(row['mean']):.2f} ± {float(row['half']):.2f} {row['seeds']}" in shown
    (told,) = report_data([study_folder("tiny")])["studies"]
    assert [(row["trial"], row["verdict"]) for row in told["confirmed"]] == [(int(row["trial"]), row["verdict"]) for row in rows]
    assert told["problems"] == []


def test_who_cannot_win_any_more_is_trained_no_more(tmp_path, trained, capsys):
    trained.noise = 0.01
    assert sweeps.run(sweeps.write(tmp_path, CONFIRMED)) == 0
    fresh = [seed for _, seed in trained.runs if seed]
    assert (fresh.count(100), fresh.count(101)) == (4, 2)  # of the base and of the first
    assert "every other one is worse than chance explains" in said(capsys)
    assert main(["sweep", "show", "tiny"]) == 0
    shown = said(capsys)
    assert (shown.count("out after 1 of 2 seeds"), shown.count("out after 2 of 2 seeds")) == (2, 1)  # the base has all its seeds


def test_the_same_command_trains_nothing_twice_and_more_trials_only_new_leaders(tmp_path, trained):
    study = sweeps.write(tmp_path, CONFIRMED)
    assert sweeps.run(study) == 0
    before = list(trained.runs)
    assert sweeps.run(study) == 0
    assert trained.runs == before
    assert sweeps.run(study, "--trials", "20") == 0
    assert len(set(trained.runs)) == len(trained.runs)
    assert len(sweeps.load().trials) == 20
    assert not find(sweeps.load()).look().lacking


def verdict(study):
    """What was chosen, by settings: a killed trial has another number."""
    by_trial = rates(study)
    return [(by_trial[row.trial], row.values, row.out) for row in find(sweeps.load(study)).look().rows]


def bury(study):
    """Let the process of what still runs be dead."""
    for book in (sweeps.load(study), find(sweeps.load(study)).repeats if find(sweeps.load(study)) else None):
        for trial in book.get_trials(states=(optuna.trial.TrialState.RUNNING,)) if book is not None else []:
            book._storage.set_trial_user_attr(trial._trial_id, OWNER, {**this_process(), "started": 0})


def test_a_study_killed_at_any_point_chooses_as_if_it_had_not_been(tmp_path, trained, monkeypatch):
    text = CONFIRMED.replace("trials: 8", "trials: 4").replace("best: 3", "best: 2")
    whole, written = sweeps.write(tmp_path, text, "whole"), 0
    append = optuna.storages.journal.JournalFileBackend.append_logs

    def count(self, logs):
        nonlocal written
        written += 1
        append(self, logs)

    monkeypatch.setattr(optuna.storages.journal.JournalFileBackend, "append_logs", count)
    assert sweeps.run(whole) == 0
    wanted, total = verdict("whole"), written
    for last in range(8, total - 8, total // 8):
        left, runs_before = last, len(trained.runs)

        def die(self, logs):
            nonlocal left
            left -= 1
            if left < 0:
                raise sweeps.Killed
            append(self, logs)

        name = f"killed{last}"
        study = sweeps.write(tmp_path, text, name)
        monkeypatch.setattr(optuna.storages.journal.JournalFileBackend, "append_logs", die)
        with pytest.raises(sweeps.Killed):
            sweeps.run(study)
        monkeypatch.setattr(optuna.storages.journal.JournalFileBackend, "append_logs", append)
        bury(name)
        assert sweeps.run(study) == 0
        assert verdict(name) == wanted
        runs = trained.runs[runs_before:]
        assert len(set(runs)) == len(runs), last


def test_a_run_on_a_fresh_seed_that_fails_takes_its_trial_out(tmp_path, trained, capsys):
    trained.failing = (101,)
    assert sweeps.run(sweeps.write(tmp_path, CONFIRMED.replace("best: 3", "best: 1"))) == 0
    assert "not confirmed: no trial came through all fresh seeds, so this is the best of the search" in said(capsys)
    assert main(["sweep", "best", "tiny"]) == 0
    assert f"best trial {sweeps.load().best_trial.number}:" in said(capsys)


@pytest.mark.parametrize("how", [["--no-confirm"], []])
def test_a_study_without_confirmation_is_as_before_and_may_be_confirmed_later(tmp_path, trained, capsys, how):
    study = sweeps.write(tmp_path, CONFIRMED if how else CONFIRMED.replace("{best: 3, seeds: 2}", "off"))
    assert sweeps.run(study, *how) == 0
    assert {seed for _, seed in trained.runs} == {0}
    assert "fresh" not in said(capsys)
    assert not (study_folder("tiny") / "confirmed.csv").exists()
    for words in (["show", "tiny"], ["best", "tiny"]):
        assert main(["sweep", *words]) == 0
        assert "fresh" not in said(capsys)
    assert report_data([study_folder("tiny")])["studies"][0]["confirmed"] == []
    assert sweeps.run(sweeps.write(tmp_path, CONFIRMED)) == 0
    assert {seed for _, seed in trained.runs} == {0, *FRESH}


def test_fewer_trials_than_leaders_and_none_that_is_complete(tmp_path, trained, capsys):
    assert sweeps.run(sweeps.write(tmp_path, CONFIRMED), "--trials", "2") == 0
    assert sorted(seed for _, seed in trained.runs) == [0, 0, 100, 100, 101, 101]
    trained.failing = (0,)
    assert sweeps.run(sweeps.write(tmp_path, CONFIRMED, "none"), "--trials", "2") == 1
    assert "no trial came to its end" in capsys.readouterr().err
    assert len(trained.runs) == 6


def test_a_dry_run_counts_the_runs_on_fresh_seeds(tmp_path, trained, monkeypatch, capsys):
    from aevlp.training.estimate import Estimate

    counted = []
    monkeypatch.setattr(Estimate, "add", lambda self, title, config, runs: counted.append(runs))
    monkeypatch.setattr(Estimate, "rehearsal", lambda self, title, config: None)
    study = sweeps.write(tmp_path, CONFIRMED)
    for words, left in ((["--trials", "3"], 3 + 6), ([], 8 + 8), (["--no-confirm"], 8)):
        assert sweeps.run(study, "--dry-run", *words) == 0
        assert counted.pop() == left
    assert "at most 6 runs on fresh seeds, 2 of the base and of each of the 2 best others" in said(capsys)
    assert sweeps.run(study, "--trials", "1") == 0
    assert sweeps.run(study, "--dry-run") == 0
    assert counted.pop() == 7 + 6
    assert sweeps.run(study) == 0
    assert sweeps.run(study, "--dry-run") == 0
    assert counted == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("{best: 0}", "tiny.yaml:10: confirm.best: "),
        ("{seeds: -1}", "tiny.yaml:10: confirm.seeds: "),
        ("{seed: 3}", "tiny.yaml:10: confirm.seed: unknown key"),
        ("{best: 1.5}", "tiny.yaml:10: confirm.best: "),
        ("3", "tiny.yaml:10: confirm: "),
        ("{best: 2}\nobjective: [best/val_mAP, train/loss]", "a front of several has no first; set confirm: off"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(tmp_path, capsys, settings, message):
    assert sweeps.run(sweeps.write(tmp_path, CONFIRMED.replace("{best: 3, seeds: 2}", settings))) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert message in line
    assert not study_folder("tiny").exists()


def test_what_is_damaged_of_a_confirmation_is_told_in_one_line(tmp_path, trained, capsys):
    assert sweeps.run(sweeps.write(tmp_path, CONFIRMED), "--trials", "2") == 0
    journal = study_folder("tiny") / "journal.log"
    whole = journal.read_text()
    for wrong in (('"confirms":1', '"confirms":77'), ('"best":3', '"best":0'), ('"confirms":1', '"confirms":"x"')):
        assert wrong[0] in whole
        journal.write_text(whole.replace(*wrong))
        for go in (lambda: main(["sweep", "best", "tiny"]), lambda: sweeps.run(str(tmp_path / "tiny.yaml"), "--trials", "2")):
            capsys.readouterr()
            assert go() == 1
            (line,) = capsys.readouterr().err.strip().splitlines()
            assert "restore its storage from a copy" in line


def test_runs_that_are_left_are_counted_whoever_leads(tmp_path, trained, monkeypatch):
    from aevlp.training.estimate import Estimate

    path = sweeps.write(tmp_path, CONFIRMED)
    assert sweeps.run(path) == 0
    counted: list[int] = []
    monkeypatch.setattr(Estimate, "add", lambda self, title, config, runs: counted.append(runs))
    monkeypatch.setattr(Estimate, "rehearsal", lambda self, title, config: None)
    assert sweeps.run(path, "--trials", "20", "--dry-run") == 0
    done = len(trained.runs)
    assert counted == [12 + 6]  # trials, and two seeds of three leaders: the base has had its own
    assert sweeps.run(path, "--trials", "20") == 0
    assert len(trained.runs) - done <= 18


def test_a_stopped_confirmation_goes_on_with_those_who_lead_by_then(tmp_path, trained, capsys):
    study = sweeps.write(tmp_path, CONFIRMED)
    trained.stops_before = 8 + 2 + 2  # in the second run of the leaders, when three are queued
    assert sweeps.run(study) == 130
    trained.stops_before, done = None, len(trained.runs)
    capsys.readouterr()
    assert sweeps.run(study, "--no-confirm") == 0
    assert len(trained.runs) == done
    assert "the luckiest of all: `sweep run` without --no-confirm goes on with that" in said(capsys)
    assert sweeps.run(study, "--trials", "30") == 0
    by_trial = rates()
    told = {row.trial: row.values for row in find(sweeps.load()).look().rows}
    leaders = {rate for rate, seed in trained.runs[done:] if seed in FRESH}
    assert leaders <= {by_trial[number] for number in told}
    assert len(told) == 4
    assert len(set(trained.runs)) == len(trained.runs)
    most = int(re.search(r"30 trials, 8 of them done, then at most (\d+) runs", said(capsys)).group(1))
    assert len([seed for _, seed in trained.runs if seed in FRESH]) <= most
