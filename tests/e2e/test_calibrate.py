"""Settings that a labeler finds by known labels, and the forecast of what its labels are worth: said, kept, and used again."""

import json
from dataclasses import replace

import numpy as np
import pytest
import small_runs
import torch

import aevlp
from aevlp.cli import main
from aevlp.config import registry
from aevlp.data.build import build_dataset
from aevlp.inference import evaluate as evaluation
from aevlp.inference.open import open_trained
from aevlp.labelers._calibrate import TEMPERATURES, THRESHOLDS
from aevlp.labelers.damp import DAMP
from aevlp.tracking import read_metrics
from aevlp.training import labels_worth
from aevlp.training import run as training
from aevlp.vision_language.encoders.huggingface import HuggingFace

TINY = [*small_runs.FAST[2:], "trainer.epochs=1", "labeler.grid=2"]
FORECAST = {"recall", "chance", "precision", "f1", "labels_per_image"}


def digits(*words, experiment="digits_gpr"):
    return aevlp.load_experiment(experiment, [*TINY, *words])


def kept(run):
    return json.loads((run / "labeler.json").read_text())


def settings(figures):
    return labels_worth.settings_of(figures)


@pytest.mark.parametrize("experiment", ["digits_gpr", "digits_vlpl"])
def test_a_calibrated_run_says_and_keeps_what_it_found(experiment, capsys):
    words = ["labeler.calibrate=40"] if experiment == "digits_gpr" else ["labeler.calibrate=40", "trainer.evaluate_labeler=false"]
    tiny = [word for word in TINY if experiment == "digits_gpr" or word != "labeler.grid=2"]
    assert main(["--exp", experiment, "--set", *tiny, *words]) == 0
    told = " ".join(capsys.readouterr().out.split())
    run = small_runs.only_run()
    found = kept(run)
    temperature, threshold = found["labeler/temperature"], found["labeler/threshold"]
    assert temperature in TEMPERATURES
    assert threshold in THRESHOLDS
    said = f"labeler.calibrate: temperature {temperature:g}, threshold {threshold:g}, chosen by known labels of 40 photos"
    assert said in told
    assert f"one known label hidden in each of 48 photos: {found['labeler/forecast_labels_per_image']:.2f} a photo" in told
    summary = json.loads((run / "summary.json").read_text())
    assert found.items() <= summary.items()
    (row,) = small_runs.epoch_rows(run)
    assert found.items() <= row.items()
    assert {name.removeprefix("labeler/forecast_") for name in found if "forecast" in name} == FORECAST
    assert summary["config_hash"] == aevlp.load_experiment(experiment, [*tiny, *words]).hash
    assert summary["config_hash"] != aevlp.load_experiment(experiment, tiny).hash
    with np.load(run / "pseudo_labels.npz") as arrays:
        np.testing.assert_array_equal(arrays["pseudo"], labels_at(experiment, tiny, temperature, threshold))


def labels_at(experiment, words, temperature, threshold):
    config = aevlp.load_experiment(experiment, words)
    data = build_dataset(config.dataset)
    labeler = registry.build(
        "labelers", config.labeler, prompt_names=data.prompt_names, flip=False, seed=0, device=torch.device("cpu")
    )
    labeler.settle({"temperature": temperature, "threshold": threshold})
    labeler.prepare(data.train)
    return labeler.label(torch.arange(len(data.train)), torch.from_numpy(data.train.observed), epoch=1).numpy()


@pytest.mark.parametrize("make", [None, lambda targets: np.random.default_rng(0).permuted(targets, axis=1)])
def test_full_labels_are_not_read(make, monkeypatch):
    found = []
    for change in (False, True):

        def build(config, change=change):
            data = build_dataset(config)
            targets = data.train.targets if not change else None if make is None else make(data.train.targets)
            return replace(data, train=replace(data.train, targets=targets))

        monkeypatch.setattr(training, "build_dataset", build)
        found.append(kept(aevlp.train(digits("labeler.calibrate=40")).run_dir))
    assert found[0] == found[1]


def test_known_labels_and_the_seed_are_what_it_hangs_on():
    config = digits("labeler.calibrate=20")
    observed = build_dataset(config.dataset).train.observed
    rows, _ = labels_worth.hide(observed, 0, 20)
    others, _ = labels_worth.hide(observed, 1, 20)
    assert len(rows) == len(others) == 20
    assert set(rows) != set(others)


def test_photos_are_encoded_once(monkeypatch):
    plain, calibrated = (aevlp.train(digits(*words)).summary for words in (
        ["labeler.encoder.cache=false"], ["labeler.encoder.cache=false", "labeler.calibrate=40"],
    ))  # fmt: skip
    assert plain["perf/clip_images_encoded"] == calibrated["perf/clip_images_encoded"] > 0


def test_a_run_that_goes_on_does_not_choose_again(monkeypatch):
    run = aevlp.train(digits("labeler.calibrate=40")).run_dir
    changed = kept(run) | {"labeler/temperature": 0.05, "labeler/threshold": 0.6}
    (run / "labeler.json").write_text(json.dumps(changed))
    monkeypatch.setattr(labels_worth, "calibrate", None)
    result = training.resume(run, epochs=2)
    assert settings(kept(run)) == settings(result.summary) == {"temperature": 0.05, "threshold": 0.6}
    np.testing.assert_array_equal(result.pseudo_labels, labels_at("digits_gpr", TINY, 0.05, 0.6))


def test_ranks_take_what_the_first_found(monkeypatch, tmp_path):
    config = digits("labeler.calibrate=40")
    data = build_dataset(config.dataset)
    labeler = registry.build(
        "labelers", config.labeler, prompt_names=data.prompt_names, flip=False, seed=0, device=torch.device("cpu")
    )
    labeler.prepare(data.train)
    first = {"labeler/temperature": 0.02, "labeler/threshold": 0.7}
    monkeypatch.setattr(labels_worth.ranks, "from_main", lambda value: first if value is not None else None)
    folder = training.RunFolder(tmp_path)
    assert labels_worth.of_run(config, training.blind(data.train), labeler, folder, lambda _: None) == first
    assert (labeler.temperature, labeler.threshold) == (0.02, 0.7)


def test_eval_and_label_of_a_run_take_its_settings(monkeypatch, tmp_path, capsys):
    run = aevlp.train(digits("labeler.calibrate=40")).run_dir
    (run / "labeler.json").write_text(json.dumps({"labeler/temperature": 0.05, "labeler/threshold": 0.6}))
    summary = json.loads((run / "summary.json").read_text())
    (run / "summary.json").write_text(json.dumps({name: value for name, value in summary.items() if "labeler/" not in name}))
    used = []
    assign = DAMP.assign

    def watch(self, cosines, observed, temperature=None, threshold=None):
        if temperature is None:
            used.append((self.temperature, self.threshold))
        return assign(self, cosines, observed, temperature, threshold)

    monkeypatch.setattr(DAMP, "assign", watch)
    monkeypatch.setattr(evaluation, "build_dataset", lambda config: unlabeled(build_dataset(config)))
    evaluation.evaluate(open_trained(str(run)), "test")
    assert main(["label", str(run), "-o", str(tmp_path / "labels.csv")]) == 0
    assert used
    assert set(used) == {(0.05, 0.6)}
    told = capsys.readouterr()
    assert "labeler.calibrate" not in told.err
    assert "one known label hidden in each of 48 photos" in told.err
    assert "by full labels: " in told.out
    # Settings of the labeler that differ are tried as they are given.
    assert main(["label", str(run), "-o", str(tmp_path / "more.csv"), "--set", "labeler.calibrate=30"]) == 0
    assert "chosen by known labels of 30 photos" in capsys.readouterr().err


def unlabeled(data):
    return replace(data, test=replace(data.test, targets=None))


def test_an_exported_model_keeps_them(tmp_path):
    run = aevlp.train(digits("labeler.calibrate=40")).run_dir
    assert main(["export", str(run), "-o", str(tmp_path / "export")]) == 0
    assert settings(open_trained(str(tmp_path / "export")).summary) == settings(kept(run))


def test_the_temperature_of_the_encoder(capsys):
    assert main(["--exp", "digits_gpr", "--set", *TINY, "labeler.temperature=encoder"]) == 0
    run = small_runs.only_run()
    assert kept(run)["labeler/temperature"] == pytest.approx(0.1, rel=1e-3)  # the scale was fixed at 10, and is kept in float16
    assert "labeler.temperature: encoder is 0.1" in " ".join(capsys.readouterr().out.split())
    with np.load(run / "pseudo_labels.npz") as arrays:
        np.testing.assert_array_equal(arrays["pseudo"], labels_at("digits_gpr", TINY, kept(run)["labeler/temperature"], 0.4))


def test_an_encoder_without_a_temperature(monkeypatch, capsys):
    monkeypatch.setattr(HuggingFace, "logit_scale", None)
    assert main(["--exp", "digits_gpr", "--set", *TINY, "labeler.temperature=encoder"]) == 2
    error = capsys.readouterr().err.strip()
    assert "labeler.temperature: encoder takes the logit scale of the model, and bundled has none; give a number" in error
    assert "\n" not in error


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["labeler=none", "labeler.calibrate=10"], "labeler.calibrate: unknown key"),
        (["labeler.calibrate=-1"], "labeler.calibrate: input should be greater than or equal to 0 (got -1)"),
        (["labeler.calibrate=.5"], "labeler.calibrate: input should be a valid integer"),
        (["dataset.known={positives: 0, negatives: 2}", "labeler.calibrate=10"],
         "labeler.calibrate: 10 looks for labels that are known to be there, and no training photo has one"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("verb", ["train", "label"])
def test_what_cannot_be_calibrated(words, message, verb, capsys, tmp_path):
    command = [] if verb == "train" else ["label", "-o", str(tmp_path / "labels.csv")]
    assert main([*command, "--exp", "digits_gpr", "--set", *(w for w in TINY if "labeler" not in w), *words]) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert "\n" not in error
    assert list(tmp_path.glob("runs/*")) == []


@pytest.mark.parametrize("content", ["", "[1]", '{"labeler/temperature": "warm"}', '{"labeler/temperature": NaN}'])
def test_a_damaged_file_is_named(content, capsys):
    run = aevlp.train(digits("labeler.calibrate=40")).run_dir
    (run / "labeler.json").write_text(content)
    for command in (["--resume", str(run), "--set", "trainer.epochs=2"], ["eval", str(run)]):
        assert main(command) == 1
        assert f"{run / 'labeler.json'}: cannot be read" in capsys.readouterr().err
    (run / "labeler.json").unlink()
    assert main(["--resume", str(run), "--set", "trainer.epochs=2"]) == 0
    assert len([row for row in read_metrics(run / "metrics.jsonl") if "train/loss" in row]) == 2


def test_labels_no_better_than_chance_are_warned_of(monkeypatch, capsys):
    shuffled = np.random.default_rng(0)
    cosines = DAMP.cosines

    def blind(self, dataset, flip, progress=None):
        found = cosines(self, dataset, flip, progress)
        return found[torch.from_numpy(shuffled.permutation(len(found)))]

    words = ["dataset.num_train=400", "trainer.evaluate_labeler=false"]
    assert main(["--exp", "digits_gpr", "--set", *TINY, *words]) == 0
    assert "chance" not in capsys.readouterr().out
    monkeypatch.setattr(DAMP, "cosines", blind)
    for more in (["labeler.calibrate=200"], []):
        assert main(["--exp", "digits_gpr", "--set", *TINY, *words, *more]) == 0
        told = " ".join(capsys.readouterr().out.split())
        assert "these pseudo-labels are hardly better than chance, which would find" in told
    assert main(["--exp", "digits_gpr", "--set", *TINY, *words, "labeler.threshold=1"]) == 0
    assert "pseudo-labels: none in 400 photos" in " ".join(capsys.readouterr().out.split())


def test_without_a_labeler_nothing_is_told(trained_run):
    assert not (trained_run / "labeler.json").exists()
    assert not any(name.startswith("labeler/") for name in json.loads((trained_run / "summary.json").read_text()))


def test_settings_of_a_run_that_is_over_are_found_in_its_metrics(capsys):
    run = aevlp.train(digits("labeler.calibrate=40", "trainer.evaluate_labeler=true")).run_dir
    before, summary = kept(run), json.loads((run / "summary.json").read_text())
    (run / "labeler.json").unlink()
    again = training.resume(run).summary
    assert settings(kept(run)) == settings(before)
    of_labeler = {name for name in summary if name.startswith(("test/labeler", "test/pseudo"))}
    assert of_labeler
    assert {name: again[name] for name in of_labeler} == {name: summary[name] for name in of_labeler}
