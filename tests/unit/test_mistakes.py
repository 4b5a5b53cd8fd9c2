"""Where a model is wrong: at the thresholds of `predict`, of known labels alone where there are no others, the surest first."""

import numpy as np

from aevlp.data.npz import read_npz
from aevlp.metrics.mistakes import judge, most_mistaken
from aevlp.metrics.thresholds import best_thresholds, sigmoid
from aevlp.reporting.details import Images, mistakes
from aevlp.runs.collect import Run

RNG = np.random.default_rng(5)
TARGETS = (RNG.random((60, 4)) < 0.4).astype(np.uint8)
PROBABILITIES = np.clip(RNG.normal(0.35 + 0.3 * TARGETS, 0.2), 0, 1)


def test_every_entry_is_right_false_missed_or_rightly_nothing():
    verdict = judge(PROBABILITIES, TARGETS, TARGETS)
    predicted = PROBABILITIES >= best_thresholds(TARGETS, PROBABILITIES)
    assert (verdict.right == (predicted & (TARGETS == 1))).all()
    assert (verdict.false == (predicted & (TARGETS == 0))).all()
    assert (verdict.missed == (~predicted & (TARGETS == 1))).all()
    assert not verdict.unknown.any()


def test_without_full_labels_only_what_is_known_is_judged():
    observed = np.array([[1, 0, -1, 0], [1, 0, -1, 0]], np.int8)
    verdict = judge(np.array([[0.5, 0.9, 0.6, 0.1], [0.4, 0.1, 0.4, 0.5]]), observed, None)
    assert verdict.right.tolist() == [[True, False, False, False], [False] * 4]
    assert verdict.false.tolist() == [[False, False, True, False], [False] * 4]
    assert verdict.missed.tolist() == [[False] * 4, [True, False, False, False]]
    assert verdict.unknown.tolist() == [[False, True, False, False], [False, False, False, True]]


def test_the_surest_false_and_the_surest_missed_ones_are_kept_and_then_others():
    known = np.array([[-1, 1]] * 5 + [[1, -1]] * 5, np.int8)
    probabilities = np.where(known > 0, 0.9, 0.1)
    probabilities[3, 0], probabilities[1, 0] = 0.99, 0.98  # false, and the surest of them
    probabilities[7, 0], probabilities[8, 0] = 0.01, 0.02
    assert most_mistaken(probabilities, known, None, 2) == [3, 7]
    assert most_mistaken(probabilities, known, None, 4) == [1, 3, 7, 8]
    assert most_mistaken(probabilities, known, None, 6) == [0, 1, 2, 3, 7, 8]
    assert most_mistaken(probabilities, known, None, 99) == list(range(10))


def test_a_run_keeps_its_mistakes_and_the_report_tells_them_as_they_are(trained_run):
    arrays, scores = (read_npz(trained_run / name) for name in ("samples.npz", "val_scores.npz"))
    probabilities = sigmoid(scores["logits"])
    rows = arrays["val_rows"]
    assert rows.tolist() == most_mistaken(probabilities, scores["observed"], scores["targets"], 32)
    images = Images()
    found = mistakes(Run(trained_run), arrays, images)
    verdict = judge(probabilities, scores["observed"], scores["targets"])
    for kind in ("right", "false", "missed", "unknown"):
        assert found[kind] == [np.flatnonzero(mask).tolist() for mask in getattr(verdict, kind)[rows]]
    assert (found["full"], len(found["pictures"]), len(images.uris)) == (True, 32, 32)


def test_rows_that_are_not_of_the_scores_are_named(trained_run, tmp_path):
    arrays = read_npz(trained_run / "samples.npz")
    (tmp_path / "val_scores.npz").write_bytes((trained_run / "val_scores.npz").read_bytes())
    np.savez(tmp_path / "samples.npz", **arrays | {"val_rows": arrays["val_rows"] + 1000})
    run = Run(tmp_path)
    assert mistakes(run, run.arrays("samples.npz"), Images()) is None
    assert run.problems == ["samples.npz: val_rows are not those of val_scores.npz"]
