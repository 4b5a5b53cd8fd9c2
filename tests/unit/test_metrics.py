"""Ranking metrics against a loop and scikit-learn; pseudo-label quality against counting entry by entry."""

import math

import numpy as np
import oracles
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from aevlp.metrics import (
    average_precision_per_class,
    known_label_quality,
    mean_average_precision,
    observed_average_precision_per_class,
    pseudo_label_quality,
    pseudo_positives_per_class,
)
from aevlp.metrics.thresholds import best_thresholds, quality_at, sigmoid

pytestmark = pytest.mark.processor

PROPERTY = settings(deadline=None, derandomize=True, max_examples=80)
NAMES = ("precision", "recall", "f1", "count")


@st.composite
def rankings(draw, levels=(2, 5, 10**6)):
    rows, classes = draw(st.integers(1, 25)), draw(st.integers(1, 5))
    numbers = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    targets = (numbers.random((rows, classes)) < draw(st.sampled_from([0.05, 0.3, 0.9]))).astype(np.float64)
    level = draw(st.sampled_from(levels))
    return targets, numbers.integers(0, level, targets.shape) / level * 8 - 4  # few levels: many ties; also below 0, above 1


@st.composite
def assignments(draw):
    shape = (draw(st.integers(1, 12)), draw(st.integers(1, 6)))
    numbers = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    targets = (numbers.random(shape) < draw(st.sampled_from([0.0, 0.3, 1.0]))).astype(np.int8)
    observed = np.zeros(shape, np.int8)
    for i in range(shape[0]):
        if targets[i].any() and numbers.random() > 0.2:
            observed[i, numbers.choice(np.flatnonzero(targets[i]))] = 1
    weights = draw(st.sampled_from([(0.3, 0.4, 0.3), (0.0, 0.9, 0.1), (0.5, 0.5, 0.0), (0.0, 1.0, 0.0)]))
    pseudo = numbers.choice([-1, 0, 1], shape, p=weights).astype(np.int8)  # also on observed entries, which must not count
    return pseudo, observed, targets


def expected_quality(pseudo, observed, targets):
    signs = {"positive": 1, "negative": -1}
    return {name: oracles.pseudo_quality(pseudo, observed, targets, sign) for name, sign in signs.items()}


@PROPERTY
@given(ranking=rankings())
def test_average_precision_equals_the_loop_and_scikit_learn(ranking):
    targets, scores = ranking
    found, as_published = (
        average_precision_per_class(targets, scores),
        average_precision_per_class(targets, scores, absent="zero"),
    )
    assert len(found) == len(as_published) == targets.shape[1]
    for j in range(targets.shape[1]):
        assert as_published[j] == pytest.approx(oracles.average_precision(targets[:, j], scores[:, j]), abs=1e-9)
        if targets[:, j].any():
            assert found[j] == as_published[j] == 100 * average_precision_score(targets[:, j], scores[:, j])  # to the last bit
        else:
            assert math.isnan(found[j])
    expected = sum(float(value) for value in as_published)
    assert mean_average_precision(targets, scores, absent="zero") == pytest.approx(expected / targets.shape[1], abs=1e-9)
    occurring = targets.any(axis=0).sum()
    mean = mean_average_precision(targets, scores)
    assert mean == pytest.approx(expected / occurring, abs=1e-9) if occurring else math.isnan(mean)


def test_mean_average_precision_of_a_worked_example():
    targets = np.array([[1, 0, 1], [0, 0, 1], [1, 0, 0], [0, 0, 0]])
    scores = np.array([[0.9, 0.1, 0.5], [0.8, 0.2, 0.5], [0.7, 0.3, 0.5], [0.6, 0.4, 0.1]])
    per_class = [
        100 * (1 / 1 + 2 / 3) / 2,
        math.nan,
        100 * 2 / 3,
    ]  # alternating; no positive; three tied scores, two of them hits
    assert list(average_precision_per_class(targets, scores)) == pytest.approx(per_class, abs=1e-9, nan_ok=True)
    found = mean_average_precision(targets, scores)
    assert isinstance(found, float)
    assert found == pytest.approx((per_class[0] + per_class[2]) / 2, abs=1e-9)
    assert mean_average_precision(targets, scores, absent="zero") == pytest.approx((per_class[0] + per_class[2]) / 3, abs=1e-9)


def test_where_no_class_has_a_positive_nothing_is_known_and_nothing_is_warned_of(recwarn):
    targets, scores = np.zeros((6, 3)), np.random.default_rng(0).random((6, 3))
    assert math.isnan(mean_average_precision(targets, scores))
    assert mean_average_precision(targets, scores, absent="zero") == 0.0
    assert not recwarn.list


def test_another_word_for_absent_is_refused():
    with pytest.raises(ValueError, match='absent must be "leave_out" or "zero", is \'skip\''):
        mean_average_precision(np.eye(2), np.eye(2), absent="skip")


@PROPERTY
@given(ranking=rankings(), seed=st.integers(0, 1000))
def test_where_every_class_occurs_the_mean_is_that_of_the_published_rule_to_the_bit(ranking, seed):
    targets, scores = ranking
    columns = np.arange(targets.shape[1])
    targets[np.random.default_rng(seed).integers(len(targets), size=len(columns)), columns] = 1
    published = 100 * np.array([average_precision_score(targets[:, j], scores[:, j]) for j in columns])
    assert mean_average_precision(targets, scores) == mean_average_precision(targets, scores, absent="zero") == published.mean()


@PROPERTY
@given(assignment=assignments(), k=st.integers(1, 6), seed=st.integers(0, 1000))
def test_ranks_of_known_labels_equal_counting(assignment, k, seed):
    pseudo, observed, targets = assignment
    known = np.where(targets * (np.random.default_rng(seed).random(targets.shape) < 0.5) > 0, 1, observed).astype(np.int8)
    known[(known == 0) & (pseudo < 0)] = -1  # known absences are classes like others
    logits = np.random.default_rng(seed).integers(-2, 3, targets.shape).astype(np.float32)  # many ties
    ranks = [
        1 + sum(logits[i, c] >= logits[i, j] for c in range(known.shape[1]) if known[i, c] <= 0)
        for i, j in zip(*np.nonzero(known > 0), strict=True)
    ]
    found = known_label_quality(logits, known)
    assert found["labels_per_image"] == pytest.approx((logits > 0).sum() / len(logits))
    assert ("known_rank" in found) == bool(ranks)
    if ranks:
        assert found["known_rank"] == pytest.approx(sum(ranks) / len(ranks))
        for number in (1, 3, 5):
            share = 100 * sum(rank <= number for rank in ranks) / len(ranks)
            assert found[f"known_recall_{number}"] == pytest.approx(share)


def test_many_images_are_ranked_in_parts(monkeypatch):
    numbers = np.random.default_rng(0)
    logits, observed = numbers.normal(size=(500, 20)), numbers.random((500, 20)) < 0.1
    whole = known_label_quality(logits, observed)
    monkeypatch.setattr("aevlp.metrics.known_labels.CHUNK", 90)
    assert known_label_quality(logits, observed) == whole


def test_agreement_is_f1_where_no_label_is_known():
    logits = np.array([[1.0, 1.0, -1.0], [1.0, -1.0, 1.0]])
    observed = np.array([[1, 0, 0], [0, 0, 0]])
    labeler = np.array([[1, 1, 1], [1, -1, 0]])  # at a known label, two in common, one more each
    assert known_label_quality(logits, observed, labeler)["agreement"] == pytest.approx(100 * 2 * 2 / (3 + 3))
    assert known_label_quality(logits, observed, (logits > 0) * 1)["agreement"] == 100
    assert "agreement" not in known_label_quality(logits * 0, observed, labeler * 0)  # nobody says anything
    assert "agreement" not in known_label_quality(logits, observed)


@st.composite
def knowledge(draw):
    """Full labels of photos, each with one at least, of which some are known; a class may occur nowhere."""
    shape = (draw(st.integers(1, 20)), draw(st.integers(1, 7)))
    numbers = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    targets = (numbers.random(shape) < draw(st.sampled_from([0.0, 0.3, 0.8]))).astype(np.int8)
    targets[np.arange(shape[0]), numbers.integers(draw(st.integers(1, shape[1])), size=shape[0])] = 1
    known = targets * (numbers.random(shape) < draw(st.sampled_from([0.0, 0.3, 1.0])))
    known[numbers.random(shape) < draw(st.sampled_from([0.0, 0.5]))] *= 0
    known -= ((targets == 0) & (numbers.random(shape) < 0.2)).astype(np.int8)
    return targets, known, numbers.random(shape)


@PROPERTY
@given(knowledge())
def test_a_perfect_classifier_scores_100(case):
    """By full labels always. By known ones, each is among as many classes as the photo has; what is not known may come first."""
    targets, known, noise = case
    logits, hundred = np.where(targets > 0, 1 + noise, -1 - noise), pytest.approx(100, abs=1e-9)
    assert mean_average_precision(targets, logits) == hundred
    quality = quality_at(targets, sigmoid(logits), 0.5)
    assert quality.micro == quality.macro == (hundred,) * 3
    assert quality_at(targets, sigmoid(logits), best_thresholds(targets, sigmoid(logits))).macro == (hundred,) * 3
    found = known_label_quality(logits, known, targets)
    assert found["labels_per_image"] == targets.sum() / len(targets)
    assert found.get("agreement", 100) == 100
    for number in (1, 3, 5):
        few = (targets.sum(axis=1) - (known > 0).sum(axis=1)) < number  # photos with fewer unknown labels than that
        assert known_label_quality(logits[few], known[few]).get(f"known_recall_{number}", 100) == 100
    if ((known > 0) == (targets > 0)).all():
        assert mean_average_precision(known, logits) == hundred
        assert found["known_recall_1"] == 100
        assert found["known_rank"] == 1


def test_a_positive_is_an_entry_equal_to_one():
    targets = np.array([[1.0, -1.0], [-1.0, 1.0], [0.0, 0.0], [1.0, -1.0]])
    scores = np.array([[0.1, 0.4], [0.2, 0.3], [0.3, 0.2], [0.4, 0.1]])
    assert mean_average_precision(targets, scores) == pytest.approx(mean_average_precision(targets == 1, scores), abs=1e-12)
    assert mean_average_precision(targets, scores) == pytest.approx(100 * ((1 + 2 / 4) / 2 + 1 / 2) / 2, abs=1e-9)


def test_scores_that_differ_only_in_float64_are_not_ties():
    targets = np.array([[1], [0], [1], [0]])
    scores = 0.5 + np.array([[3], [2], [1], [0]]) * 1e-12
    assert mean_average_precision(targets, scores) == pytest.approx(100 * (1 + 2 / 3) / 2, abs=1e-9)


@PROPERTY
@given(ranking=rankings(levels=(10**6,)), seed=st.integers(0, 1000))
def test_mean_average_precision_ignores_row_order_class_order_and_monotone_changes(ranking, seed):
    targets, scores = ranking
    numbers = np.random.default_rng(seed)
    rows, classes = numbers.permutation(len(scores)), numbers.permutation(scores.shape[1])
    expected = pytest.approx(mean_average_precision(targets, scores), abs=1e-9, nan_ok=True)
    assert mean_average_precision(targets[rows][:, classes], scores[rows][:, classes]) == expected
    assert mean_average_precision(targets, 1 / (1 + np.exp(-scores))) == expected


@PROPERTY
@given(assignment=assignments())
def test_pseudo_label_quality_equals_counting(assignment):
    found, expected = pseudo_label_quality(*assignment), expected_quality(*assignment)
    assert set(found) == set(expected)
    for sign, figures in expected.items():
        assert set(found[sign]) == set(NAMES)
        for name in NAMES:
            assert math.isfinite(found[sign][name])
            assert found[sign][name] == pytest.approx(figures[name], abs=1e-9)


def test_pseudo_label_quality_of_a_worked_example():
    targets = np.array([[1, 1, 1, 0, 0], [1, 0, 0, 0, 0]])
    observed = np.array([[1, 0, 0, 0, 0], [1, 0, 0, 0, 0]])
    pseudo = np.array([[1, 1, 0, 1, -1], [1, 1, 1, -1, 0]])
    found = pseudo_label_quality(pseudo, observed, targets)
    assert found["positive"] == pytest.approx({"precision": 25.0, "recall": 50.0, "f1": 100 / 3, "count": 4})
    assert found["negative"] == pytest.approx({"precision": 100.0, "recall": 100 / 3, "f1": 50.0, "count": 2})


def test_f1_of_perfect_pseudo_labels_is_100_not_50():
    targets, observed = np.array([[1, 1, 0]]), np.array([[1, 0, 0]])
    found = pseudo_label_quality(np.array([[0, 1, -1]]), observed, targets)
    for sign in ("positive", "negative"):
        assert found[sign] == pytest.approx({"precision": 100.0, "recall": 100.0, "f1": 100.0, "count": 1})


@pytest.mark.parametrize(
    ("pseudo", "targets", "sign", "count"),
    [
        (0, [[1, 1, 0]], "positive", 0),  # none assigned
        (0, [[1, 1, 0]], "negative", 0),
        (1, [[1, 0, 0]], "positive", 2),  # nothing left to find
        (-1, [[1, 1, 1]], "negative", 2),
        (-1, [[1, 0, 0]], "positive", 0),
        (1, [[1, 0, 0]], "negative", 0),
    ],
)
def test_empty_pseudo_labels_or_nothing_to_find_give_zero(pseudo, targets, sign, count):
    found = pseudo_label_quality(np.full((1, 3), pseudo, np.int8), np.array([[1, 0, 0]], np.int8), np.array(targets, np.int8))
    assert found[sign] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "count": count}


@PROPERTY
@given(seed=st.integers(0, 999))
def test_observed_labels_without_a_known_negative_are_judged_as_in_the_literature(seed):
    numbers = np.random.default_rng(seed)
    observed, scores = (numbers.random((30, 5)) < 0.2).astype(np.int8), numbers.random((30, 5))
    np.testing.assert_array_equal(
        observed_average_precision_per_class(observed, scores), average_precision_per_class(observed, scores)
    )


@PROPERTY
@given(seed=st.integers(0, 999))
def test_a_class_with_enough_known_negatives_is_judged_by_the_images_it_is_known_of(seed):
    numbers = np.random.default_rng(seed)
    observed, scores = numbers.integers(-1, 2, (40, 5)).astype(np.int8), numbers.random((40, 5))
    found = observed_average_precision_per_class(observed, scores)
    whole = average_precision_per_class(observed, scores)
    for j in range(5):
        known = observed[:, j] != 0
        alone = average_precision_per_class(observed[known][:, [j]], scores[known][:, [j]])[0]
        enough = (observed[:, j] < 0).sum() >= (observed[:, j] > 0).sum()
        assert found[j] == (alone if enough else whole[j])
    moved = np.where(observed == 0, numbers.random((40, 5)), scores)  # what is unknown does not count there
    enough = (observed < 0).sum(axis=0) >= (observed > 0).sum(axis=0)
    np.testing.assert_array_equal(observed_average_precision_per_class(observed, moved)[enough], found[enough])


@PROPERTY
@given(seed=st.integers(0, 999))
def test_pseudo_labels_count_where_nothing_is_known(seed):
    numbers = np.random.default_rng(seed)
    targets, observed = numbers.integers(0, 2, (20, 5)), numbers.integers(-1, 2, (20, 5))
    observed = np.where(observed == 0, 0, np.where(targets == 1, 1, -1))
    pseudo = numbers.integers(-1, 2, (20, 5))
    elsewhere = np.where(observed == 0, pseudo, numbers.integers(-1, 2, (20, 5)))
    assert pseudo_label_quality(elsewhere, observed, targets) == pseudo_label_quality(pseudo, observed, targets)
    unknown = (observed == 0).ravel()
    alone = [part.ravel()[unknown][None] for part in (pseudo, observed, targets)]
    assert pseudo_label_quality(*alone) == pseudo_label_quality(pseudo, observed, targets)
    first, second = (pseudo_positives_per_class(given, observed, targets) for given in (pseudo, elsewhere))
    for name, counts in first.items():
        np.testing.assert_array_equal(second[name], counts)
        assert counts.sum() <= unknown.sum()
