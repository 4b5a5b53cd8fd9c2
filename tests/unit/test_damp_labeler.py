"""The DAMP labeler on images in memory: what it encodes, and on what its labels hang."""

import math

import numpy as np
import pytest
import torch

from aevlp.config import registry
from aevlp.data.dataset import Split
from aevlp.data.images import ArrayImages
from aevlp.labelers import damp
from aevlp.vision_language.encoders import Encoder
from aevlp.vision_language.views import cut_views

pytestmark = pytest.mark.processor

CLASSES, SIDE = 6, 8


class PixelEncoder(Encoder):
    """Stands for a vision-language model: a fixed random projection of the pixels; class k is text k."""

    image_size, title = SIDE, "pixels"

    def __init__(self, config, device):
        self.config, self.calls = config, []
        numbers = torch.Generator().manual_seed(5)
        self.projection = torch.randn(3 * SIDE * SIDE, 16, generator=numbers)
        self.texts = torch.randn(CLASSES, 16, generator=numbers)

    def encode_images(self, views):
        assert views.dtype == torch.uint8
        self.calls.append(len(views))
        return torch.nn.functional.normalize((views.flatten(1).float() - 128) @ self.projection, dim=1)

    def encode_texts(self, texts):
        return self.texts


@pytest.fixture(autouse=True)
def _pixel_encoder(monkeypatch):
    monkeypatch.setattr(registry, "build", lambda kind, config, **runtime: PixelEncoder(config, **runtime))


def split(count=23, seed=0, shape=(20, 26)):
    """Images and observed labels (none for every fifth image); the full labels are not there to be read."""
    numbers = np.random.default_rng(seed)
    observed = np.zeros((count, CLASSES), np.uint8)
    observed[np.arange(count), numbers.integers(CLASSES, size=count)] = 1
    observed[::5] = 0
    return Split(ArrayImages(numbers.integers(0, 256, (count, *shape, 3), dtype=np.uint8)), observed, None)


def build(flip=False, seed=3, mirror=True, **settings):
    values = {"flip": mirror, "label_graph": {"enabled": False}, "grid": 2, "temperature": 0.3, "threshold": 0.2}
    settings["encoder"] = {"batch_size": 50, "cache": False} | settings.get("encoder", {})
    config = damp.DAMPConfig(name="damp", **values | settings)
    return damp.DAMP(
        config, prompt_names=[f"class {i}" for i in range(CLASSES)], flip=flip, seed=seed, device=torch.device("cpu")
    )


def prepared(data, **settings):
    labeler = build(**settings)
    labeler.prepare(data)
    return labeler


def labels(labeler, data, index, epoch=1):
    index = torch.as_tensor(index)
    return labeler.label(index, torch.from_numpy(data.observed)[index], epoch=epoch)


def cosines_by_hand(labeler, image, grid, mirrored):
    """(V,C): each view mirrored or not, as `mirrored` (V,) says."""
    views = cut_views(image, grid, SIDE)
    views = torch.stack([view.flip(-1) if flipped else view for view, flipped in zip(views, mirrored, strict=True)])
    return labeler.encoder.encode_images(views).half().float() @ torch.nn.functional.normalize(labeler.encoder.texts, dim=1).T


@pytest.mark.parametrize(("flip", "grid", "views"), [(False, 2, 5), (True, 2, 10), (False, 0, 1), (True, 3, 20)])
def test_prepare_encodes_each_view_once_and_its_mirror_image_where_the_dataset_flips(flip, grid, views):
    data = split()
    labeler = prepared(data, flip=flip, grid=grid)
    assert labeler.num_images_encoded == 23 * views
    assert labeler.encoder.calls == [50] * math.ceil(23 * views / 50)
    for epoch in (1, 2):
        labels(labeler, data, range(23), epoch)
    assert labeler.num_images_encoded == 23 * views


def test_a_batch_smaller_than_the_views_of_one_image_still_encodes_each_once():
    labeler = prepared(split(), encoder={"batch_size": 2})
    assert labeler.num_images_encoded == 23 * 5
    assert labeler.encoder.calls == [2] * (11 * 5 + 3)  # a chunk of two images is five full batches, the last one has one image


@pytest.mark.parametrize("flip", [False, True])
def test_labels_hang_on_seed_epoch_and_index_alone(flip):
    data = split()
    labeler = prepared(data, flip=flip)
    whole = labels(labeler, data, range(23), epoch=4)
    assert whole.dtype == torch.int8
    assert (whole == 1).any()
    assert torch.equal(whole, labels(labeler, data, range(23), epoch=4))
    order = np.random.default_rng(1).permutation(23)
    assert torch.equal(whole[order], labels(labeler, data, order, epoch=4))
    assert torch.equal(whole, torch.cat([labels(labeler, data, range(i, min(i + 4, 23)), epoch=4) for i in range(0, 23, 4)]))
    again = prepared(data, flip=flip, encoder={"batch_size": 7})
    for epoch in (9, 2, 4):
        found = labels(again, data, range(23), epoch)
    assert torch.equal(whole, found)


def test_labels_change_with_epoch_and_seed_where_views_flip_and_only_there():
    data = split()
    still, flipping, other = prepared(data), prepared(data, flip=True), prepared(data, flip=True, seed=4)
    assert torch.equal(labels(still, data, range(23), 1), labels(still, data, range(23), 2))
    assert not torch.equal(labels(flipping, data, range(23), 1), labels(flipping, data, range(23), 2))
    assert not torch.equal(labels(flipping, data, range(23), 1), labels(other, data, range(23), 1))


def test_a_labeler_that_does_not_mirror_encodes_half_and_labels_as_where_the_dataset_does_not_flip():
    data = split()
    never, still = prepared(data, flip=True, mirror=False), prepared(data)
    assert never.num_images_encoded == still.num_images_encoded == 23 * 5
    assert not never.mirrors
    assert still.mirrors
    for epoch in (1, 2):
        assert torch.equal(labels(never, data, range(23), epoch), labels(still, data, range(23), epoch))


@pytest.fixture
def seen_cosines(monkeypatch):
    """Cosines that `label` assigned from, newest last."""
    seen, assign = [], damp.assign

    def keep(cosines, observed, **settings):
        seen.append(cosines)
        return assign(cosines, observed, **settings)

    monkeypatch.setattr(damp, "assign", keep)
    return seen


def test_each_view_is_mirrored_by_a_coin_of_its_own(seen_cosines):
    data = split(count=60)
    labeler = prepared(data, flip=True)
    coins = []
    for epoch in (1, 2, 3):
        labels(labeler, data, range(60), epoch)
        plain = torch.stack(
            [cosines_by_hand(labeler, image, 2, [False] * 5) for image in map(data.images.__getitem__, range(60))]
        )
        mirror = torch.stack(
            [cosines_by_hand(labeler, image, 2, [True] * 5) for image in map(data.images.__getitem__, range(60))]
        )
        flipped = (seen_cosines[-1] - mirror).abs().amax(dim=2) < 1e-5
        assert torch.equal(~flipped, (seen_cosines[-1] - plain).abs().amax(dim=2) < 1e-5)
        coins.append(flipped.flatten().float())
    assert all(0.4 < coin.mean() < 0.6 for coin in coins)
    assert torch.corrcoef(torch.stack(coins)).triu(1).abs().max() < 0.2
    assert torch.corrcoef(coins[0].view(60, 5).T).triu(1).abs().max() < 0.5


def test_without_flips_the_cosines_are_those_of_the_views_as_they_are(seen_cosines):
    data = split()
    labeler = prepared(data, grid=3)
    labels(labeler, data, [7, 2])
    expected = torch.stack([cosines_by_hand(labeler, data.images[row], 3, [False] * 10) for row in (7, 2)])
    torch.testing.assert_close(seen_cosines[-1], expected, atol=1e-5, rtol=0)


def test_evaluate_scores_without_a_gate_and_labels_with_the_observed_ones():
    data, other = split(), split(count=9, seed=7)
    labeler = prepared(data, flip=True)
    before = labels(labeler, data, range(23))
    scores, pseudo = labeler.evaluate(other)
    assert labeler.num_images_encoded == 23 * 10 + 9 * 5  # held-out images are not mirrored
    cosines = torch.stack([cosines_by_hand(labeler, other.images[row], 2, [False] * 5) for row in range(9)])
    q = torch.softmax(cosines / 0.3, dim=2)
    torch.testing.assert_close(scores, (q[:, 0] + q[:, 1:].amax(dim=1)) / 2, atol=1e-5, rtol=0)
    settings = {"temperature": 0.3, "eta": 0.3, "threshold": 0.2, "top_k": 3, "negative_ratio": 0.3, "negatives": "off"}
    assert torch.equal(pseudo, damp.assign(cosines, torch.from_numpy(other.observed), **settings))
    assert torch.equal(before, labels(labeler, data, range(23)))


def test_progress_counts_images_and_may_stop_the_work():
    data, reports = split(), []

    def stop_after_ten(done, total):
        reports.append((done, total))
        if done >= 9:
            raise KeyboardInterrupt

    labeler = build()
    labeler.prepare(data, lambda done, total: reports.append((done, total)))
    assert reports == [(9, 23), (19, 23), (22, 23), (23, 23)]  # ten images a batch, the one under way not counted
    stopped = build()
    with pytest.raises(KeyboardInterrupt):
        stopped.prepare(data, stop_after_ten)
    assert stopped.num_images_encoded == 50


def test_the_label_graph_moves_the_text_features_by_the_seed_of_the_run():
    plain, first, again, other = (build(label_graph={"enabled": on}, seed=s).text for on, s in ((0, 1), (1, 1), (1, 1), (1, 2)))
    assert torch.equal(first, again)
    assert not torch.allclose(first, plain)
    assert not torch.allclose(first, other)
    torch.testing.assert_close(first.norm(dim=1), torch.ones(CLASSES))


def test_an_image_with_fewer_pixels_than_tiles_is_labeled_like_any_other():
    assert prepared(split(shape=(3, 26)), grid=4)._cosines.isfinite().all()
