"""Which trials count, which are tried again, and that chance hangs on a trial's place alone."""

from __future__ import annotations

import functools
import subprocess
import sys
import time

import optuna
import pytest
from optuna.trial import TrialState

from aevlp.owner import LOST_SECONDS, is_dead, this_process
from aevlp.sweeps import ledger
from aevlp.sweeps.samplers import build_pruner, build_sampler
from aevlp.sweeps.study_file import ParameterConfig, PrunerConfig, StudyConfig


def new_study(**settings):
    space = {f"loss.p{i}": ParameterConfig(float=(0, 1)) for i in range(2)}
    config = StudyConfig(base="digits_gpr", space=space, **settings)
    directions = [objective.resolved_direction for objective in config.objective]
    return optuna.create_study(directions=directions, sampler=build_sampler(config))


def ask(study, **attributes):
    trial = study.ask()
    trial.suggest_float("x", 0, 1)
    for name, value in attributes.items():
        trial.set_user_attr(name, value)
    return trial


def test_a_dead_process_is_told_from_a_living_one_and_from_another_that_has_its_number():
    me = this_process()
    assert not is_dead(me, seen=0)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert is_dead({**me, "pid": ended.pid}, seen=time.time())
    assert is_dead({**me, "started": me["started"] - 100}, seen=time.time())
    assert is_dead({**me, "boot": "another"}, seen=time.time())
    elsewhere = {**me, "host": "another", "pid": 1}
    assert not is_dead(elsewhere, seen=time.time())
    assert is_dead(elsewhere, seen=time.time() - LOST_SECONDS - 1)


def test_the_trial_of_a_dead_process_fails_and_goes_on_with_its_values_at_most_twice(tmp_path):
    study, said = new_study(sampler="random"), []
    first = ask(study, owner={**this_process(), "started": 0}, runs=["run-1"])
    alive = ask(study, owner=this_process())
    for attempt in range(1, 4):
        assert ledger.reap(study, tmp_path, said.append, is_alone=False) == 1
        if attempt == 3:
            break
        again = study.ask()
        assert again.user_attrs["runs"] == ["run-1"]
        assert again.suggest_float("x", 0, 1) == first.params["x"]
        again.set_user_attr("owner", {**this_process(), "started": 0})
    assert [trial.state for trial in study.trials] == [TrialState.FAIL, TrialState.RUNNING, TrialState.FAIL, TrialState.FAIL]
    assert [trial.number for trial in ledger.ended_for_good(study.trials)] == [3]
    assert "tried 3 times, given up" in study.trials[3].user_attrs["reason"]
    assert study.trials[alive.number].state == TrialState.RUNNING
    assert said[-1] == "trial 3: its process died; given up"


def test_of_two_machines_that_find_a_dead_process_at_once_one_tries_its_trial_again(tmp_path, monkeypatch):
    study, said = new_study(sampler="random"), []
    ask(study, owner=this_process())

    def seen_by_both(owner, seen):
        ledger.try_again(study, study.trials[0], "its process died", is_retry=True)
        return True

    monkeypatch.setattr(ledger, "is_dead", seen_by_both)
    assert (ledger.reap(study, tmp_path, said.append, is_alone=False), said) == (0, [])
    assert [trial.state for trial in study.trials] == [TrialState.FAIL, TrialState.WAITING]


def test_a_trial_without_an_owner_is_left_alone_unless_nobody_else_is_there(tmp_path):
    study = new_study(sampler="random")
    study.ask()
    assert ledger.reap(study, tmp_path, print, is_alone=False) == 0
    assert ledger.reap(study, tmp_path, print, is_alone=True) == 1


def test_dying_between_queueing_a_retry_and_failing_its_trial_queues_it_once(tmp_path):
    study = new_study(sampler="random")
    trial = ask(study, owner={**this_process(), "started": 0})
    study.enqueue_trial(trial.params, user_attrs={ledger.RETRY_OF: 0, ledger.ATTEMPT: 1, ledger.RUNS: []})
    ledger.reap(study, tmp_path, print, is_alone=True)
    assert [trial.state for trial in study.trials] == [TrialState.FAIL, TrialState.WAITING]
    assert ledger.ended_for_good(study.trials) == []


def test_a_clean_stop_uses_up_no_retry():
    study = new_study(sampler="random")
    for number in range(5):
        trial = study.ask()
        trial.suggest_float("x", 0, 1)
        assert ledger.try_again(study, study.trials[number], "stopped", is_retry=False)
    assert study.trials[5].user_attrs[ledger.ATTEMPT] == 0


def test_of_several_machines_that_ask_at_once_the_last_gives_its_trial_back():
    study = new_study(sampler="random")
    for _ in range(3):
        ask(study)
    study.enqueue_trial({}, user_attrs={ledger.RETRY_OF: 0})
    assert [ledger.is_surplus(study.trials, number, wanted=2) for number in range(4)] == [False, False, True, False]


def test_what_was_queued_twice_is_tried_once_and_what_is_not_yet_marked_takes_no_place():
    study = new_study(sampler="random")
    for number in (0, 0, 1, 1, 2, 2):
        study.enqueue_trial({"x": number})
    for _ in range(6):
        study.ask()
    assert [ledger.is_surplus(study.trials, number, wanted=3) for number in range(6)] == [False, True] * 3
    study.enqueue_trial({"x": 0}, user_attrs={ledger.RETRY_OF: 0})
    assert not ledger.is_surplus(study.trials, study.ask().number, wanted=3)


def test_killed_while_it_chooses_a_trial_is_tried_again_with_all_it_was_queued_with(tmp_path):
    study = new_study(sampler="random")
    study.enqueue_trial({"a": 1, "b": 2})
    study.ask().suggest_categorical("a", [1, 2])
    ledger.reap(study, tmp_path, print, is_alone=True)
    again = study.ask()
    assert [again.suggest_categorical(name, [1, 2]) for name in "ab"] == [1, 2]


COUNT = {"cmaes": 12}  # of trials: it learns from six at once


@functools.cache
def draw(name, continued_at=None, stopped_at=None, killed_after=None):
    """What the trials of a study chose, the first three at random. Trial `stopped_at` is tried again.

    It is stopped when it has chosen, or its process dies after so many choices.
    """
    settings = {"sampler": {"name": name, "startup": 3}}
    study, number = new_study(**settings), 0
    while number < COUNT.get(name, 6):
        if number == continued_at:
            study.sampler = new_study(**settings).sampler
        trial, values = study.ask(), []
        is_stopped = number == stopped_at and ledger.RETRY_OF not in trial.user_attrs
        for i in range(killed_after if is_stopped and killed_after is not None else 3):
            is_choice = i == 1  # which CMA-ES does not know
            values.append(trial.suggest_categorical("c", [*range(9)]) / 9 if is_choice else trial.suggest_float(f"x{i}", 0, 1))
        if len(values) == 3:
            trial.set_user_attr(ledger.WORDS, [])
        if is_stopped:
            ledger.try_again(study, study.trials[trial.number], "stopped", is_retry=False)
            continue
        study.tell(trial, sum(values))
        number += 1
    return [tuple(ledger.params_of(trial).values()) for trial in ledger.ended_for_good(study.trials)]


NAMES = ["tpe", "gp", "random", "nsga2", "qmc", "cmaes"]


@pytest.mark.parametrize("name", NAMES)
def test_a_study_continued_by_another_process_draws_what_it_would_have_drawn(name):
    if name == "cmaes":
        pytest.importorskip("cmaes")
    once = draw(name)
    assert len(set(once)) == len(once)
    for number in (1, 4, 9):
        assert draw(name, continued_at=number) == once


@pytest.mark.parametrize("name", NAMES)
def test_a_trial_that_was_stopped_shifts_none_of_the_draws_after_it(name):
    if name == "cmaes":
        pytest.importorskip("cmaes")
    once = draw(name)
    for number in range(0, len(once), 2):
        assert draw(name, stopped_at=number) == once
        assert draw(name, stopped_at=number, continued_at=number + 1) == once


@pytest.mark.parametrize("name", ["tpe", "gp", "random", "nsga2", "cmaes"])
@pytest.mark.parametrize("choices", range(3))
def test_killed_while_it_chooses_a_trial_chooses_the_same_again(name, choices):
    if name == "cmaes":
        pytest.importorskip("cmaes")
    assert draw(name, stopped_at=3, killed_after=choices) == draw(name)


def test_a_retry_takes_nothing_over_from_hyperband_whose_bracket_may_be_another():
    study = new_study(sampler="random")
    trial = ask(study)
    study._storage.set_trial_system_attr(study.trials[trial.number]._trial_id, "completed_rung_0", 0.5)
    study._storage.set_trial_system_attr(study.trials[trial.number]._trial_id, "of a sampler", 3)
    trial.set_user_attr(ledger.WORDS, [])
    assert ledger.try_again(study, study.trials[trial.number], "stopped", is_retry=False)
    assert study.trials[-1].system_attrs.keys() & {"completed_rung_0", "of a sampler"} == {"of a sampler"}


def test_what_was_one_too_many_takes_no_place():
    study = new_study(sampler="random")
    places = []
    for surplus in (False, True, False, False):
        trial = ask(study, **({ledger.SURPLUS: True} if surplus else {}))
        places.append(ledger.place_of(study.trials, study.trials[trial.number]))
    assert places == [0, 1, 1, 2]


def test_pruners_give_up_the_worse_half_after_the_warm_up():
    for name, given_up in [("median", True), ("patient", True), ("none", False)]:
        config = PrunerConfig(name=name, startup=2, warmup=1)
        study = optuna.create_study(direction="maximize", pruner=build_pruner(config, epochs=4))
        for value in (10.0, 20.0, 1.0):
            trial = study.ask()
            pruned = []
            for epoch in (1, 2, 3, 4):
                trial.report(value - epoch * (value == 1.0), epoch)
                pruned.append(trial.should_prune())
            study.tell(trial, value)
        assert any(pruned) == given_up
        assert not pruned[0]
    assert type(build_pruner(PrunerConfig(name="hyperband"), epochs=8)).__name__ == "HyperbandPruner"
