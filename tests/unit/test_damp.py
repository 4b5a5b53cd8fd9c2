"""DAMP pseudo-labels against a loop over images and classes, and worked examples for each of its rules."""

import numpy as np
import oracles
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from aevlp.labelers.damp import assign

pytestmark = pytest.mark.processor

PROPERTY = settings(deadline=None, derandomize=True, max_examples=100)
BOTH = pytest.mark.parametrize("negatives", ["off", "on"])
EXAMPLE = {"temperature": 1.0, "eta": 0.3, "threshold": 0.45, "top_k": 2, "negative_ratio": 0.0, "negatives": "off"}
# Softmax probabilities (global view, then four tiles); the mean-score rises in the order of classes 3, 2, 1, 0.
PROBABILITIES = [[0.7, 0.1, 0.1, 0.1], [0.05, 0.85, 0.05, 0.05], [0.7, 0.05, 0.15, 0.1]] + 2 * [[0.6, 0.02, 0.2, 0.18]]


def label(probabilities, observed, **changes):
    """The labels of one image whose per-view softmax is given."""
    cosines = torch.log(torch.tensor([probabilities]))
    return assign(cosines, torch.tensor([observed], dtype=torch.float32), **{**EXAMPLE, **changes})[0].tolist()


@st.composite
def problems(draw):
    """Cosines, observed labels and settings whose every decision is clear in float32, and the oracle's labels."""
    batch, tiles, classes = draw(st.integers(1, 4)), draw(st.sampled_from([1, 4, 9])), draw(st.integers(1, 9))
    numbers = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    cosines = numbers.uniform(0.1, 0.35, (batch, tiles + 1, classes)).astype(np.float32)
    observed = np.zeros((batch, classes), np.float32)
    for i in range(batch):
        if numbers.random() > 0.25:
            observed[i, numbers.integers(classes)] = 1
    settings_ = {
        "temperature": draw(st.sampled_from([0.01, 0.03, 0.1])),
        "eta": draw(st.sampled_from([0.0, 0.005, 0.05, 0.3, 0.9])),
        "threshold": draw(st.sampled_from([0.005, 0.05, 0.2, 0.5])),
        "top_k": draw(st.integers(1, classes)),
        "negative_ratio": draw(st.sampled_from([0.0, 0.2, 0.3, 0.5, 0.8, 1.0])),
    }
    return cosines, observed, settings_


def oracle_labels(cosines, observed, **settings_):
    rows = [oracles.damp_image(c, s, **settings_) for c, s in zip(cosines, observed, strict=True)]
    assume(min(distance for _, distance in rows) > 1e-3)
    return np.array([labels for labels, _ in rows])


def run(cosines, observed, **settings_):
    return assign(torch.from_numpy(cosines), torch.from_numpy(observed), **settings_)


@BOTH
@PROPERTY
@given(problem=problems())
def test_labels_equal_the_loop(negatives, problem):
    cosines, observed, settings_ = problem
    expected = oracle_labels(cosines, observed, **settings_, negatives=negatives)
    found = run(cosines, observed, **settings_, negatives=negatives)
    np.testing.assert_array_equal(found.numpy(), expected)


@BOTH
@PROPERTY
@given(problem=problems())
def test_labels_are_int8_signs_and_zero_at_observed_positives(negatives, problem):
    cosines, observed, settings_ = problem
    found = run(cosines, observed, **settings_, negatives=negatives)
    assert found.dtype == torch.int8
    assert found.shape == observed.shape
    assert set(found.flatten().tolist()) <= ({-1, 0, 1} if negatives == "on" else {0, 1})
    assert (found.numpy()[observed == 1] == 0).all()


@BOTH
@PROPERTY
@given(problem=problems(), seed=st.integers(0, 1000))
def test_reordering_classes_tiles_or_images_reorders_the_labels(negatives, problem, seed):
    cosines, observed, settings_ = problem
    oracle_labels(cosines, observed, **settings_, negatives=negatives)  # only for its refusal of near ties
    numbers = np.random.default_rng(seed)
    images, tiles, classes = (numbers.permutation(n) for n in (len(cosines), cosines.shape[1] - 1, cosines.shape[2]))
    views = np.concatenate([[0], 1 + tiles])
    moved = run(cosines[images][:, views][:, :, classes], observed[images][:, classes], **settings_, negatives=negatives)
    plain = run(cosines, observed, **settings_, negatives=negatives).numpy()
    np.testing.assert_array_equal(moved.numpy(), plain[images][:, classes])


@PROPERTY
@given(problem=problems())
def test_negatives_on_keeps_every_positive_that_off_keeps(problem):
    cosines, observed, settings_ = problem
    off = run(cosines, observed, **settings_, negatives="off").numpy()
    on = run(cosines, observed, **settings_, negatives="on").numpy()
    bare = run(cosines, observed, **{**settings_, "negative_ratio": 0.0}, negatives="on").numpy()
    assert (on[off == 1] == 1).all()
    np.testing.assert_array_equal(on == 1, bare == 1)


@pytest.mark.parametrize(
    ("ratio", "negatives", "expected"),
    [
        (0.25, "off", [0, 1, 0, 0]),
        (0.25, "on", [0, 1, 0, -1]),
        (0.75, "off", [0, 0, 0, 0]),  # class 1 is among the bottom three by mean-score: its positive is cleared
        (0.75, "on", [0, 1, -1, -1]),
        (1.0, "on", [0, 1, -1, -1]),
    ],
)
def test_bottom_classes_by_mean_score(ratio, negatives, expected):
    assert label(PROBABILITIES, [1, 0, 0, 0], negative_ratio=ratio, negatives=negatives) == expected


def test_the_observed_class_uses_up_a_place_among_the_top():
    assert label(PROBABILITIES, [1, 0, 0, 0], top_k=1) == [0, 0, 0, 0]
    assert label(PROBABILITIES, [1, 0, 0, 0], top_k=2) == [0, 1, 0, 0]


def test_without_an_observed_positive_the_highest_tile_always_counts():
    assert label(PROBABILITIES, [0, 0, 0, 0], eta=0.9) == [1, 1, 0, 0]


def test_a_class_whose_best_tile_does_not_pass_the_gate_is_scored_by_its_worst():
    changes = {"top_k": 3, "threshold": 0.145}
    assert label(PROBABILITIES, [1, 0, 0, 0], **changes, eta=0.0) == [0, 1, 1, 0]  # class 2: (.10 + .20) / 2
    assert label(PROBABILITIES, [1, 0, 0, 0], **changes, eta=0.3) == [0, 1, 0, 0]  # class 2: (.10 + .05) / 2


def test_the_gate_is_the_global_score_of_the_observed_class_capped_at_eta():
    assert label(PROBABILITIES, [1, 0, 0, 0], eta=0.9) == [0, 1, 0, 0]  # .85 passes the .7 of class 0, not .9
    higher = [[0.9, 0.04, 0.03, 0.03], *PROBABILITIES[1:]]
    assert label(higher, [1, 0, 0, 0], eta=0.9, threshold=0.4) == [0, 0, 0, 0]
    assert label(higher, [1, 0, 0, 0], eta=0.3, threshold=0.4) == [0, 1, 0, 0]


def test_the_gate_is_strict_and_the_threshold_is_not():
    even = [[0.5, 0.5], [0.5, 0.5], [0.5, 0.5]]
    assert label(even, [1, 0], threshold=0.5) == [0, 1]
    falling = [[0.5, 0.5], [0.5, 0.5], [0.9, 0.1]]
    assert label(falling, [1, 0], eta=0.5, threshold=0.45) == [0, 0]  # best tile .5 does not exceed the gate .5
    assert label(falling, [1, 0], eta=0.4, threshold=0.45) == [0, 1]


@pytest.mark.parametrize(
    ("classes", "ratio", "count"),
    [(20, 0.2, 4), (80, 0.3, 24), (81, 0.2, 16), (312, 0.2, 62), (10, 0.3, 3), (100, 0.29, 29), (3, 0.3, 0)],
)
def test_the_number_of_negatives_is_rounded_down(classes, ratio, count):
    cosines = np.random.default_rng(0).uniform(0.1, 0.35, (2, 5, classes)).astype(np.float32)
    changes = {"threshold": 0.999, "top_k": 3, "negative_ratio": ratio, "negatives": "on"}
    found = run(cosines, np.zeros((2, classes), np.float32), **{**EXAMPLE, "temperature": 0.1, **changes})
    assert (found == -1).sum(dim=1).tolist() == [count, count]
    assert not (found == 1).any()


@BOTH
def test_assign_uses_dense_operations_only(negatives):
    cosines, observed = torch.log(torch.tensor([PROBABILITIES] * 2)), torch.tensor([[1.0, 0, 0, 0], [0, 0, 0, 0]])
    with oracles.DenseOnly():
        found = assign(cosines, observed, **{**EXAMPLE, "negative_ratio": 0.25, "negatives": negatives})
    low = -1 if negatives == "on" else 0
    assert found.tolist() == [[0, 1, 0, low], [1, 1, 0, low]]


@BOTH
@pytest.mark.parametrize("skip_known", [False, True])
@PROPERTY
@given(problem=problems(), seed=st.integers(0, 999))
def test_known_negatives_get_no_label_and_change_that_of_others_only_by_leaving_their_place(negatives, skip_known, problem, seed):
    cosines, observed, settings_ = problem
    cosines, observed = torch.tensor(cosines), torch.tensor(observed)
    absent = (torch.rand(observed.shape, generator=torch.Generator().manual_seed(seed)) < 0.4) & (observed == 0)
    known = torch.where(absent, -1.0, observed)
    settings_ = {**settings_, "negatives": negatives}
    without = assign(cosines, observed, **settings_)
    found = assign(cosines, known, **settings_, skip_known=skip_known)
    assert not found[known != 0].any()
    if skip_known:
        everyone = {**settings_, "top_k": observed.shape[1]}
        assert (found[~absent] >= without[~absent]).all()
        assert (found <= assign(cosines, known, **everyone)).all()
        assert torch.equal(assign(cosines, known, **everyone, skip_known=True), assign(cosines, known, **everyone))
    else:
        assert torch.equal(found, torch.where(absent, 0, without))


def test_a_known_negative_uses_up_a_place_among_the_top_unless_it_is_skipped():
    wanted = {"threshold": 0.1, "top_k": 1}
    assert label(PROBABILITIES, [0, 0, 0, 1], **wanted) == [1, 0, 0, 0]
    assert label(PROBABILITIES, [-1, 0, 0, 1], **wanted) == [0, 0, 0, 0]
    assert label(PROBABILITIES, [-1, 0, 0, 1], **wanted, skip_known=True) == [0, 1, 0, 0]
    assert label(PROBABILITIES, [-1, -1, -1, -1], **wanted, skip_known=True) == [0, 0, 0, 0]


def test_the_gate_is_0_where_no_positive_is_known_whatever_is_known_to_be_absent():
    for absent in ([0, 0, 0, 0], [0, 0, 0, -1], [0, 0, -1, -1]):
        assert label(PROBABILITIES, absent) == label(PROBABILITIES, [0, 0, 0, 0])
