"""The bundled encoders: as good as promised on scenes they have never seen, and trained by a module of the package."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from aevlp import load_experiment
from aevlp.data import scenes
from aevlp.data.dataset import make_split
from aevlp.data.digits import CLASS_NAMES, draw_scenes
from aevlp.data.images import ArrayImages
from aevlp.labelers.damp import DAMP, assign
from aevlp.metrics import mean_average_precision, pseudo_label_quality
from aevlp.training.dry_run import first_images
from aevlp.vision_language import train_tiny_clip
from aevlp.vision_language.encoders.huggingface import BUNDLED, HuggingFace, HuggingFaceConfig
from aevlp.vision_language.prompts import text_features

SETTINGS = {"temperature": 0.14, "eta": 0.3, "threshold": 0.4, "top_k": 3, "negative_ratio": 0.3, "negatives": "off"}


@pytest.mark.parametrize("folder", BUNDLED.values(), ids=BUNDLED)
def test_the_folder_is_small_and_complete(folder):
    files = {path.name: path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    assert {"config.json", "model.safetensors", "preprocessor_config.json", "tokenizer.json"} <= set(files)
    assert sum(files.values()) < 2_000_000


def cosines_and_pseudo(split, precision):
    config = load_experiment("digits_gpr", [f"labeler.encoder.precision={precision}"]).labeler
    assert config.grid == 3
    assert {key: getattr(config, key) for key in SETTINGS} == SETTINGS
    labeler = DAMP(config, prompt_names=list(CLASS_NAMES), flip=False, seed=0, device=torch.device("cpu"))
    cosines = labeler.cosines(split, flip=False)[:, 0]
    return cosines, assign(cosines, torch.from_numpy(split.observed), **SETTINGS).numpy()


@pytest.fixture(scope="module")
def in_fp32(tmp_path_factory):
    """The validation scenes, with their cosines and pseudo-labels."""
    drawn = draw_scenes("val", 600)
    split = make_split(ArrayImages(drawn.images), drawn.targets)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AEVLP_CACHE", str(tmp_path_factory.mktemp("cache")))
        return split, *cosines_and_pseudo(split, "fp32")


def test_zero_shot_quality_on_validation_scenes(in_fp32):
    split, cosines, pseudo = in_fp32
    quality = pseudo_label_quality(pseudo, split.observed, split.targets)["positive"]
    assert 50 <= mean_average_precision(split.targets, cosines[:, 0].numpy()) <= 70
    assert quality["precision"] >= 80
    assert quality["recall"] >= 55


def test_quality_on_validation_scenes_of_things_and_tiles_help():
    drawn = scenes.draw_scenes("val", 300)
    split = make_split(ArrayImages(drawn.images), drawn.targets)
    config = load_experiment("scenes_gpr", ["labeler.encoder.cache=false"]).labeler
    labeler = DAMP(config, prompt_names=list(scenes.CLASS_NAMES), flip=False, seed=0, device=torch.device("cpu"))
    cosines = labeler.cosines(split, flip=False)[:, 0]
    whole, tiles = (mean_average_precision(split.targets, part.numpy()) for part in (cosines[:, 0], cosines.amax(dim=1)))
    assert 12 <= whole <= 60
    assert 30 <= tiles <= 60
    assert tiles >= whole + 12


@pytest.mark.skipif(
    not torch.ops.mkldnn._is_mkldnn_bf16_supported(), reason="bf16 is emulated here: minutes, and `auto` never takes it"
)
def test_it_is_as_good_in_bf16(in_fp32):
    split, cosines, pseudo = in_fp32
    few = first_images(split, 200)
    rounded, pseudo_rounded = cosines_and_pseudo(few, "bf16")
    assert 1e-4 < (rounded - cosines[:200]).abs().max() < 0.02
    first, second = pseudo[:200] > 0, pseudo_rounded > 0
    assert (first & second).sum() / (first | second).sum() >= 0.98
    precisions = [pseudo_label_quality(p, few.observed, few.targets)["positive"]["precision"] for p in (first, second)]
    assert precisions[1] == pytest.approx(precisions[0], abs=0.5)


def encode(folder, class_names):
    encoder = HuggingFace(HuggingFaceConfig(source=str(folder)))
    side = encoder.image_size
    views = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 3, side, side), dtype=np.uint8))
    return encoder.encode_images(views), text_features(encoder, class_names)


def few(dataset, **changes):
    return replace(train_tiny_clip.RECIPES[dataset], num_scenes=20, batch_size=16, **changes)


@pytest.mark.parametrize(("dataset", "num_classes", "width"), [("digits", 10, 64), ("scenes", 40, 96)])
def test_training_writes_a_folder_that_the_encoder_loads(dataset, num_classes, width, tmp_path, monkeypatch):
    monkeypatch.setattr(train_tiny_clip, "NUM_PICTURES", 40)
    recipe = few(dataset, num_steps=2, apart_steps=1, picture_steps=int(dataset == "scenes"))
    for name, seed in (("first", 0), ("again", 0), ("other", 1)):
        train_tiny_clip.train(recipe, tmp_path / name, seed=seed)
    first, again, other = (encode(tmp_path / name, recipe.drawings.class_names) for name in ("first", "again", "other"))
    assert HuggingFace(HuggingFaceConfig(source=str(tmp_path / "first"))).image_size == recipe.image_side
    assert first[0].shape == (3, width)
    assert first[1].shape == (num_classes, width)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(torch.allclose(a, b, atol=1e-3) for a, b in zip(first, other, strict=True))
    assert sum(path.stat().st_size for path in (tmp_path / "first").iterdir()) < 2_000_000


def test_training_takes_steps_that_lower_the_loss(tmp_path):
    rng = np.random.default_rng(0)
    crops, targets = train_tiny_clip.draw_crops(rng, draw_scenes("train", 20), 64, 24, 40, 48)
    losses = []
    for steps in (2, 40):
        recipe = few("digits", num_steps=steps)
        train_tiny_clip.train(recipe, tmp_path / str(steps))
        encoder = HuggingFace(HuggingFaceConfig(source=str(tmp_path / str(steps))))
        text = torch.nn.functional.normalize(encoder.encode_texts(train_tiny_clip.prompts_of(recipe.drawings)), dim=1)
        logits = train_tiny_clip.LOGIT_SCALE * encoder.encode_images(crops.to(torch.uint8)) @ text.T
        losses.append(torch.nn.functional.cross_entropy(logits, targets).item())
    assert losses[1] < losses[0] - 0.05
