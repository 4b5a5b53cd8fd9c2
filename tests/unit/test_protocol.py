"""The single-positive draw and the split, against a loop over images and the published index values."""

import numpy as np
import oracles
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aevlp.config.schema import Known
from aevlp.data import protocol
from aevlp.data.protocol import draw_known, draw_single_positives, observe, split_train_val

PROPERTY = settings(deadline=None, derandomize=True, max_examples=60)


def toy_labels(rows=200, classes=12, share=0.25, seed=0, dtype=np.float64):
    return (np.random.default_rng(seed).random((rows, classes)) < share).astype(dtype)


@pytest.mark.parametrize("dtype", [np.int64, np.float64, np.uint8])
@PROPERTY
@given(
    rows=st.integers(1, 40), classes=st.integers(1, 9), share=st.floats(0, 1), seed=st.integers(0, 999), draw=st.integers(0, 99)
)
def test_draw_is_byte_equal_to_the_loop(dtype, rows, classes, share, seed, draw):
    labels = toy_labels(rows, classes, share, seed, dtype)
    for kwargs in ({}, {"seed": draw}):
        expected = oracles.single_positives(labels, **kwargs)
        found = draw_single_positives(labels, **kwargs)
        assert found.dtype == dtype
        assert found.shape == labels.shape
        assert found.tobytes() == expected.tobytes()


def test_draw_leaves_one_true_positive_and_none_in_empty_rows():
    labels = toy_labels(share=0.1)
    observed = draw_single_positives(labels)
    assert (labels.sum(axis=1) == 0).any()
    np.testing.assert_array_equal(observed.sum(axis=1), labels.any(axis=1))
    assert (observed <= labels).all()


def test_draw_shuffles_the_negatives_it_does_not_use():
    labels = toy_labels()
    skipping = oracles.single_positives(labels, shuffle_negatives=False)
    found = draw_single_positives(labels)
    assert 50 < (found != skipping).any(axis=1).sum() < 150  # about half of the 200 rows
    np.testing.assert_array_equal(found, oracles.single_positives(labels))


def test_draw_starts_from_seed_1200_at_every_call_and_leaves_its_input_and_the_global_state_alone():
    labels = toy_labels(dtype=np.int64)
    kept, state = labels.copy(), np.random.get_state()[1].copy()
    first, second = draw_single_positives(labels), draw_single_positives(labels)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first, draw_single_positives(labels, seed=1200))
    assert (first != draw_single_positives(labels, seed=1)).any()
    np.testing.assert_array_equal(labels, kept)
    np.testing.assert_array_equal(np.random.get_state()[1], state)


def test_draw_accepts_read_only_and_non_contiguous_labels():
    labels = toy_labels(dtype=np.uint8)
    frozen = np.asfortranarray(labels)
    frozen.flags.writeable = False
    np.testing.assert_array_equal(draw_single_positives(frozen), oracles.single_positives(labels))


def test_split_gives_the_published_voc_indices():
    train, val = split_train_val(5717)
    assert (len(train), len(val)) == (4574, 1143)
    assert list(train[:6]) == [0, 1, 2, 3, 4, 7]
    assert list(val[:6]) == [5, 6, 11, 15, 22, 23]


@pytest.mark.parametrize(
    ("num_images", "num_train", "num_val"),
    [(5717, 4574, 1143), (82081, 65665, 16416), (150000, 120000, 30000), (5994, 4795, 1199)],
)
def test_split_gives_the_published_sizes(num_images, num_train, num_val):
    assert [len(part) for part in split_train_val(num_images)] == [num_train, num_val]


@PROPERTY
@given(num_images=st.integers(3, 400), fraction=st.sampled_from([0.2, 0.25, 0.5]), seed=st.integers(0, 99))
def test_split_is_the_sorted_head_and_tail_of_a_legacy_permutation(num_images, fraction, seed):
    train, val = split_train_val(num_images, fraction=fraction, seed=seed)
    order = [int(i) for i in np.random.RandomState(seed).permutation(num_images)]
    count = round(fraction * num_images)  # python rounds halves to even as well
    assert list(train) == sorted(order[: num_images - count])
    assert list(val) == sorted(order[num_images - count :])


@pytest.mark.parametrize(("num_images", "num_val"), [(5, 2), (7, 4), (9, 4), (11, 6)])
def test_split_rounds_halves_to_even(num_images, num_val):
    train, val = split_train_val(num_images, fraction=0.5)
    assert (len(train), len(val)) == (num_images - num_val, num_val)


def test_split_is_fixed_by_its_seed():
    first, second, other = split_train_val(100), split_train_val(100, 0.2, 1200), split_train_val(100, seed=7)
    np.testing.assert_array_equal(first[1], second[1])
    assert list(first[1]) != list(other[1])


def named(rows, classes):
    return [f"photo {i}" for i in range(rows)], [f"class {j}" for j in range(classes)]


SHARES = [Known(share=share) for share in (0.01, 0.1, 0.3, 0.9, 1.0)]
NUMBERS = [Known(positives=p, negatives=n) for p, n in ((0, 1), (1, 0), (1, 5), (2, 5), ("all", 5), ("all", "all"))]


@pytest.mark.parametrize("draw", ["uniform", "frequent", "rare"])
def test_what_is_known_is_true_and_what_more_of_it_knows_as_well(draw):
    labels = toy_labels()
    for chain in (SHARES, NUMBERS[1:], NUMBERS[:1] + NUMBERS[2:]):
        less = np.zeros(labels.shape)
        for known in chain:
            observed = draw_known(labels, *named(*labels.shape), known, draw)
            assert observed.dtype == np.int8
            assert ((observed > 0) <= (labels == 1)).all()
            assert ((observed < 0) <= (labels == 0)).all()
            assert (observed[less != 0] == less[less != 0]).all()
            less = observed
        np.testing.assert_array_equal(less, np.where(labels == 1, 1, -1))


@pytest.mark.parametrize("known", NUMBERS)
def test_numbers_of_known_labels_are_those_asked_for_or_all_there_are(known):
    labels = toy_labels(share=0.4)
    observed = draw_known(labels, *named(*labels.shape), known)
    for sign, most, there in ((1, known.positives, labels == 1), (-1, known.negatives, labels == 0)):
        expected = there.sum(axis=1) if most == "all" else np.minimum(there.sum(axis=1), most)
        np.testing.assert_array_equal((observed == sign).sum(axis=1), expected)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_share_is_that_share_of_positives_and_of_negatives_in_each_class_and_image(share):
    labels = toy_labels(rows=4000, classes=20)
    observed = draw_known(labels, *named(*labels.shape), Known(share=share))
    for there in (labels == 1, labels == 0):
        assert (observed != 0)[there].mean() == pytest.approx(share, abs=5 * (share * (1 - share) / there.sum()) ** 0.5)
    known = observed != 0
    assert known.mean(axis=0).std() == pytest.approx((share * (1 - share) / 4000) ** 0.5, rel=0.5)
    assert known.mean(axis=1).std() == pytest.approx((share * (1 - share) / 20) ** 0.5, rel=0.1)


@pytest.mark.parametrize("known", [*SHARES, *NUMBERS])
def test_an_entry_hangs_on_seed_image_and_class_alone(known, monkeypatch):
    labels = toy_labels()
    names, classes = named(*labels.shape)
    whole = draw_known(labels, names, classes, known)
    rows = np.random.default_rng(0).permutation(len(labels))[:70]
    np.testing.assert_array_equal(draw_known(labels[rows], [names[i] for i in rows], classes, known), whole[rows])
    columns = np.random.default_rng(1).permutation(len(classes))
    moved = draw_known(labels[:, columns], names, [classes[j] for j in columns], known)
    np.testing.assert_array_equal(moved, whole[:, columns])
    monkeypatch.setattr(protocol, "ROWS", 7)
    np.testing.assert_array_equal(draw_known(labels, names, classes, known), whole)
    if known not in (Known(share=1.0), Known(positives="all", negatives="all")):
        assert (draw_known(labels, names, classes, known, seed=1) != whole).any()


@pytest.mark.parametrize(("draw", "power"), [("uniform", 0), ("frequent", 1), ("rare", -1)])
def test_positives_are_drawn_in_proportion_to_the_number_of_images_of_their_class_or_its_inverse(draw, power):
    rows = 20_000
    labels = np.zeros((rows, 3), dtype=np.uint8)
    labels[: rows // 2] = [1, 1, 0]  # 10,000 images have both classes, 10,000 more have the first alone
    labels[rows // 2 :, 0] = 1
    observed = observe(labels, *named(rows, 3), Known(positives=1), draw)[: rows // 2]
    expected = 2.0**power / (2.0**power + 1)
    assert (observed[:, 0] == 1).mean() == pytest.approx(expected, abs=0.02)
    np.testing.assert_array_equal(observed.sum(axis=1), 1)


def test_the_published_draw_is_taken_where_nothing_else_is_asked_for():
    labels = toy_labels()
    words = named(*labels.shape)
    np.testing.assert_array_equal(observe(labels, *words), draw_single_positives(labels))
    np.testing.assert_array_equal(observe(labels, *words, "given"), np.where(labels == 1, 1, -1))
    np.testing.assert_array_equal(
        observe(labels, *words, "single", "rare"), draw_known(labels, *words, Known(positives=1), "rare")
    )
