"""The confirmation of a study on several machines: all stay until it is at its end, and none waits for one that has gone."""

from __future__ import annotations

import signal
import time
from types import SimpleNamespace

import optuna
import postgresql
import pytest
import sweep_runs as sweeps

from aevlp.owner import this_process
from aevlp.sweeps import runner
from aevlp.sweeps.confirmation import begin, find
from aevlp.sweeps.ledger import OWNER
from aevlp.sweeps.plan import Plan
from aevlp.sweeps.repeat import Repeat
from aevlp.sweeps.study import study_folder
from aevlp.sweeps.trial import Trial


@pytest.fixture
def trained(monkeypatch):
    """What this machine trains, in its order, without training."""
    made = sweeps.Trained()
    monkeypatch.setattr("aevlp.training.run.resume", made.resume)
    return made


class Other:
    """Another machine, which trains one run; `when` says what becomes of it after each second that this machine waits."""

    def __init__(self, patch, path, trained, number):
        self.plan, self.trained, self.waited, self.clock = Plan.load(path), trained, 0, time.monotonic()
        self.step, self.when = 1.0, {}
        study = sweeps.load()
        confirmation = begin(study, self.plan.study.confirmation, 1, self.plan.base_codes)
        self.study, kind = (study, Trial) if number is None else (confirmation.repeats, Repeat)
        asked = study.ask() if number is None else confirmation.next_run(is_searched=True)
        self.trial = kind(self.plan, asked, study_folder("tiny"), ())
        patch.setattr(runner, "time", SimpleNamespace(sleep=self.sleep, monotonic=lambda: self.clock))

    def sleep(self, seconds):
        assert seconds == runner.WAIT_SECONDS
        self.waited, self.clock = self.waited + 1, self.clock + self.step
        assert self.waited < 20
        self.when.get(self.waited, lambda: None)()

    def finish(self):
        config = self.plan.resolve(self.trial.words)
        self.study.tell(self.trial.trial, float(self.trained.value(config.trainer.learning_rate, self.trial.seeds[0])))

    def die(self):
        self.study._storage.set_trial_user_attr(self.trial.trial._trial_id, OWNER, {**this_process(), "started": 0})
        self.clock += runner.REAP_SECONDS


@pytest.fixture(params=["its last trial", "a run on a fresh seed"])
def other(request, tmp_path, monkeypatch, trained):
    """A machine that still trains when this one has nothing left to begin."""
    path = sweeps.write(tmp_path, sweeps.CONFIRMED)
    in_search = request.param == "its last trial"
    assert sweeps.run(path, "--trials", "7" if in_search else "8", "--no-confirm") == 0
    made = Other(monkeypatch, path, trained, None if in_search else 0)
    made.path = path
    return made


def test_a_machine_stays_while_another_trains_what_the_confirmation_needs(other, trained, capsys):
    other.when = {3: other.finish}
    assert sweeps.run(other.path) == 0
    assert other.waited == 3
    output = capsys.readouterr().out
    assert output.count("waiting for what other processes train") == 1
    assert "another process has the rest" not in output
    found = find(sweeps.load()).look()
    assert (found.lacking, found.first is None) == ([], False)
    fresh = [run for run in trained.runs if run[1] in sweeps.FRESH]
    assert len(set(trained.runs)) == len(trained.runs)
    assert len({rate for rate, _ in fresh}) == 4  # of the base and of the three leaders


def test_what_a_dead_machine_had_is_trained_here(other, trained, capsys):
    other.when = {2: other.die}
    assert sweeps.run(other.path) == 0
    assert other.waited == 3  # it was seen to be dead in the turn after
    assert "its process died" in capsys.readouterr().out
    assert find(sweeps.load()).look().lacking == []
    assert len([run for run in trained.runs if run[1] == 0]) == 8


def test_a_timeout_and_ctrl_c_end_the_wait_and_leave_its_run_to_the_other(other, trained, capsys):
    other.step = 60.0
    assert sweeps.run(other.path, "--timeout", "5") == 0
    assert other.waited == 6
    assert "the time is over" in capsys.readouterr().out
    other.when = {other.waited + 1: lambda: signal.raise_signal(signal.SIGINT)}
    assert sweeps.run(other.path) == 130
    assert other.study.get_trials()[other.trial.number].state == optuna.trial.TrialState.RUNNING


def test_without_a_confirmation_nobody_waits(other, capsys):
    assert sweeps.run(other.path, "--no-confirm") == 0
    assert other.waited == 0


def test_machines_share_a_confirmation_on_postgresql(tmp_path, trained, monkeypatch):
    study = sweeps.write(tmp_path, sweeps.CONFIRMED)
    with postgresql.server() as url:
        monkeypatch.setenv("AEVLP_RUNS", str(tmp_path / "one"))
        resume, left = trained.resume, 12  # of the 14 to 16 runs

        def die(path, trackers=(), places=None):
            nonlocal left
            left -= 1
            if left < 0:
                raise sweeps.Killed
            resume(path)

        monkeypatch.setattr("aevlp.training.run.resume", die)
        with pytest.raises(sweeps.Killed):
            sweeps.run(study, "--storage", url)
        monkeypatch.setattr("aevlp.training.run.resume", resume)
        monkeypatch.setenv("AEVLP_RUNS", str(tmp_path / "two"))
        repeats = find(sweeps.load(storage=url)).repeats
        (lost,) = repeats.get_trials(states=(optuna.trial.TrialState.RUNNING,))
        repeats._storage.set_trial_user_attr(lost._trial_id, OWNER, {**this_process(), "started": 0})
        assert sweeps.run(study, "--storage", url) == 0
        assert len(set(trained.runs)) == len(trained.runs)
        found = find(sweeps.load(storage=url)).look()
        assert (found.lacking, found.first is None) == ([], False)
        assert len(list((tmp_path / "two").glob("sweeps/tiny/trials/*"))) == len(trained.runs) - 12
