"""What a report computes of a run: threshold curves, co-occurrence, pseudo-positives by class, packed samples."""

import base64
import json

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, f1_score

from aevlp.data.fingerprint import Fingerprint, SplitFingerprint
from aevlp.metrics import pseudo_label_quality, pseudo_positives_per_class
from aevlp.reporting.details import (
    SCALE,
    THRESHOLDS,
    Images,
    best_from_counts,
    pseudo_positives,
    samples,
    scored,
    threshold_counts,
)
from aevlp.reporting.report import _cost
from aevlp.runs.collect import Run

JPEG = b"\xff\xd8 one \xff\xd9"


@pytest.fixture
def judged():
    rng = np.random.default_rng(3)
    targets = rng.random((60, 4)) < 0.3
    probabilities = np.clip(rng.normal(0.3 + 0.4 * targets, 0.2), 0, 1)
    probabilities[:5, 0] = (0.5, 0.52, 0.0, 1.0, 0.02)  # exactly on thresholds
    targets[:, 3] = False
    return probabilities, targets


def test_a_threshold_counts_what_reaches_it(judged):
    probabilities, targets = judged
    true, false = threshold_counts(probabilities, targets)
    for j in range(4):
        for k, threshold in enumerate(THRESHOLDS):
            matrix = confusion_matrix(targets[:, j], probabilities[:, j] >= threshold, labels=[False, True])
            assert (true[j, k], false[j, k]) == (matrix[1, 1], matrix[0, 1])


def test_the_best_threshold_has_the_largest_f1_and_lies_nearest_to_a_half(judged):
    probabilities, targets = judged
    best = best_from_counts(*threshold_counts(probabilities, targets), targets.sum(axis=0))
    for j in range(4):
        scores = [f1_score(targets[:, j], probabilities[:, j] >= threshold, zero_division=0) for threshold in THRESHOLDS]
        tied = [k for k, score in enumerate(scores) if score == pytest.approx(max(scores), abs=1e-12)]
        assert best[j] in tied
        assert abs(THRESHOLDS[best[j]] - 0.5) == min(abs(THRESHOLDS[k] - 0.5) for k in tied)


def test_co_occurrence_counts_images(judged, tmp_path):
    probabilities, targets = judged
    logits = np.log(np.clip(probabilities, 1e-9, 1 - 1e-9) / (1 - np.clip(probabilities, 1e-9, 1 - 1e-9)))
    np.savez(tmp_path / "val_scores.npz", logits=logits, targets=targets.astype(np.uint8))
    found = scored(Run(tmp_path))
    predicted = 1 / (1 + np.exp(-logits)) >= THRESHOLDS[found["best"]]
    for i in range(4):
        for j in range(4):
            assert found["together"][i][j] == (targets[:, i] & targets[:, j]).sum()
            assert found["predicted"][i][j] == (targets[:, i] & predicted[:, j]).sum()


def test_classes_add_up_to_the_quality_of_all(judged):
    _, targets = judged
    rng = np.random.default_rng(4)
    pseudo, observed = rng.integers(-1, 2, targets.shape), rng.integers(0, 2, targets.shape)
    counts = pseudo_positives_per_class(pseudo, observed, targets)
    whole = pseudo_label_quality(pseudo, observed, targets)["positive"]
    assert counts["assigned"].sum() == whole["count"]
    assert 100 * counts["correct"].sum() / counts["assigned"].sum() == pytest.approx(whole["precision"])
    assert 100 * counts["correct"].sum() / counts["actual"].sum() == pytest.approx(whole["recall"])


def test_pseudo_positives_are_those_of_one_run_and_long_runs_keep_both_ends(tmp_path):
    lines = [f'{epoch},"a, b",{epoch},1,5\n{epoch},c,0,0,2\n' for epoch in range(1, 51)]
    (tmp_path / "pseudo_per_class.csv").write_text("epoch,class,assigned,correct,actual\n" + "".join(lines))
    found = pseudo_positives(Run(tmp_path))
    assert (found["epochs"][0], found["epochs"][-1], len(found["epochs"])) == (1, 50, 12)
    assert found["classes"] == ["a, b", "c"]
    assert (found["assigned"][-1], found["correct"][-1], found["actual"][-1]) == ([50, 0], [1, 0], [5, 2])


def test_without_full_labels_pseudo_positives_are_counted_and_not_judged(tmp_path):
    run = stored(tmp_path)
    np.savez(tmp_path / "pseudo_labels.npz", pseudo=np.array([[1, -1, 0], [1, 0, 1], [1, 0, 0]], np.int8), epoch=3)
    found = pseudo_positives(run)
    assert (found["classes"], found["assigned"], found["correct"], found["actual"]) == (["a", "b", "c"], [[3, 0, 1]], None, None)


@pytest.mark.parametrize("pseudo", [np.array([["a", "b"]]), np.ones(3, np.int8), np.array([[0.5, 1.0]])])
def test_pseudo_labels_that_are_none_are_left_out_and_end_no_report(tmp_path, pseudo):
    run = stored(tmp_path)
    np.savez(tmp_path / "pseudo_labels.npz", pseudo=pseudo, epoch=3)
    assert pseudo_positives(run) is None


SPLIT = SplitFingerprint(70, "names", "observed", "targets")


@pytest.mark.parametrize("tells", [True, False])
def test_the_number_of_training_images_is_told_by_data_json_and_only_of_older_runs_by_their_labels(tmp_path, monkeypatch, tells):
    rows = [{"train/loss": 1.0, "perf/images_per_second": 7.0}] * 3
    (tmp_path / "metrics.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    np.savez(tmp_path / "pseudo_labels.npz", pseudo=np.zeros((35, 3), np.int8), epoch=3)
    if tells:
        data = Fingerprint(3, "classes", "prompts", SPLIT, SPLIT, SPLIT)
        (tmp_path / "data.json").write_text(json.dumps(data.to_dict()))
    read, unpacked = Run.arrays, []
    monkeypatch.setattr(Run, "arrays", lambda run, name: unpacked.append(name) or read(run, name))
    assert _cost(Run(tmp_path))["seconds"] == pytest.approx(3 * (70 if tells else 35) / 7)
    assert unpacked == ([] if tells else ["pseudo_labels.npz"])


@pytest.mark.parametrize("pseudo", [np.array([["a", "b"]]), np.ones(3, np.int8), None])
def test_labels_that_would_be_shown_and_are_none_are_told_of(tmp_path, pseudo):
    run = stored(tmp_path)
    np.savez(tmp_path / "pseudo_labels.npz", epoch=3, **({} if pseudo is None else {"pseudo": pseudo}))
    assert pseudo_positives(run) is None
    (problem,) = run.problems
    assert problem.startswith("pseudo_labels.npz: ")


def stored(folder, **changes):
    arrays = {
        "rows": np.array([4, 9]), "names": np.array(["4.jpg", "9.jpg"]), "classes": np.array(["a", "b", "c"]),
        "jpeg": np.frombuffer(JPEG * 2, np.uint8), "offsets": np.array([0, len(JPEG), 2 * len(JPEG)]),
        "observed": np.array([[1, 0, 0], [0, 1, 0]], np.uint8), "pseudo": np.array([[0, 1, -1], [0, 0, 1]], np.int8),
        "targets": np.array([[1, 1, 0], [0, 1, 0]], np.uint8), "scores": np.array([[0, 0.5, 1], [0.25, 0.75, 0.1]], np.float16),
        "views": np.full((2, 5, 3), 0.5, np.float16), **changes,
    }  # fmt: skip
    np.savez(folder / "samples.npz", **{name: array for name, array in arrays.items() if array is not None})
    return Run(folder)


def test_samples_travel_as_lists_and_bytes_and_equal_pictures_once(tmp_path):
    run, images = stored(tmp_path), Images()
    found = samples(run, run.arrays("samples.npz"), images)
    assert (found["pictures"], len(images.uris)) == ([0, 0], 1)
    assert base64.b64decode(images.uris[0].partition(",")[2]) == JPEG
    assert (found["observed"], found["positive"], found["negative"], found["targets"]) == (
        [[0], [1]],
        [[1], [2]],
        [1, 0],
        [[0, 1], [1]],
    )
    assert np.frombuffer(base64.b64decode(found["scores"]), np.uint8) / SCALE == pytest.approx([0, 0.5, 1, 0.25, 0.75, 0.1])
    assert (found["tiles"], len(base64.b64decode(found["views"]))) == (4, 2 * 5 * 3)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"classes": None}, "incomplete"),
        ({"jpeg": np.zeros(2 * len(JPEG), np.uint8)}, "no JPEG"),
        ({"names": np.array(["x", {}], dtype=object)}, "cannot be read"),
    ],
)
def test_damaged_samples_are_named_and_left_out(tmp_path, changes, problem):
    run = stored(tmp_path, **changes)
    assert samples(run, run.arrays("samples.npz"), Images()) is None
    assert problem in run.problems[-1]
