"""BoostLU: class maps before the pool, positive values boosted, on every backbone that gives a map."""

import pytest
import torch
from model_helpers import NUM_CLASSES, build, images, logits, normalized

from aevlp import load_experiment
from aevlp.cli import main
from aevlp.config.errors import ConfigError
from aevlp.config.schema import TrainerConfig
from aevlp.models._classifier import Classifier
from aevlp.training.optimizer import build_optimizer

MODELS = {"resnet50": ("weights=none",), "timm/resnet18": ("weights=none",), "small_cnn": ()}


@pytest.mark.processor
@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", ["resnet50", "timm/resnet18"])
def test_a_boost_of_one_is_the_pooled_map_and_a_linear_head(name):
    plain, boosted = build(name, *MODELS[name]), build(name, *MODELS[name], "boost=1")
    weights = plain.state_dict()
    weights["head.weight"] = weights["head.weight"][:, :, None, None]
    boosted.load_state_dict(weights)
    # In training mode: batch norm without trained statistics would let the features of evaluation grow to the hundreds.
    expected, found = logits(plain.train(), images()), logits(boosted.train(), images())
    assert expected.abs().max() > 0.1
    torch.testing.assert_close(found, expected, atol=1e-9, rtol=0)  # in float32 rounding alone makes 1e-6 of it


@pytest.mark.processor
@pytest.mark.parametrize(("name", "training"), [("small_cnn", True), ("small_cnn", False), ("timm/resnet18", False)])
def test_the_logit_is_the_mean_of_class_maps_with_positive_values_boosted(name, training):
    model = build(name, *MODELS[name], "boost=5").train(training)
    mean, std = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    with torch.no_grad():
        features = model.backbone(normalized(images(96), mean, std))
        found = model(images(96))
    assert features.ndim == 4
    assert features.shape[2] > 1
    maps = torch.einsum("bfhw,cf->bchw", features, model.head.weight[:, :, 0, 0]) + model.head.bias[:, None, None]
    assert (maps > 0).any()
    assert (maps < 0).any()
    expected = (5 * maps.clamp(min=0) + maps.clamp(max=0)).mean(dim=(2, 3))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_the_small_network_has_the_same_weights_with_and_without():
    plain, boosted = build("small_cnn"), build("small_cnn", "boost=5")
    assert sum(p.numel() for p in plain.parameters()) == sum(p.numel() for p in boosted.parameters())
    assert boosted.head.bias.shape == (NUM_CLASSES,)
    groups = build_optimizer(TrainerConfig(learning_rate=0.5, head_lr_mult=3), boosted, torch.nn.Module()).param_groups
    assert {id(p) for p in groups[1]["params"]} == {id(boosted.head.weight), id(boosted.head.bias)}


def test_low_precision_averages_the_maps_in_float32():
    model = build("small_cnn", "boost=5")
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.inference_mode():
        found = model(images(96))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, logits(model, images(96)), atol=0.05, rtol=0.05)


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "crossvit_tiny_240"])
def test_a_backbone_without_a_map_is_refused_with_the_reason(name):
    with pytest.raises(
        ConfigError, match=rf"model\.boost: BoostLU needs a map of features.*timm/{name} gives .*model\.boost=null"
    ):
        build(f"timm/{name}", "weights=none", "boost=5")


def test_the_command_line_refuses_it_before_training(capsys, small):
    words = [*small, "model=timm/vit_tiny_patch16_224", "model.weights=none", "model.boost=5", "loss=ll_r", "labeler=none"]
    assert main(["--exp", "digits_gpr", "--set", *words]) == 2
    assert "BoostLU needs a map of features" in capsys.readouterr().err


def test_a_network_of_ones_own_without_a_map_is_refused():
    flat = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    with pytest.raises(ConfigError, match="BoostLU needs a map of features"):
        Classifier(flat, 3, NUM_CLASSES, boost=5.0)(images())


@pytest.mark.parametrize("boost", ["0.5", "0", "nan"])
def test_a_boost_below_one_is_refused(boost):
    with pytest.raises(ConfigError, match=r"model\.boost"):
        load_experiment("digits_gpr", [f"model.boost={boost}"])
