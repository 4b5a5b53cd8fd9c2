"""Scenes of things: no hand shared between splits, scenes fixed by their number, labels that match what is drawn."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from aevlp.config import registry
from aevlp.config.finding import EXPERIMENTS, files
from aevlp.config.loading import load_experiment
from aevlp.data import scenes
from aevlp.data.drawn import SPLITS
from aevlp.data.formats.scenes import ScenesConfig
from aevlp.data.scenes import CLASS_NAMES, HANDS, KINDS, Icons, draw_crops, draw_scenes, load_icons
from aevlp.models.small_cnn import BUNDLED
from aevlp.training import pretrain_small_cnn
from aevlp.vision_language import train_tiny_clip


@pytest.fixture(scope="module")
def drawn():
    return draw_scenes("train", 1000)


def test_forty_nouns_by_thirteen_hands_each_class_in_every_split():
    icons = load_icons()
    assert len(CLASS_NAMES) == len(set(CLASS_NAMES)) == 40
    assert sorted(hand for hands in HANDS.values() for hand in hands) == sorted(set(icons.hands))
    assert sum(len(hands) for hands in HANDS.values()) == 13
    for hands in HANDS.values():
        assert set(icons.classes[np.isin(icons.hands, hands)]) == set(range(40))


def test_no_drawing_is_in_two_splits():
    icons = load_icons()
    seen = {hashlib.sha256(mask.tobytes()).digest(): [] for mask in icons.masks}
    for mask, hand in zip(icons.masks, icons.hands, strict=True):
        seen[hashlib.sha256(mask.tobytes()).digest()].append(next(split for split in SPLITS if hand in HANDS[split]))
    assert all(len(set(splits)) == 1 for splits in seen.values())


@pytest.mark.parametrize("split", SPLITS)
def test_nothing_drawn_for_a_split_hangs_on_the_hands_of_another(split, monkeypatch):
    """Scenes of runs and of the encoder's training, and pictures of the network's: those of other hands are changed."""
    icons = load_icons()
    kept = np.isin(icons.hands, HANDS[split])
    drawings = (lambda: draw_scenes(split, 30).images, lambda: scenes.DRAWINGS.draw_scenes(split, 30, 4800).images,
                lambda: draw_crops(split, 60, 48, 0)[0])  # fmt: skip
    expected = [draw() for draw in drawings]
    for other, same in ((np.where(kept[:, None, None, None], icons.masks, 255 - icons.masks), True), (255 - icons.masks, False)):
        changed = Icons(other, icons.classes, icons.hands)
        monkeypatch.setattr(scenes, "load_icons", lambda changed=changed: changed)
        assert [np.array_equal(draw(), was) for draw, was in zip(drawings, expected, strict=True)] == [same] * 3


def test_no_weights_are_trained_on_a_hand_of_validation_or_test(monkeypatch, tmp_path):
    """They are the same to the byte where all drawings of other hands are changed, and others where those of training are."""
    recipe = replace(train_tiny_clip.RECIPES["scenes"], num_scenes=8, num_steps=4, picture_steps=2, apart_steps=1, batch_size=8)
    monkeypatch.setattr(train_tiny_clip, "NUM_PICTURES", 40)
    monkeypatch.setattr(pretrain_small_cnn, "NUM_CROPS", 100)  # a tenth of them tells the accuracy

    def trained(name):
        pretrain_small_cnn.train(scenes.DRAWINGS, tmp_path / name / "cnn.safetensors", num_crops=128, num_epochs=1)
        train_tiny_clip.train(recipe, tmp_path / name)
        return [(tmp_path / name / file).read_bytes() for file in ("cnn.safetensors", "model.safetensors")]

    icons, expected = load_icons(), trained("first")
    kept = np.isin(icons.hands, HANDS["train"])[:, None, None, None]
    for name, masks, same in (
        ("others", np.where(kept, icons.masks, 255 - icons.masks), True),
        ("own", 255 - icons.masks, False),
    ):
        changed = Icons(masks, icons.classes, icons.hands)
        monkeypatch.setattr(scenes, "load_icons", lambda changed=changed: changed)
        assert [now == was for now, was in zip(trained(name), expected, strict=True)] == [same] * 2


@pytest.mark.parametrize("split", SPLITS)
def test_a_scene_depends_on_seed_split_and_number_alone(split):
    long, short, other = draw_scenes(split, 30), draw_scenes(split, 12), draw_scenes(split, 12, seed=7)
    np.testing.assert_array_equal(long.images[:12], short.images)
    np.testing.assert_array_equal(long.targets[:12], short.targets)
    assert (other.images != short.images).mean() > 0.5


def test_scenes_are_the_same_pixels_everywhere():
    digest = hashlib.sha256(b"".join(draw_scenes(split, 20).images.tobytes() for split in SPLITS)).hexdigest()
    assert digest[:16] == "69bfcca574ef8278"


def test_targets_are_the_classes_of_the_boxes_and_clutter_is_none(drawn):
    for targets, boxes in zip(drawn.targets, drawn.boxes, strict=True):
        assert set(np.flatnonzero(targets)) == set(boxes[:, 0])
        assert 1 <= len(boxes) <= 6
        assert (boxes[:, 1:3] >= 0).all()
        assert (boxes[:, 1:3] + boxes[:, 3:] <= 96).all()


def test_frequencies_have_a_long_tail_and_things_come_together(drawn):
    shares = drawn.targets.mean(axis=0)
    assert 2.6 < drawn.targets.sum(axis=1).mean() < 3.0
    assert shares.max() > 0.14
    assert 0 < shares.min() < 0.03
    fork, cup, car = (drawn.targets[:, CLASS_NAMES.index(name)] > 0 for name in ("fork", "cup", "car"))
    assert fork[cup].mean() > 2 * fork[car].mean()
    assert sum(share for share, _ in KINDS.values()) == pytest.approx(1)


def test_things_overlap_by_no_more_than_three_tenths_of_the_smaller(drawn):
    most = 0.0
    for boxes in drawn.boxes:
        for i, (_, x, y, side) in enumerate(boxes):
            for _, u, v, other in boxes[:i]:
                width, height = min(x + side, u + other) - max(x, u), min(y + side, v + other) - max(y, v)
                most = max(most, max(width, 0) * max(height, 0) / min(side, other) ** 2)
    assert 0.2 < most <= 0.3


def test_without_kinds_all_classes_are_equally_likely():
    shares = draw_scenes("train", 1500, stray=1.0).targets.mean(axis=0)
    assert shares.max() < 2 * shares.min()


@pytest.mark.parametrize("train_labels", ["single", "full"])
def test_the_dataset_hides_all_but_one_label_of_training_only_where_asked(train_labels):
    data = registry.build(
        "datasets", ScenesConfig(name="scenes", num_train=50, num_val=20, num_test=30, train_labels=train_labels)
    )
    assert [len(part) for part in (data.train, data.val, data.test)] == [50, 20, 30]
    assert data.class_names == data.prompt_names == list(CLASS_NAMES)
    expected = data.train.targets.sum(axis=1) if train_labels == "full" else np.ones(50)
    np.testing.assert_array_equal(data.train.observed.sum(axis=1), expected)
    np.testing.assert_array_equal(data.test.images[29].permute(1, 2, 0).numpy(), draw_scenes("test", 30).images[29])


def test_every_method_of_digits_is_one_of_scenes_and_begins_from_their_weights():
    names = [name for name in files(EXPERIMENTS) if name.startswith("digits_")]
    assert len(names) >= 24
    for name in names:
        config, other = load_experiment(name.replace("digits", "scenes")), load_experiment(name)
        assert config.dataset.name == "scenes"
        assert all(getattr(config, part).name == getattr(other, part).name for part in ("loss", "labeler", "model"))
        assert getattr(config.model, "backbone", config.model).weights == "bundled_scenes"


def test_what_is_bundled_is_small():
    folder = BUNDLED["bundled_scenes"].parents[1]
    for name, most in (("scenes", 2_000_000), ("small_cnn_scenes", 2_000_000), ("tiny_dual_encoder", 2_000_000)):
        assert sum(path.stat().st_size for path in (folder / name).iterdir()) < most
        assert "license: " in (folder / name / "README.md").read_text()
