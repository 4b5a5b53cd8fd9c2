"""Precision, recall and F1 at thresholds against scikit-learn; the best threshold against all there are."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score, precision_recall_fscore_support

from aevlp.metrics.thresholds import best_thresholds, quality_at, sigmoid

pytestmark = pytest.mark.processor

CASES = st.integers(0, 2**32 - 1)


def draw(seed, levels=6):
    """Labels and scores with many ties; class 0 has no positive, class 1 no negative."""
    random = np.random.default_rng(seed)
    targets = random.integers(0, 2, (25, 5))
    targets[:, 0], targets[:, 1] = 0, 1
    return targets, random.integers(0, levels, (25, 5)) / (levels - 1)


@given(CASES, st.sampled_from([0.0, 0.2, 0.35, 0.6, 1.0, 1.5]))
def test_quality_is_scikit_learns(seed, threshold):
    targets, scores = draw(seed)
    found = quality_at(targets, scores, threshold)
    predicted = scores >= threshold
    occurring = np.flatnonzero(targets.any(axis=0))
    assert np.isnan([found.precision[0], found.recall[0], found.f1[0]]).all()  # of a class without a positive nothing is known
    of_each = [values[occurring] for values in (found.precision, found.recall, found.f1)]
    for average, values, labels in ((None, of_each, occurring), ("macro", found.macro, occurring), ("micro", found.micro, None)):
        expected = precision_recall_fscore_support(targets, predicted, average=average, labels=labels, zero_division=0)[:3]
        np.testing.assert_allclose(np.stack(values), 100 * np.stack(expected))


@given(CASES)
def test_best_threshold_has_the_highest_f1_of_all(seed):
    targets, scores = draw(seed)
    found = best_thresholds(targets, scores)
    assert np.isnan(found[0])
    for j in range(1, targets.shape[1]):
        thresholds = np.append(np.unique(scores[:, j]), found[j])
        assigned = scores[:, j, None] >= thresholds
        *f1_of_all, f1_found = f1_score(
            np.broadcast_to(targets[:, j, None], assigned.shape), assigned, average=None, zero_division=0
        )
        assert f1_found == pytest.approx(max(f1_of_all), abs=1e-12)


def test_best_threshold_lies_midway_and_the_highest_of_equals_is_taken():
    scores = np.array([[0.9], [0.7], [0.5], [0.3], [0.1]])
    assert best_thresholds([[1], [1], [0], [0], [0]], scores) == pytest.approx(0.6)
    assert best_thresholds([[0], [0], [0], [0], [1]], scores) == pytest.approx(0.05)
    # {0.9} has precision 1 and recall 1/2; all down to 0.5, precision 2/3 and recall 1
    assert best_thresholds([[1], [0], [1], [0], [0]], scores) == pytest.approx(0.4)
    # F1 2/3 with one assigned, and with four of which two are right
    assert best_thresholds([[1], [0], [0], [1], [0]], scores) == pytest.approx(0.8)


def test_equal_scores_cannot_be_divided():
    assert best_thresholds([[1], [0], [1]], [[0.5], [0.5], [0.5]]) == pytest.approx(0.25)
    assert best_thresholds([[1], [0]], [[0.0], [0.0]]) == 0.0


def test_threshold_between_neighbouring_floats_still_divides_them():
    high = 0.5
    low = np.nextafter(high, 0)
    (threshold,) = best_thresholds([[1], [0]], [[high], [low]])
    assert high >= threshold > low


def test_sigmoid_tells_large_logits_apart_and_never_overflows():
    with np.errstate(all="raise"):
        values = sigmoid(np.array([-1e4, 0, 18, 20, 1e4], dtype=np.float32))
    assert values[1] == 0.5
    assert values[0] > 0
    assert values[2] < values[3] < 1


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="one shape"):
        quality_at(np.zeros((2, 3)), np.zeros((3, 3)), 0.5)
