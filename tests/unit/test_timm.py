"""Backbones of timm: any name, any image size, weight files, and names that timm does not know."""

import pytest
import torch
from model_helpers import NUM_CLASSES, build, images, logits, normalized

from aevlp import load_experiment
from aevlp.config.errors import ConfigError


@pytest.mark.parametrize("name", ["resnet18", "mobilenetv3_small_050"])  # the latter's features are wider than its last map
def test_timm_convolutional_networks(name):
    config = load_experiment("digits_gpr", [f"model=timm/{name}", "model.weights=none"])
    assert (config.model.name, config.model.backbone, config.model.weights) == ("timm", name, "none")
    assert logits(build(f"timm/{name}", "weights=none"), images()).shape == (2, NUM_CLASSES)


def test_timm_vision_transformer_at_an_image_size_of_its_own():
    model = build("timm/vit_tiny_patch16_224", "weights=none", image_size=80)
    assert logits(model, images(80)).shape == (2, NUM_CLASSES)
    with torch.no_grad():
        features = model.backbone(normalized(images(80), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)))
        torch.testing.assert_close(logits(model, images(80)), model.head(features), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "suggestion"), [("resnet81", "resnet18"), ("resnet18.a9_in1k", "resnet18.a3_in1k"), ("zzzz", None)]
)
def test_an_unknown_timm_name_is_refused_with_the_nearest(name, suggestion):
    with pytest.raises(ConfigError, match=rf"model\.backbone: timm has no model '{name}'") as caught:
        build(f"timm/{name}", "weights=none")
    assert suggestion is None or suggestion in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_timm_from_a_file_with_a_head(tmp_path, suffix):
    import timm
    from safetensors.torch import save_file

    torch.manual_seed(2)
    network = timm.create_model("resnet18", pretrained=False).eval()
    path = tmp_path / f"weights.{suffix}"
    (torch.save if suffix == "pt" else save_file)(network.state_dict(), path)
    model = build("timm/resnet18", f"weights={path}")
    with torch.no_grad():
        expected = model.head(network.forward_head(network.forward_features(normalized(images())), pre_logits=True))
    torch.testing.assert_close(logits(model, images()), expected, atol=1e-4, rtol=1e-4)
    with pytest.raises(ConfigError, match="does not fit the model"):
        build("timm/resnet34", f"weights={path}")
