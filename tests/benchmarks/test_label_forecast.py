"""What is told of pseudo-labels by known labels alone, beside the truth: all digit scenes, 25 temperatures and thresholds.

Not part of the default run, as 30,000 views are encoded first: `pytest -n 0 tests/benchmarks/test_label_forecast.py`, a minute.
"""

import numpy as np
import pytest
import torch

from aevlp import load_experiment
from aevlp.config import registry
from aevlp.data.build import build_dataset
from aevlp.labelers._calibrate import calibrate, estimate_unknown
from aevlp.metrics import pseudo_label_quality
from aevlp.metrics.hidden_labels import hide, weigh, worth
from aevlp.training.labels_worth import PHOTOS, unknown_positives

TEMPERATURES, THRESHOLDS = (0.05, 0.07, 0.1, 0.14, 0.2), (0.2, 0.3, 0.4, 0.5, 0.6)
SEEDS = range(5)


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """The configuration, the training scenes, and the labeler looking at all of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AEVLP_CACHE", str(tmp_path_factory.mktemp("cache")))
        config = load_experiment("digits_gpr")
        data = build_dataset(config.dataset)
        labeler = registry.build(
            "labelers", config.labeler, prompt_names=data.prompt_names, flip=False, seed=0, device=torch.device("cpu")
        )
        labeler.prepare(data.train)
    return config, data.train, labeler


def truth(digits, temperature, threshold):
    _, train, labeler = digits
    pseudo = labeler.trial(train, np.arange(len(train))).label(train.observed, temperature, threshold)
    return pseudo_label_quality(pseudo, train.observed, train.targets)["positive"]


@pytest.mark.parametrize("said", [True, False])
def test_forecast_beside_truth(digits, said, capsys):
    config, train, labeler = digits
    rows, hidden = hide(train.observed, 0, PHOTOS)
    trial = labeler.trial(train, rows)
    total = unknown_positives(config, train, hidden) if said else estimate_unknown(trial, hidden)
    lines, far = [], []
    for temperature in TEMPERATURES:
        weighed = weigh(trial.scores(temperature), hidden, total)
        for threshold in THRESHOLDS:
            told, untold = (trial.label(known, temperature, threshold) for known in (hidden.observed, hidden.left))
            found, true = worth(hidden, weighed, told, untold), truth(digits, temperature, threshold)
            lines.append(
                f"{temperature:>11}{threshold:>11}{100 * found.precision:>14.1f}{true['precision']:>8.1f}"
                f"{100 * found.recall:>11.1f}{true['recall']:>8.1f}"
            )
            far.append((abs(100 * found.precision - true["precision"]), abs(100 * found.recall - true["recall"])))
            assert true["precision"] > 30
    precision, recall = np.max(far, axis=0)
    with capsys.disabled():
        print(f"\n{PHOTOS} photos, classes a photo {'said' if said else 'estimated'}")
        print("temperature  threshold  precision %    true   recall %    true")
        print(*lines, f"furthest: precision {precision:.1f}, recall {recall:.1f} points", sep="\n")
    assert max(precision, recall) <= 5


@pytest.mark.parametrize("said", [True, False])
@pytest.mark.parametrize("photos", [300, 1000, 3000])
def test_calibrated_beside_chosen_by_hand(digits, photos, said, capsys):
    config, train, labeler = digits
    by_hand = truth(digits, config.labeler.temperature, config.labeler.threshold)
    for seed in SEEDS:
        rows, hidden = hide(train.observed, seed, photos)
        found = calibrate(labeler.trial(train, rows), hidden, unknown_positives(config, train, hidden) if said else None)
        true = truth(digits, found.temperature, found.threshold)
        with capsys.disabled():
            print(
                f"\n{photos} photos, seed {seed}: {found.temperature}, {found.threshold}: "
                + ", ".join(f"{name} {true[name]:.1f} ({by_hand[name]:.1f} by hand)" for name in ("precision", "recall", "f1")),
                end="",
            )
        assert true["f1"] > by_hand["f1"] - 5
