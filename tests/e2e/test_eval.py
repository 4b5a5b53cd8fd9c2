"""`eval` of a run: the run's own figures, thresholds chosen on validation only, and what it refuses."""

import csv
import json
import os
import re
import shutil

import numpy as np
import pytest
import small_runs
from PIL import Image
from sklearn.metrics import precision_recall_fscore_support

import aevlp
from aevlp.cli import main
from aevlp.config.errors import CheckpointError, ConfigError
from aevlp.inference.evaluate import evaluate
from aevlp.inference.open import open_trained
from aevlp.metrics import mean_average_precision
from aevlp.metrics.thresholds import sigmoid


@pytest.fixture
def copied(trained_run, tmp_path):
    """A copy of the run that a test may damage."""
    return shutil.copytree(trained_run, tmp_path / "copy", symlinks=True)


def read_csv(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_map_is_exactly_that_of_the_summary(trained_run):
    summary = json.loads((trained_run / "summary.json").read_text())
    trained = open_trained(str(trained_run))
    assert evaluate(trained, "test").mean_average_precision == summary["test/mAP"]
    assert evaluate(trained, "val").mean_average_precision == summary["best/val_mAP"]


@pytest.mark.parametrize(("split", "metric"), [("val", "best/val_mAP"), ("test", "test/mAP")])
def test_scores_that_a_run_and_eval_keep_give_its_map_by_the_published_rule(trained_run, split, metric, tmp_path):
    assert main(["eval", str(trained_run), "--split", split, "-o", str(tmp_path)]) == 0
    for folder in (trained_run, tmp_path):
        with np.load(folder / f"{split}_scores.npz") as scores:
            found = mean_average_precision(scores["targets"], scores["logits"], absent="zero")  # each of the ten digits occurs
        assert found == json.loads((trained_run / "summary.json").read_text())[metric]


def test_map_is_that_of_the_summary_in_reduced_precision_too():
    result = aevlp.train(small_runs.config("trainer.precision=bf16", "trainer.channels_last=true"))
    assert evaluate(open_trained(str(result.run_dir)), "test").mean_average_precision == result.test_map


def test_quality_on_validation_is_scikit_learns_at_the_thresholds_told(trained_run):
    found = evaluate(open_trained(str(trained_run)), "val")
    with np.load(trained_run / "val_scores.npz") as file:
        targets, probabilities = file["targets"], sigmoid(file["logits"])
    for threshold, quality in [*found.by_threshold.items(), (found.thresholds, found.at_best)]:
        expected = precision_recall_fscore_support(targets, probabilities >= threshold, average="micro", zero_division=0)[:3]
        assert quality.micro == pytest.approx([100 * value for value in expected])
    assert all((found.at_best.f1 >= quality.f1).all() for quality in found.by_threshold.values())


def test_thresholds_do_not_depend_on_the_test_images(trained_run, copied):
    first = evaluate(open_trained(str(trained_run)), "test")
    other = evaluate(open_trained(str(trained_run), ["dataset.num_test=20"]), "test")
    assert first.num_images != other.num_images
    np.testing.assert_array_equal(first.thresholds, other.thresholds)
    (copied / "val_scores.npz").unlink()
    scored = evaluate(open_trained(str(copied)), "test")
    assert scored.chosen_on == "the validation split"
    np.testing.assert_array_equal(scored.thresholds, first.thresholds)


def test_command_prints_both_tables_and_writes_every_class(trained_run, tmp_path, capsys):
    assert main(["eval", str(trained_run), "-o", str(tmp_path / "deep" / "out")]) == 0
    output = capsys.readouterr().out
    summary = json.loads((trained_run / "summary.json").read_text())
    assert f"mAP {summary['test/mAP']:.2f}\n" in output
    assert "the highest F1 on the run's validation scores; the test labels had no part in it" in output
    rows = read_csv(tmp_path / "deep" / "out" / "test_per_class.csv")
    own = read_csv(trained_run / "per_class.csv")
    assert [(row["class"], row["positives"]) for row in rows] == [(row["class"], row["test_positives"]) for row in own]
    assert [float(row["AP"]) for row in rows] == pytest.approx([float(row["test_AP"]) for row in own], abs=1e-3)
    thresholds = read_csv(tmp_path / "deep" / "out" / "test_thresholds.csv")
    assert [row["threshold"] for row in thresholds] == [*(f"0.{step}" for step in range(1, 10)), "best"]


def test_a_figure_of_few_photos_says_of_how_many(trained_run, capsys):
    assert main(["eval", str(trained_run), "--set", "dataset.num_test=1"]) == 0
    assert re.search(r"^mAP 100\.00 of 1 photo, over \d of 10 classes$", capsys.readouterr().out, re.M)


def test_class_without_a_positive_in_validation_takes_one_half_and_is_named(copied, capsys):
    with np.load(copied / "val_scores.npz") as file:
        logits, targets = file["logits"], file["targets"]
    targets[:, 3] = 0
    np.savez(copied / "val_scores.npz", logits=logits, targets=targets)
    assert main(["eval", str(copied)]) == 0
    assert "without a positive in validation, so the threshold is 0.5: three" in capsys.readouterr().out
    assert evaluate(open_trained(str(copied)), "test").thresholds[3] == 0.5


def test_of_many_classes_the_ten_best_and_the_ten_worst_are_shown(trained_run, monkeypatch, capsys):
    from aevlp.inference.evaluate import Evaluation
    from aevlp.inference.evaluation_tables import print_evaluation

    found = evaluate(open_trained(str(trained_run)), "test")
    many = {name: np.tile(getattr(found, name), 4) for name in ("positives", "thresholds")}
    quality = found.at_best.__class__(*(np.tile(v, 4) for v in (found.at_best.precision, found.at_best.recall, found.at_best.f1)),
                                      found.at_best.macro, found.at_best.micro)  # fmt: skip
    wide = Evaluation(
        [f"[c{j}]" for j in range(40)], "test", 40, many["positives"], np.arange(40.0), found.by_threshold,
        many["thresholds"], [], quality, "x", ["a note"],
    )  # fmt: skip
    print_evaluation(wide, "run")
    output = capsys.readouterr().out
    assert "\na note\n" in output
    shown = [line.split()[0] for line in output.splitlines() if line.startswith("[c")]
    assert shown == [f"[c{j}]" for j in [*range(39, 29, -1), *range(9, -1, -1)]]


def test_initial_weights_that_have_gone_are_not_needed(copied):
    text = (copied / "config.yaml").read_text()
    (copied / "config.yaml").write_text(
        text.replace("name: small_cnn", "name: resnet\n  depth: 50").replace("bundled", "/gone.pth")
    )
    assert open_trained(str(copied)).config.model.weights == "none"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--set", "loss.rho=1"], "--set loss.rho=1: of a trained model only dataset.* and trainer.eval_batch_size, trainer."),
        (["--exp", "digits_gpr"], "--exp goes with a published checkpoint file"),
        (["--set", "dataset.num_test=0"], "dataset.num_test: input should be greater than or equal to 1"),
    ],
)
def test_what_would_change_the_model_is_refused(trained_run, words, message, capsys):
    assert main(["eval", str(trained_run), *words]) == 2
    assert message in capsys.readouterr().err


def test_a_source_that_is_not_there_is_refused(capsys):
    assert main(["eval", "nowhere"]) == 2
    assert "run 'nowhere': no folder with a config.yaml there" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["val_scores.npz", "summary.json", "classes.json"])
def test_a_damaged_file_of_the_run_is_named(copied, name):
    (copied / name).write_bytes(b"{")
    with pytest.raises(CheckpointError, match=name if name != "classes.json" else "class names cannot be read"):
        open_trained(str(copied))


def test_a_run_without_a_checkpoint_and_one_of_other_classes_are_refused(copied):
    (copied / "classes.json").write_text('["one"]')
    with pytest.raises(CheckpointError, match="a model of 1 classes, but the dataset has 10"):
        evaluate(open_trained(str(copied)), "test")
    shutil.rmtree(copied / "checkpoints")
    with pytest.raises(CheckpointError, match="no complete checkpoint with a validated epoch"):
        open_trained(str(copied))


def test_output_that_cannot_be_a_folder_is_refused(trained_run, tmp_path):
    from aevlp.inference.evaluation_tables import write_evaluation

    (tmp_path / "file").write_text("")
    found = evaluate(open_trained(str(trained_run)), "val")
    with pytest.raises(ConfigError, match="cannot be written: Not a directory"):
        write_evaluation(found, tmp_path / "file" / "below")


def test_an_output_that_is_a_file_is_told_before_the_work(trained_run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("aevlp.inference.evaluate.evaluate", None)
    (tmp_path / "file").touch()
    assert main(["eval", str(trained_run), "-o", str(tmp_path / "file")]) == 2
    assert capsys.readouterr().err == f"error: -o {tmp_path}/file: {tmp_path}/file is no folder; name another one\n"


def test_a_run_is_no_output(copied, capsys):
    before = {path: path.read_bytes() for path in copied.glob("*.*")}
    assert main(["eval", str(copied), "--split", "val", "-o", str(copied)]) == 2
    assert f"-o {copied}: is a run, whose own scores would be written over" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in copied.glob("*.*")} == before


def test_words_given_once_are_read_whole(trained_run):
    trained = open_trained(str(trained_run), (word for word in ["dataset.num_test=7", "trainer.threads=1"]))
    assert (trained.config.dataset.num_test, trained.config.trainer.threads) == (7, 1)


def broken(run):
    """Take away what makes the checkpoints whole."""
    for manifest in (run / "checkpoints").glob("*/manifest.json"):
        manifest.unlink()


@pytest.mark.parametrize(
    ("harm", "why"),
    [
        (lambda run: shutil.rmtree(run / "checkpoints"), "has no complete checkpoint with a validated epoch"),
        (broken, "cannot be used ({run}/checkpoints: no checkpoint is complete; remove the folder to train from the start)"),
    ],
)
@pytest.mark.parametrize("verb", ["eval", "predict", "export"])
def test_latest_is_the_newest_run_that_can_be_used(verb, harm, why, trained_run, tmp_path, capsys):
    runs = tmp_path / "runs"
    older, newer = (shutil.copytree(trained_run, runs / name, symlinks=True) for name in ("older", "newer"))
    os.utime(older / "config.yaml", (1, 1))
    harm(newer)
    os.utime(newer / "config.yaml", (2, 2))
    Image.new("RGB", (8, 8)).save(tmp_path / "photo.png")
    words = {"eval": [], "predict": [str(tmp_path / "photo.png"), "-o", str(tmp_path / "s.csv")], "export": ["-o", "{out}"]}
    command = [verb, "latest", *(word.format(out=tmp_path / "model") for word in words[verb])]
    assert main(command) == 0
    told = f"newer {why.format(run=newer)}"
    assert capsys.readouterr().err == f"note  latest is older, as {told}\n"
    shutil.rmtree(tmp_path / "model", ignore_errors=True)
    harm(older)
    assert main(command) == 2
    assert capsys.readouterr().err == f"error: no run in {runs}/ can be used: {told}; --resume latest trains on\n"


def test_thresholds_are_those_of_the_weights_or_none(trained_run, tmp_path):
    """A disk that is full takes the scores of an epoch and not its checkpoint: the best there is then is an earlier one."""
    run = shutil.copytree(trained_run, tmp_path / "run")
    before = open_trained(str(run)).thresholds
    assert before is not None
    with np.load(run / "val_scores.npz") as kept:
        arrays = dict(kept)
    assert arrays["epoch"] == json.loads((run / "summary.json").read_text())["best/epoch"]
    np.savez(run / "val_scores.npz", **(arrays | {"epoch": arrays["epoch"] + 1}))
    assert open_trained(str(run)).thresholds is None
    del arrays["epoch"]  # as an older version wrote it
    np.savez(run / "val_scores.npz", **arrays)
    np.testing.assert_array_equal(open_trained(str(run)).thresholds, before)
