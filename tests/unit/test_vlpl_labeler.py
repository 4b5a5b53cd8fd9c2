"""VLPL labels: the whole image only, strictly above the threshold, the same encoder path as DAMP."""

import math

import numpy as np
import pytest
import torch

from aevlp import load_experiment
from aevlp.config import registry
from aevlp.config.errors import ConfigError
from aevlp.labelers import damp
from aevlp.labelers.damp import DAMP
from aevlp.labelers.vlpl import VLPLConfig


def assign(cosines, observed, *, temperature, threshold):
    """Of cosines (B,C) of whole images, by the settings that the labeler gives to DAMP."""
    settings = VLPLConfig(name="vlpl", temperature=temperature, threshold=threshold).as_damp()
    return damp.assign(
        cosines[:, None], observed, temperature=temperature, eta=settings.eta, threshold=settings.threshold,
        top_k=settings.top_k, negative_ratio=settings.negative_ratio, negatives=settings.negatives,
    )  # fmt: skip


def test_labels_equal_a_loop_over_the_softmax():
    numbers = np.random.default_rng(0)
    cosines = numbers.uniform(-1, 1, (40, 6)).astype(np.float32)
    observed = np.eye(6, dtype=np.uint8)[numbers.integers(6, size=40)]
    observed[::5] = 0
    found = assign(torch.from_numpy(cosines), torch.from_numpy(observed), temperature=0.5, threshold=0.3)
    assert found.dtype == torch.int8
    count = 0
    for i in range(40):
        powers = [math.exp(float(c) / 0.5) for c in cosines[i]]
        for j in range(6):
            expected = int(observed[i, j] == 0 and powers[j] / sum(powers) > 0.3)
            assert found[i, j] == expected
            count += expected
    assert count > 10


@pytest.mark.parametrize(("threshold", "expected"), [(0.25, 0), (0.2499999, 1)])
def test_a_score_at_the_threshold_is_not_above_it(threshold, expected):
    found = assign(torch.zeros(1, 4), torch.zeros(1, 4), temperature=0.01, threshold=threshold)
    assert found.tolist() == [[expected] * 4]


def test_at_the_published_threshold_there_are_at_most_three():
    torch.manual_seed(0)
    found = assign(torch.rand(500, 20) * 0.02, torch.zeros(500, 20), temperature=0.01, threshold=0.3)
    assert found.sum(1).max() <= 3


def build(words):
    config = load_experiment("digits_vlpl", words)
    data = registry.build("datasets", config.dataset)
    runtime = {"prompt_names": data.prompt_names, "flip": config.dataset.flip, "seed": 0, "device": torch.device("cpu")}
    return registry.build("labelers", config.labeler, **runtime), data


def test_the_labeler_is_damp_with_the_whole_image_as_its_only_view(small):
    labeler, data = build(small)
    labeler.prepare(data.train)
    assert isinstance(labeler, DAMP)
    assert labeler.num_images_encoded == len(data.train) == 64
    index = torch.tensor([9, 2, 40])
    observed = torch.from_numpy(data.train.observed)[index]
    cosines = torch.cat([labeler.cosines(data.train, flip=False)[index, 0, 0]])
    expected = assign(cosines, observed, temperature=0.14, threshold=0.3)
    assert torch.equal(labeler.label(index, observed, epoch=3), expected)
    scores, pseudo = labeler.evaluate(data.val)
    assert scores.shape == pseudo.shape == (40, 10)
    torch.testing.assert_close(scores.sum(1), torch.ones(40))
    observed = torch.from_numpy(data.val.observed)
    assert torch.equal(pseudo, ((scores > 0.3) & (observed == 0)).to(torch.int8))


def test_any_loss_takes_its_labels(small):
    for loss in ("gpr", "an_pl", "vlpl"):
        assert load_experiment("digits_gpr", [*small, "labeler=vlpl", f"loss={loss}"]).labeler.name == "vlpl"


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("labeler.threshold=1", r"labeler\.threshold: input should be less than 1"),
        ("labeler.prompts=[photo]", r"labeler\.prompts: template 'photo' has no \{\}"),
        ("labeler.grid=3", r"labeler\.grid: unknown key"),
        ("dataset.train_labels=full", "leaves nothing to pseudo-label"),
    ],
)
def test_bad_settings_are_refused(setting, message):
    with pytest.raises(ConfigError, match=message):
        load_experiment("digits_vlpl", [setting])
