"""Which labels a review asks for first."""

import numpy as np
import pytest

from aevlp.review.orders import Beliefs, ask, complete, draw_photos

ORDERS = ("value", "confident", "random")


def beliefs(num_photos=30, num_classes=7, seed=0):
    numbers = np.random.default_rng(seed)
    observed = numbers.choice([-1, 0, 1], p=[0.1, 0.7, 0.2], size=(num_photos, num_classes)).astype(np.int8)
    model, labeler = numbers.random((2, num_photos, num_classes)).astype(np.float32)
    return Beliefs(observed, model, labeler)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("count", [0, 1, 50, 10_000])
def test_every_order_asks_for_unknown_labels_once_and_begins_alike_for_any_number(order, count):
    believed = beliefs()
    asked = list(zip(*map(np.ndarray.tolist, ask(believed, order, count)), strict=True))
    every = list(zip(*map(np.ndarray.tolist, ask(believed, order, 10**6)), strict=True))
    unknown = set(zip(*map(np.ndarray.tolist, np.nonzero(believed.observed == 0)), strict=True))
    assert len(set(asked)) == len(asked) == min(count, len(unknown))
    assert set(every) == unknown
    assert asked == every[:count]


def test_confident_is_by_the_mean_of_model_and_labeler():
    believed = beliefs()
    rows, columns = ask(believed, "confident", 100)
    means = (believed.model + believed.labeler)[rows, columns] / 2
    assert (np.diff(means) <= 0).all()


def test_value_asks_where_the_two_disagree_before_where_both_are_sure():
    observed, pseudo = np.zeros((3, 1), dtype=np.int8), np.array([[1], [1], [0]], dtype=np.int8)
    believed = Beliefs(observed, np.array([[0.98], [0.02], [0.02]]), np.array([[0.98], [0.98], [0.02]]), pseudo)
    assert ask(believed, "value", 1)[0].tolist() == [1]


def test_value_asks_for_what_training_takes_for_absent_and_is_likely_there():
    observed = np.zeros((3, 1), dtype=np.int8)
    model = np.array([[0.9], [0.5], [0.1]])
    assert ask(Beliefs(observed, model, None), "value", 3)[0].tolist() == [0, 1, 2]
    taken = Beliefs(observed, model, model, np.array([[1], [0], [1]], dtype=np.int8))
    assert ask(taken, "value", 3)[0].tolist() == [2, 1, 0]


def test_value_asks_for_the_class_that_few_photos_are_known_to_hold():
    observed = np.array([[1, 0], [1, 0], [1, 0], [0, 1], [0, 0]], dtype=np.int8)
    even = np.full(observed.shape, 0.5)
    rows, columns = ask(Beliefs(observed, even, None), "value", 1)
    assert columns.tolist() == [1]
    assert rows.tolist() == [0]


def test_value_asks_about_many_photos_before_much_about_one():
    model = np.full((20, 10), 0.3)
    model[0] = 0.5  # nothing is sure of this one: by entropy alone it would take up the first ten places
    rows, _ = ask(Beliefs(np.zeros((20, 10), dtype=np.int8), model, None), "value", 10)
    assert (rows == 0).sum() <= 3
    assert len(set(rows.tolist())) >= 6


def test_chance_hangs_on_the_seed_alone():
    first, second = beliefs(), Beliefs(beliefs().observed, np.zeros((30, 7)), None)
    assert np.array_equal(ask(first, "random", 40, seed=3), ask(second, "random", 40, seed=3))
    assert not np.array_equal(ask(first, "random", 40, seed=3), ask(first, "random", 40, seed=4))


def test_to_complete_photos_is_to_ask_for_all_that_is_unknown_of_them():
    believed = beliefs()
    photos = draw_photos(np.arange(30), 4, seed=1)
    rows, columns = complete(believed, photos)
    assert rows.tolist() == sorted(rows.tolist())
    known = believed.observed.copy()
    known[rows, columns] = 1
    assert (known[photos] != 0).all()
    assert len(rows) == (believed.observed[photos] == 0).sum()
