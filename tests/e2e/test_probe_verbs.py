"""A head on stored features in the hands of a user: rehearsed, encoded ahead, exported with what its features come from."""

import importlib.util
import shutil

import numpy as np
import pytest
import small_runs as runs
import torch
from PIL import Image
from safetensors.torch import save_file

import aevlp
from aevlp.cli import main
from aevlp.data.build import build_dataset
from aevlp.inference.evaluate import evaluate, split_logits
from aevlp.inference.open import open_trained
from aevlp.training.dry_run import count_views
from aevlp.vision_language.encoders.huggingface import BUNDLED

OF_BUNDLED = ("model=probe", "model.encoder.source=bundled", "dataset.flip=true")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    images = build_dataset(runs.config().dataset).test.images
    for row in range(3):
        Image.fromarray(images[row].permute(1, 2, 0).numpy()).save(folder / f"{row}.png")
    return folder


@pytest.mark.parametrize("of", ["encoder", "backbone"])
def test_an_export_stands_alone_and_computes_what_the_run_computes(of, photos, tmp_path):
    source = tmp_path / "source"
    if of == "encoder":
        shutil.copytree(BUNDLED["bundled"], source)
        words = ("model=probe", f"model.encoder.source={source}", "model.hidden=8")
    else:
        import timm

        source.mkdir()
        torch.manual_seed(1)
        save_file(timm.create_model("resnet10t", pretrained=False).state_dict(), source / "model.safetensors")
        weights = source / "model.safetensors"
        words = ("model=probe", f"model.backbone={{name: timm, backbone: resnet10t, weights: {weights}}}")
    run = aevlp.train(runs.config(*words)).run_dir
    assert main(["predict", str(run), str(photos), "-o", str(tmp_path / "run.csv")]) == 0
    has_onnx = all(importlib.util.find_spec(name) for name in ("onnxruntime", "onnxscript"))
    onnx = ["--onnx"] if of == "encoder" and has_onnx else []  # where it computes something else, nothing is written
    assert main(["export", str(run), "-o", str(tmp_path / "model"), *onnx]) == 0
    expected = evaluate(open_trained(str(run)), "test")
    shutil.rmtree(source)
    assert main(["predict", str(tmp_path / "model"), str(photos), "-o", str(tmp_path / "export.csv")]) == 0
    assert (tmp_path / "run.csv").read_bytes() == (tmp_path / "export.csv").read_bytes()
    found = evaluate(open_trained(str(tmp_path / "model")), "test")
    np.testing.assert_allclose(found.scores["logits"], expected.scores["logits"], rtol=0, atol=5e-3)
    np.testing.assert_array_equal(found.thresholds, expected.thresholds)


def test_photos_of_a_head_are_reviewed_by_their_features(tmp_path, capsys):
    run = aevlp.train(runs.config(*OF_BUNDLED)).run_dir
    assert main(["review", str(run), "--count", "5", "-o", str(tmp_path / "page.html")]) == 0
    assert (tmp_path / "page.html").stat().st_size > 10_000
    capsys.readouterr()
    trained = open_trained(str(run))
    data = build_dataset(trained.config.dataset)
    logits = split_logits(trained, data.val, "val")
    with np.load(run / "val_scores.npz") as kept:
        np.testing.assert_allclose(logits, kept["logits"], rtol=0, atol=5e-3)


def test_views_of_a_head_are_counted_and_encoded_ahead(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("AEVLP_CACHE", str(tmp_path / "cache"))
    words = [*runs.FAST, *OF_BUNDLED]
    config = runs.config(*OF_BUNDLED)
    assert count_views(config) == 2 * 48 + 40 + 40
    assert main(["--exp", "digits_gpr", "--dry-run", "--set", *words]) == 0
    assert "views        2 per training image" in capsys.readouterr().out
    assert main(["cache", "build", "--exp", "digits_gpr", "--set", *words]) == 0
    assert "all that digits_gpr needs is cached" in capsys.readouterr().out
    assert count_views(config) == 0
    assert runs.epoch_rows(aevlp.train(config).run_dir)[-1]["perf/clip_images_encoded"] == 0


def test_views_that_the_labeler_counts_are_not_counted_twice(tmp_path, monkeypatch):
    monkeypatch.setenv("AEVLP_CACHE", str(tmp_path / "cache"))
    words = ("labeler=damp", "labeler.encoder.source=bundled", "labeler.grid=2", "model=probe")
    assert count_views(runs.config(*words, "trainer.evaluate_labeler=true")) == (48 + 40 + 40) * 5
    assert count_views(runs.config(*words, "trainer.evaluate_labeler=false")) == 48 * 5 + 40 + 40
