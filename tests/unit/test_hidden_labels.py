"""What pseudo-labels are worth, estimated by hidden known labels: against loops, and against the truth where it is made."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aevlp.data.dataset import Split
from aevlp.labelers._forecast import Forecast, forecast
from aevlp.metrics import pseudo_label_quality
from aevlp.metrics.hidden_labels import Hidden, Worth, hide, weigh, worth
from aevlp.training.labels_worth import unknown_positives


def quantile(values, share):
    values = sorted(values)
    place = share * (len(values) - 1)
    low = math.floor(place)
    high = min(low + 1, len(values) - 1)
    return values[low] + (values[high] - values[low]) * (place - low)


def weigh_by_loops(scores, observed, column, total, bins=20, rounds=10, sure=0.3):
    """Weights and number of unknown positives, photo by photo."""
    count, classes = len(scores), len(scores[0])
    unknown = [(i, j) for i in range(count) for j in range(classes) if observed[i][j] == 0]
    everything = [scores[i][j] for i, j in unknown] + [scores[i][column[i]] for i in range(count)]
    edges = sorted({quantile(everything, k / bins) for k in range(bins)})

    def bin_of(score):
        return max(sum(edge <= score for edge in edges) - 1, 0)

    num_bins = len(edges)
    entries = [sum(bin_of(scores[i][j]) == b for i, j in unknown) for b in range(num_bins)]
    weights, given = [1.0] * count, total
    for _ in range(rounds):
        density = [
            sum(w for i, w in enumerate(weights) if bin_of(scores[i][column[i]]) == b) / sum(weights) for b in range(num_bins)
        ]
        if given is None:
            shares = [(sum(entries[b:]), sum(density[b:])) for b in range(num_bins)]
            total = min(labels / share for labels, share in shares if share > sure - 1e-12)
        probability, largest = [], 0.0
        for b in range(num_bins):
            largest = max(largest, min(1.0, total * density[b] / max(entries[b], 1)))
            probability.append(largest)
        weights = [sum(probability[bin_of(scores[i][j])] for j in range(classes) if observed[i][j] == 0) for i in range(count)]
    return weights, total


def worth_by_loops(weights, total, observed, column, told, untold):
    count, classes = len(observed), len(observed[0])
    recall = sum(w for i, w in enumerate(weights) if untold[i][column[i]] > 0) / sum(weights)
    labels = sum(told[i][j] > 0 and observed[i][j] == 0 for i in range(count) for j in range(classes))
    chance = 0.0
    for j in range(classes):
        rows = [i for i in range(count) if observed[i][j] == 0]
        share = sum(w for i, w in enumerate(weights) if column[i] == j) / sum(weights)
        chance += share * sum(told[i][j] > 0 for i in rows) / max(len(rows), 1)
    right = min(recall * total, labels)
    return recall, chance, labels, right / labels, 2 * right / (labels + total)


def scenes(count, classes=8, noise=0.5, seed=0, negatives=0):
    """Scores, observed, targets: one to four classes a photo; where there are more, each scores lower."""
    numbers = np.random.default_rng(seed)
    sizes = numbers.integers(1, 5, count)
    targets = (numbers.random((count, classes)).argsort(axis=1) < sizes[:, None]).astype(np.uint8)
    scores = targets * (2.5 - 0.2 * sizes[:, None]) + noise * numbers.standard_normal((count, classes))
    observed = np.zeros((count, classes), dtype=np.int8)
    observed[np.arange(count), (targets * numbers.random((count, classes))).argmax(axis=1)] = 1
    for i in range(count):
        absent = np.flatnonzero(targets[i] == 0)[:negatives]
        observed[i, absent] = -1
    return scores, observed, targets


def labels_of(scores, known, threshold):
    return ((scores >= threshold) & (known == 0)).astype(np.int8)


@pytest.mark.parametrize("total", [60.0, None])
@pytest.mark.parametrize("negatives", [0, 2])
def test_equal_to_loops(total, negatives):
    scores, observed, _ = scenes(40, negatives=negatives)
    _, hidden = hide(observed, 3, 40)
    weighed = weigh(scores, hidden, total)
    weights, found_total = weigh_by_loops(scores.tolist(), observed.tolist(), hidden.column.tolist(), total)
    np.testing.assert_allclose(weighed.weights, weights, rtol=1e-12)
    assert weighed.total == pytest.approx(found_total, rel=1e-12)
    told, untold = labels_of(scores, observed, 1.2), labels_of(scores, hidden.left, 1.2)
    found = worth(hidden, weighed, told, untold)
    expected = worth_by_loops(weights, found_total, observed.tolist(), hidden.column.tolist(), told.tolist(), untold.tolist())
    assert (found.recall, found.chance, found.labels, found.precision, found.f1) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("threshold", [1.2, 1.6, 2.0])
@pytest.mark.parametrize("told", [True, False])
def test_near_the_truth_where_photos_with_more_classes_are_harder(threshold, told):
    scores, observed, targets = scenes(4000)
    _, hidden = hide(observed, 0, 4000)
    weighed = weigh(scores, hidden, float(((targets == 1) & (observed == 0)).sum()) if told else None)
    labels = labels_of(scores, observed, threshold)
    found = worth(hidden, weighed, labels, labels_of(scores, hidden.left, threshold))
    truth = pseudo_label_quality(labels, observed, targets)["positive"]
    assert found.labels == truth["count"]
    assert 100 * found.recall == pytest.approx(truth["recall"], abs=3)
    assert 100 * found.precision == pytest.approx(truth["precision"], abs=5)
    # Each hidden label counting the same would say too much: that is what the weights are for.
    flat = 100 * (hidden.of_hidden(labels_of(scores, hidden.left, threshold)) > 0).mean()
    assert flat > truth["recall"] + 3


def test_without_a_mistake_all_is_known():
    _, observed, targets = scenes(300)
    scores = targets.astype(np.float64)
    _, hidden = hide(observed, 0, 300)
    unknown = (targets == 1) & (observed == 0)
    weighed = weigh(scores, hidden)
    assert weighed.total == pytest.approx(unknown.sum(), rel=1e-9)
    np.testing.assert_allclose(weighed.weights, unknown.sum(axis=1), atol=1e-9)
    found = worth(hidden, weighed, labels_of(scores, observed, 1), labels_of(scores, hidden.left, 1))
    assert (found.recall, found.precision, found.f1) == pytest.approx((1, 1, 1))
    assert not found.is_chance


@pytest.mark.parametrize(("noise", "is_chance"), [(100.0, True), (10.0, True), (0.5, False), (2.0, False)])
def test_blind_scores_are_chance(noise, is_chance):
    scores, observed, targets = scenes(2000, noise=noise)
    _, hidden = hide(observed, 0, 2000)
    threshold = np.quantile(scores, 0.8)
    told = labels_of(scores, observed, threshold)
    weighed = weigh(scores, hidden, float(((targets == 1) & (observed == 0)).sum()))
    found = worth(hidden, weighed, told, labels_of(scores, hidden.left, threshold))
    assert found.is_chance == is_chance
    base_rate = ((targets == 1) & (observed == 0)).sum() / (observed == 0).sum()
    assert found.chance * weighed.total / found.labels == pytest.approx(base_rate, rel=0.1)


def test_a_class_that_is_always_given_is_chance_however_frequent():
    """Precision above the base rate of all classes is no merit where the frequent ones are given to every photo."""
    numbers = np.random.default_rng(0)
    targets = (numbers.random((2000, 6)) < [0.7, 0.1, 0.1, 0.1, 0.1, 0.1]).astype(np.uint8)
    targets[targets.sum(axis=1) == 0, 1] = 1
    observed = np.zeros(targets.shape, dtype=np.int8)
    observed[np.arange(2000), (targets * numbers.random(targets.shape)).argmax(axis=1)] = 1
    scores = np.tile([1.0, 0, 0, 0, 0, 0], (2000, 1)) + 1e-3 * numbers.random(targets.shape)
    _, hidden = hide(observed, 0, 2000)
    weighed = weigh(scores, hidden, float(((targets == 1) & (observed == 0)).sum()))
    found = worth(hidden, weighed, labels_of(scores, observed, 0.5), labels_of(scores, hidden.left, 0.5))
    assert found.precision > 2 * ((targets == 1) & (observed == 0)).sum() / (observed == 0).sum()
    assert found.is_chance


@given(st.integers(0, 10_000), st.integers(2, 30), st.sampled_from([None, 1.0, 40.0]), st.floats(0, 2))
def test_shares_are_shares_and_the_order_of_photos_does_not_matter(seed, count, total, threshold):
    scores, observed, _ = scenes(count, noise=1.0, seed=seed, negatives=seed % 3)
    _, hidden = hide(observed, seed, count)
    weighed = weigh(scores, hidden, total)
    told, untold = labels_of(scores, observed, threshold), labels_of(scores, hidden.left, threshold)
    found = worth(hidden, weighed, told, untold)
    for share in (found.recall, found.chance, found.precision, found.f1):
        assert -1e-9 <= share <= 1 + 1e-9
    order = np.random.default_rng(seed).permutation(count)
    turned = Hidden(observed[order], hidden.column[order])
    again = worth(turned, weigh(scores[order], turned, total), told[order], untold[order])
    assert again.recall == pytest.approx(found.recall, abs=1e-9)
    assert again.f1 == pytest.approx(found.f1, abs=1e-9)
    scaled = weigh(scores * 3 + 1, hidden, total)  # scores are ranks
    np.testing.assert_allclose(scaled.weights, weighed.weights, atol=1e-6)


@given(st.integers(0, 1000), st.integers(1, 50))
def test_one_known_positive_of_a_photo_is_hidden(seed, most):
    numbers = np.random.default_rng(seed)
    observed = numbers.integers(-1, 2, (40, 5)).astype(np.int8)
    rows, hidden = hide(observed, seed, most)
    assert len(rows) == min(most, int((observed > 0).any(axis=1).sum()))
    assert (np.diff(rows) > 0).all()
    np.testing.assert_array_equal(hidden.observed, observed[rows])
    assert (hidden.of_hidden(hidden.observed) == 1).all()
    assert (hidden.of_hidden(hidden.left) == 0).all()
    assert ((hidden.left != hidden.observed).sum(axis=1) == 1).all()
    again, same = hide(observed, seed, most)
    np.testing.assert_array_equal(rows, again)
    np.testing.assert_array_equal(hidden.column, same.column)
    fewer, _ = hide(observed, seed, 3)
    assert set(fewer) <= set(hide(observed, seed, 40)[0])


def test_where_all_is_known_no_setting_is_advised():
    observed = np.where(np.eye(3)[np.arange(30) % 3] > 0, 1, -1).astype(np.int8)

    class Blind:
        def scores(self, temperature=None):
            return np.random.default_rng(0).random(observed.shape)

        def label(self, given, temperature=None, threshold=None):
            return (given == 0).astype(np.int8)

    rows, hidden = hide(observed, 0, 30)
    assert len(rows) == 30
    for calibrated in (False, True):
        (line,) = forecast(Blind(), hidden, None).lines(calibrated)
        assert line == "pseudo-labels: all labels of 30 photos are known, so there are none to give them"


@pytest.mark.parametrize("calibrated", [False, True])
def test_where_no_label_is_given_calibration_is_advised_only_if_it_has_not_chosen_so(calibrated):
    (line,) = Forecast(Worth(0.0, 0.0, 0, 0.0, 0.0), 60, 1.0, estimated=True).lines(calibrated)
    assert line.startswith("pseudo-labels: none in 60 photos; ")
    assert ("labeler.calibrate=1000 chooses one" in line) != calibrated


@pytest.mark.parametrize("empty", [0.0, 0.25])
def test_a_mean_over_all_photos_counts_those_without_any_positive(empty):
    """As of NUS-WIDE, 22 % of whose photos have none; each of the others has two."""
    count = 400
    observed = np.zeros((count, 10), dtype=np.int8)
    observed[: round(count * (1 - empty)), 0] = 1
    _, hidden = hide(observed, 0, 100)
    config = SimpleNamespace(
        loss=SimpleNamespace(expected_positives=2 * (1 - empty)), dataset=SimpleNamespace(known="single", name="nuswide")
    )
    assert unknown_positives(config, Split(None, observed, None), hidden) == pytest.approx(100)
    for name, known in (("folder", "single"), ("arrays", "given")):  # where nothing known may as well mean not asked
        config.dataset = SimpleNamespace(name=name, known=known)
        mine = unknown_positives(config, Split(None, observed, None), hidden)
        assert mine == pytest.approx(100 * (2 * (1 - empty) - 1))
