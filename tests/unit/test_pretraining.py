"""The small network's bundled weights: of training handwriting alone, better than none, made by a module of the package."""

import numpy as np
import pytest
import torch

from aevlp.config import registry
from aevlp.config.errors import ConfigError
from aevlp.config.loading import load_experiment
from aevlp.data import digits, scenes
from aevlp.data.digits import draw_crops, handwriting_index
from aevlp.models.small_cnn import BUNDLED
from aevlp.training import pretrain_small_cnn


def features(weights, crops):
    """Unit-length features in float64 of what the network sees in crops."""
    config = registry.settings("models", "small_cnn")(name="small_cnn", weights=str(weights))
    torch.manual_seed(0)
    model = registry.build("models", config, num_classes=10, image_size=48).eval().double()
    model.head = torch.nn.Identity()
    with torch.inference_mode():
        found = torch.cat([model(part) for part in torch.from_numpy(crops).permute(0, 3, 1, 2).split(100)])
    return torch.nn.functional.normalize(found.double(), dim=1).numpy()


def accuracy(weights, drawings):
    """Of the nearest neighbour: pictures of the validation part among those of training."""
    (known, labels), (unseen, wanted) = drawings.draw_crops("train", 400, 48, 5), drawings.draw_crops("val", 200, 48, 5)
    nearest = (features(weights, unseen) @ features(weights, known).T).argmax(axis=1)
    return float((labels[nearest] == wanted).mean())


def test_crops_use_handwriting_of_their_split_alone(monkeypatch):
    strokes, classes = digits._load_handwriting()
    kept = np.zeros(len(classes), dtype=bool)
    kept[handwriting_index("train")] = True
    expected, labels = draw_crops("train", 50, 48, 0)
    others = draw_crops("val", 50, 48, 0)[0]
    blank = np.where(kept[:, None, None], strokes, 255 - strokes)
    monkeypatch.setattr(digits, "_load_handwriting", lambda: (blank, np.where(kept, classes, 0)))
    found, same = draw_crops("train", 50, 48, 0)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(same, labels)
    assert (draw_crops("val", 50, 48, 0)[0] != others).any()


@pytest.mark.parametrize(
    ("weights", "drawings", "least", "most"),
    [("bundled", digits.DRAWINGS, 0.9, 0.6), ("bundled_scenes", scenes.DRAWINGS, 0.4, 0.2)],
)
def test_bundled_weights_are_small_and_know_what_they_have_not_seen(weights, drawings, least, most):
    assert BUNDLED[weights].stat().st_size < 2_000_000
    assert accuracy(weights, drawings) > least
    assert accuracy("none", drawings) < most


def test_digits_begin_from_them_and_none_is_what_it_was():
    for name in ("digits_gpr", "digits_bce"):
        assert load_experiment(name).model.weights == "bundled"
        assert load_experiment(name, ["model.weights=none"]).model.weights == "none"
    for name in ("digits_mime", "digits_smile"):
        assert load_experiment(name).model.backbone.weights == "bundled"


def test_pretraining_repeats_itself_and_learns(tmp_path, capsys):
    for name, seed, epochs in (("first", 0, 3), ("again", 0, 3), ("other", 1, 1)):
        pretrain_small_cnn.train(digits.DRAWINGS, tmp_path / f"{name}.safetensors", seed, num_crops=640, num_epochs=epochs)
    first, again, other = ((tmp_path / f"{name}.safetensors").read_bytes() for name in ("first", "again", "other"))
    assert first == again != other
    losses = [float(line.split()[3]) for line in capsys.readouterr().out.splitlines() if line.startswith("epoch")]
    assert losses[2] < losses[0] - 0.1
    assert features(tmp_path / "first.safetensors", draw_crops("val", 2, 48, 0)[0]).shape == (2, 96)


def test_weights_that_do_not_fit_are_refused(tmp_path):
    from safetensors.torch import save_file

    save_file({"0.weight": torch.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(ConfigError, match=r"model\.weights: .*other\.safetensors does not fit"):
        features(tmp_path / "other.safetensors", np.zeros((1, 48, 48, 3), dtype=np.uint8))
    with pytest.raises(ValueError, match="neither bundled, bundled_scenes, none nor a file"):
        registry.settings("models", "small_cnn")(name="small_cnn", weights="absent")
