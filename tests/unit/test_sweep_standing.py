"""Who can still win on fresh seeds: what the rule promises, on random figures."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import optuna
import pytest
from scipy import stats

from aevlp.sweeps.confirmation import begin
from aevlp.sweeps.ledger import CONFIRMS, RETRY_OF, ROUND, RUNS, SURPLUS, ended_for_good, try_again
from aevlp.sweeps.standing import Row, Spread, Standing, stand
from aevlp.sweeps.study_file import ConfirmConfig
from aevlp.sweeps.verdict import describe_others

TRIALS = (4, 0, 7, 2, 9)
BASE = 0


def figures(seed, noise=1.0):
    """A value for each trial and fresh seed: settings differ by about 1, seeds by `noise`."""
    rng = np.random.default_rng(seed)
    return rng.normal(50, 1, (len(TRIALS), 1)) + rng.normal(0, noise, (len(TRIALS), 4))


def settle(values, seeds, order=None, sign=1):
    """Train what is lacking until nothing is; `order` shuffles what is trained first. Returns the end and the runs."""
    known = {number: {} for number in TRIALS}
    while lacking := stand(known, seeds, base=BASE, searched=50.0, sign=sign).lacking:
        number, index = lacking[0 if order is None else order.integers(len(lacking))]
        assert index not in known[number]
        known[number][index] = values[TRIALS.index(number)][index]
    return stand(known, seeds, base=BASE, searched=50.0, sign=sign), known


@pytest.mark.parametrize("seed", range(20))
def test_the_winner_has_the_best_mean_of_all_that_had_every_seed_and_who_was_dropped_was_worse_than_chance(seed):
    values = figures(seed, noise=(0.1, 1.0)[seed % 2])
    found, known = settle(values, 4)
    assert sorted(row.trial for row in found.rows) == sorted(TRIALS)
    assert len(known[BASE]) == 4
    assert found.first.mean == max(row.mean for row in found.rows if len(row.values) == 4)
    for row in found.rows:
        assert len(row.values) == 4 or row.out == f"out after {len(row.values)} of 4 seeds"
        assert len(known[row.trial]) == len(row.values)  # nothing was trained in vain
        mine = values[TRIALS.index(row.trial)][: len(row.values)]
        assert row.values == tuple(mine)
    alike = [row for row in found.rows if not row.out]
    assert all(found.first.mean - row.mean <= found.margin for row in alike)
    assert all(found.first.mean - row.mean > found.margin for row in found.rows if row.out == "out after 4 of 4 seeds")


@pytest.mark.parametrize("seed", range(10))
def test_the_order_in_which_runs_end_changes_nothing(seed):
    values = figures(seed)
    once, _ = settle(values, 3)
    again, _ = settle(values, 3, np.random.default_rng(seed))
    assert again == once


def test_who_hangs_on_its_seed_wins_neither_over_the_base_nor_over_who_was_dropped_for_it():
    """As GR on digits: one seed at 98, the others at 75 to 98, beside a base that keeps within a tenth."""
    values = np.array([[96.0, 96.1, 95.9], [95.4, 95.5, 95.3], [98.0, 75.0, 98.2], [90.0, 90.0, 90.0], [90.1, 90.0, 90.2]])
    found, known = settle(values, 3)
    assert (found.first.trial, found.first.mean) == (TRIALS[0], 96.0)
    assert [row.trial for row in found.rows if not row.out][:2] == [TRIALS[0], BASE]
    assert stand({**known, TRIALS[0]: {0: 96.0}}, 3, base=BASE, searched=95.4, sign=1).lacking == [(TRIALS[0], 1)]


def test_small_is_good_where_the_objective_says_so():
    values = figures(3)
    large, _ = settle(values, 3)
    known = {number: dict(enumerate(-values[i, :3])) for i, number in enumerate(TRIALS)}
    small = stand(known, 3, base=BASE, searched=-50.0, sign=-1)
    assert [(row.trial, row.out) for row in small.rows] == [(row.trial, row.out) for row in large.rows]


def test_the_margin_is_that_of_students_t_test():
    rng = np.random.default_rng(1)
    first, second = rng.normal(size=(2, 6))
    spread = Spread.of([first.tolist(), second.tolist(), [9.0]])
    assert spread.freedom == 10
    shift = spread.margin(6) - (first.mean() - second.mean())
    assert stats.ttest_ind(first + shift, second).pvalue == pytest.approx(0.05, abs=1e-12)
    alone = Spread.of([first.tolist()])
    low, high = stats.t.interval(0.95, 5, first.mean(), first.std(ddof=1) / math.sqrt(6))
    assert 2 * alone.half(6) == pytest.approx(high - low, rel=1e-12)
    assert Spread.of([[1.0], []]) is None


def test_what_a_seed_does_to_all_settings_tells_none_from_another():
    first, second, common = np.random.default_rng(2).normal(size=(3, 6))
    apart = Spread.paired([first, second])
    shift = apart.margin(6) - (first - second).mean()
    assert stats.ttest_rel(first + shift, second).pvalue == pytest.approx(0.05, abs=1e-12)
    again = Spread.paired([first + 100 * common, second + 100 * common])
    assert again.freedom == apart.freedom == 5
    assert again.value == pytest.approx(apart.value, rel=1e-9)
    assert Spread.paired([[1.0, 2.0]]) is Spread.paired([[1.0], [2.0]]) is None


def test_seeds_that_move_all_alike_keep_nobody_who_is_worse_on_each():
    rng = np.random.default_rng(4)
    common, noise = rng.normal(0, 5, 3), rng.normal(0, 0.1, (2, 3))
    known = {number: dict(enumerate(50 + common + noise[number] - number)) for number in (0, 1)}
    found = stand(known | {2: dict(enumerate(50.02 + common))}, 3, base=0, searched=None, sign=1)
    assert [(row.trial, bool(row.out)) for row in found.rows] == [(2, False), (0, False), (1, True)]
    assert found.spread.value > 1


def test_who_fails_cannot_win_and_if_all_do_nobody_does():
    known = {0: {0: 1.0, 1: 2.0}, 1: {0: 2.0, 1: None}, 2: {0: 1.5, 1: 2.1}}
    found = stand(known, 2, base=0, searched=1.5, sign=1)
    assert [(row.trial, row.out) for row in found.rows] == [(2, ""), (0, ""), (1, "its run failed")]
    nobody = stand({0: {0: None}, 1: {0: None}}, 1, base=0, searched=1.0, sign=1)
    assert (nobody.first, nobody.lacking) == (None, [])


def test_one_seed_and_trials_of_several_tell_no_spread_and_drop_nobody():
    found = stand({0: {0: 1.0}, 1: {0: 50.0}}, 1, base=0, searched=None, sign=1)
    assert (found.spread, found.first.trial, [row.out for row in found.rows]) == (None, 1, ["", ""])


def searched(*values, study=None):
    """A study of trials with these values, each of which is its setting, too; or `study` with these as well."""
    study = study or optuna.create_study(study_name="made", direction="maximize")
    for value in values:
        study.enqueue_trial({"x": value})
        trial = study.ask()
        study.tell(trial, trial.suggest_float("x", 0, 9))
    return study


def test_of_processes_that_want_the_same_run_one_begins_it():
    study = searched(1.0, 2.0, 3.0)
    one, other = (begin(study, ConfirmConfig(best=2, seeds=2), 1) for _ in range(2))
    first = one.next_run(is_searched=True)
    assert first.user_attrs == {CONFIRMS: 0, ROUND: 0, "set": []}
    other.repeats.enqueue_trial({}, user_attrs=first.user_attrs)  # both had looked before either wrote
    second = other.next_run(is_searched=True)
    assert second.user_attrs[ROUND] == 1
    assert one.next_run(is_searched=True) is None
    assert other.next_run(is_searched=True) is None  # nothing more before the base is whole
    twins = [trial for trial in one.repeats.trials if SURPLUS in trial.user_attrs]
    assert [(trial.state.name, trial.user_attrs[ROUND]) for trial in twins] == [("FAIL", 0)]
    for trial in (first, second):
        one.repeats.tell(trial, 1.0)
    leaders = [one.next_run(is_searched=True), other.next_run(is_searched=True)]
    assert [(trial.user_attrs[CONFIRMS], trial.user_attrs[ROUND]) for trial in leaders] == [(2, 0), (1, 0)]
    assert one.num_done == 2


@pytest.mark.parametrize(
    ("later", "leaders"), [((), (3, 2, 1)), ((3.5,), (3, 4, 2)), ((5.0, 6.0), (5, 4, 3)), ((5, 6, 7), (6, 5, 4))]
)
def test_what_was_queued_for_a_leader_is_trained_only_while_it_leads(later, leaders):
    study = searched(1.0, 2.0, 3.0, 4.0)
    confirmation = begin(study, ConfirmConfig(best=3, seeds=2), 1)
    for _ in range(2):
        confirmation.repeats.tell(confirmation.next_run(is_searched=True), 1.0)
    first = confirmation.next_run(is_searched=True)  # those of the others are queued behind it
    assert try_again(confirmation.repeats, confirmation.repeats.trials[first.number], "stopped", is_retry=False)
    searched(*later, study=study)
    begun = []
    while (run := confirmation.next_run(is_searched=True)) is not None:
        begun.append((run.user_attrs[CONFIRMS], run.user_attrs.get(RETRY_OF)))
        confirmation.repeats.tell(run, 1.0)
        if len(begun) == 3:
            break
    assert {number for number, _ in begun} == set(leaders)
    assert [retry for number, retry in begun if number == 3] == [first.number] * (3 in leaders)  # it goes on from its checkpoint
    assert len(ended_for_good(confirmation.repeats.trials)) == 2 + 3


def test_a_run_that_was_begun_goes_on_from_its_checkpoint_though_it_was_not_wanted_for_a_while():
    study = searched(1.0, 2.0, 3.0, 4.0)
    confirmation = begin(study, ConfirmConfig(best=3, seeds=2), 1)
    for _ in range(2 + 3):  # the base, and the leaders' first seed
        confirmation.repeats.tell(confirmation.next_run(is_searched=True), 1.0)
    begun = confirmation.next_run(is_searched=True)
    begun.set_user_attr(RUNS, ["run-1"])
    assert try_again(confirmation.repeats, confirmation.repeats.trials[begun.number], "stopped", is_retry=False)
    searched(3.5, study=study)  # a leader more, which lacks its first seed
    seen = []
    while (run := confirmation.next_run(is_searched=True)) is not None:
        seen.append((run.user_attrs[CONFIRMS], run.user_attrs[ROUND], run.user_attrs.get(RUNS)))
        confirmation.repeats.tell(run, 1.0)
    assert seen[0] == (4, 0, None)
    assert (begun.user_attrs[CONFIRMS], 1, ["run-1"]) in seen


def test_one_setting_is_confirmed_once_however_often_it_was_tried():
    study = searched(1.0, 3.0, 3.0, 1.0, 2.0, 3.0)
    confirmation = begin(study, ConfirmConfig(best=2, seeds=1), 1)
    confirmation.repeats.tell(confirmation.next_run(is_searched=True), 1.0)
    assert confirmation.look().lacking == [(1, 0), (4, 0)]


@pytest.mark.parametrize(
    ("rows", "lacking", "said"),
    [
        ([], [], "not confirmed yet"),  # the base has not ended, so nobody knows what is lacking
        ([Row(0, (1.0,)), Row(1, ())], [(1, 0)], "not confirmed yet"),
        ([Row(1, (90.0,), "its run failed"), Row(0, (30.0,), "out after 1")], [], "no trial came through all fresh seeds"),
        ([Row(0, (30.0, 31.0, 32.0))], [], "there is no other trial to compare it with"),
        ([Row(1, (90.0,) * 3), Row(0, (30.0,), "out after 1 of 3 seeds")], [], "every other one is worse than chance explains"),
        ([Row(1, (90.0,) * 3), Row(0, (89.0,) * 3)], [], "trial 0 cannot be told from it"),
    ],
)  # fmt: skip
def test_what_is_said_of_the_others_is_what_is_known(rows, lacking, said):
    standing = Standing(rows, lacking, None, math.inf)
    assert said in describe_others(SimpleNamespace(look=lambda: standing))
