"""Digit scenes: no handwriting shared between splits, scenes fixed by their number, labels that match what is drawn."""

import numpy as np
import pytest

from aevlp.config import registry
from aevlp.data.digits import CLASS_NAMES, HANDWRITING_COUNTS, SCENE_SIDE, SPLITS, draw_scenes, handwriting_index
from aevlp.data.formats.digits import DigitsConfig


@pytest.fixture(scope="module")
def scenes():
    return draw_scenes("train", 1500)


def test_handwriting_is_divided_before_any_scene_is_drawn():
    parts = [handwriting_index(split) for split in SPLITS]
    assert [len(part) for part in parts] == [HANDWRITING_COUNTS[split] for split in SPLITS] == [1000, 300, 497]
    assert sorted(np.concatenate(parts).tolist()) == list(range(1797))
    assert all((np.diff(part) > 0).all() for part in parts)
    order = np.random.RandomState(1200).permutation(1797)
    assert set(parts[1].tolist()) == set(order[1000:1300].tolist())


def test_no_scene_uses_handwriting_of_another_split(monkeypatch):
    from aevlp.data import digits

    strokes, classes = digits._load_handwriting()
    kept = np.zeros(1797, dtype=bool)
    kept[handwriting_index("val")] = True
    blank = np.where(kept[:, None, None], strokes, 255 - strokes)  # all other handwriting is changed
    expected, test_scenes = draw_scenes("val", 40).images, draw_scenes("test", 40).images
    monkeypatch.setattr(digits, "_load_handwriting", lambda: (blank, np.where(kept, classes, 0)))
    np.testing.assert_array_equal(draw_scenes("val", 40).images, expected)
    assert (draw_scenes("test", 40).images != test_scenes).any()


@pytest.mark.parametrize("split", SPLITS)
def test_a_scene_depends_on_seed_split_and_number_alone(split):
    long, short = draw_scenes(split, 30), draw_scenes(split, 12)
    np.testing.assert_array_equal(long.images[:12], short.images)
    np.testing.assert_array_equal(long.targets[:12], short.targets)
    assert all((a == b).all() for a, b in zip(long.boxes, short.boxes, strict=False))
    other = draw_scenes(split, 12, seed=7)
    assert (other.images != short.images).mean() > 0.5


def test_splits_draw_different_scenes():
    first = [draw_scenes(split, 3).images for split in SPLITS]
    assert all((first[i] != first[j]).mean() > 0.5 for i, j in ((0, 1), (0, 2), (1, 2)))


def test_scenes_are_square_uint8_images_with_full_contrast(scenes):
    assert scenes.images.shape == (1500, SCENE_SIDE, SCENE_SIDE, 3) == (1500, 96, 96, 3)
    assert scenes.images.dtype == scenes.targets.dtype == np.uint8
    assert scenes.images.min() == 0
    assert scenes.images.max() > 250


def test_targets_are_the_classes_of_the_boxes(scenes):
    for targets, boxes in zip(scenes.targets, scenes.boxes, strict=True):
        assert set(np.flatnonzero(targets)) == set(boxes[:, 0])
        assert 1 <= len(boxes) <= 5


def test_positives_per_image_and_classes_are_as_documented(scenes):
    assert 2.3 < scenes.targets.sum(axis=1).mean() < 2.5
    assert scenes.targets.mean(axis=0).min() > 0.18
    assert scenes.targets.mean(axis=0).max() < 0.3


def test_boxes_lie_inside_and_hardly_overlap(scenes):
    for boxes in scenes.boxes:
        assert set(boxes[:, 3]) <= {18, 22, 28, 36, 44}
        assert (boxes[:, 1:3] >= 0).all()
        assert (boxes[:, 1:3] + boxes[:, 3:] <= SCENE_SIDE).all()
        for i, (_, x, y, side) in enumerate(boxes):
            for _, u, v, other in boxes[:i]:
                width, height = min(x + side, u + other) - max(x, u), min(y + side, v + other) - max(y, v)
                assert max(width, 0) * max(height, 0) <= 0.1 * min(side, other) ** 2


def test_digits_are_brighter_than_what_surrounds_them(scenes):
    inside = np.zeros((200, 96, 96), dtype=bool)
    for i in range(200):
        for _, x, y, side in scenes.boxes[i]:
            inside[i, y : y + side, x : x + side] = True
    brightest = scenes.images[:200].max(axis=3)
    assert np.percentile(brightest[inside], 90) > 200 > np.percentile(brightest[~inside], 99)


@pytest.mark.parametrize("train_labels", ["single", "full"])
def test_the_dataset_hides_all_but_one_label_of_training_only_where_asked(train_labels):
    config = DigitsConfig(name="digits", num_train=50, num_val=20, num_test=30, train_labels=train_labels)
    data = registry.build("datasets", config)
    assert [len(part) for part in (data.train, data.val, data.test)] == [50, 20, 30]
    assert data.class_names == data.prompt_names == list(CLASS_NAMES)
    for part in (data.train, data.val, data.test):
        assert (part.observed <= part.targets).all()
    expected = data.train.targets.sum(axis=1) if train_labels == "full" else np.ones(50)
    np.testing.assert_array_equal(data.train.observed.sum(axis=1), expected)
    np.testing.assert_array_equal(data.val.observed.sum(axis=1), 1)
    np.testing.assert_array_equal(data.test.images[29].permute(1, 2, 0).numpy(), draw_scenes("test", 30).images[29])
