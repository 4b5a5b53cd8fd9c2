"""samples.npz: which images, how large, and what is left out where it is not known or would be too much."""

import io
import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from aevlp.data.dataset import Split
from aevlp.data.images import ArrayImages
from aevlp.labelers import Labeler
from aevlp.runs.folder import RunFolder
from aevlp.training import samples

N, C, V = 50, 6, 5


class Seeing(Labeler):
    def view_scores(self, index):
        return index[:, None, None].float().expand(-1, V, C) / N


@pytest.fixture
def trainer(tmp_path):
    rng = np.random.default_rng(0)
    targets = (rng.random((N, C)) < 0.4).astype(np.uint8)
    images = ArrayImages(rng.integers(0, 256, (N, 300, 500, 3), dtype=np.uint8))
    train = Split(images, np.eye(C, dtype=np.uint8)[np.arange(N) % C], targets)

    def predict(split, stage):
        assert split.targets is None  # not even here
        return np.stack([np.full(C, split.images[row].float().mean().item() - 127) for row in range(len(split))])

    return SimpleNamespace(
        data=SimpleNamespace(train=train, class_names=[f"class {j}" for j in range(C)]),
        task=SimpleNamespace(labeler=Seeing(), pseudo=torch.from_numpy(targets).to(torch.int8)),
        folder=RunFolder(tmp_path), predict=predict,
    )  # fmt: skip


def written(trainer):
    samples.write_samples(trainer)
    with np.load(trainer.folder.path / "samples.npz", allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def test_the_same_images_for_every_run_and_each_with_its_own_labels(trainer):
    arrays = written(trainer)
    assert list(arrays["rows"]) == samples.sample_rows(N) == sorted(set(samples.sample_rows(N)))
    assert len(arrays["rows"]) == samples.MAX_IMAGES
    train = trainer.data.train
    for i, row in enumerate(arrays["rows"]):
        assert (arrays["observed"][i] == train.observed[row]).all()
        assert (arrays["targets"][i] == train.targets[row]).all()
        assert (arrays["pseudo"][i] == train.targets[row]).all()
        mean = train.images[row].float().mean().item() - 127
        assert arrays["scores"][i].astype(float) == pytest.approx(1 / (1 + np.exp(-mean)), abs=1e-3)
        assert arrays["views"][i].astype(float) == pytest.approx(row / N, abs=1e-3)


def test_pictures_are_small_jpeg_files_of_their_own_shape(trainer):
    arrays = written(trainer)
    offsets = arrays["offsets"]
    assert (offsets[0], offsets[-1], len(offsets)) == (0, len(arrays["jpeg"]), samples.MAX_IMAGES + 1)
    for first, last in itertools.pairwise(offsets):
        picture = Image.open(io.BytesIO(arrays["jpeg"][first:last].tobytes()))
        assert (picture.format, picture.size) == ("JPEG", (256, 154))


def test_few_images_are_all_shown():
    assert samples.sample_rows(3) == [0, 1, 2]


def test_what_is_not_known_is_left_out(trainer):
    trainer.task.labeler = Labeler()
    trainer.data.train = Split(trainer.data.train.images, trainer.data.train.observed, None)
    assert {"targets", "views"}.isdisjoint(written(trainer))


def test_many_views_and_classes_show_fewer_images(trainer, monkeypatch):
    monkeypatch.setattr(samples, "MAX_VIEW_BYTES", 2 * V * C * 7)
    arrays = written(trainer)
    assert arrays["views"].shape == (7, V, C)
    assert {len(arrays[name]) for name in ("rows", "names", "observed", "pseudo", "targets", "scores")} == {7}
