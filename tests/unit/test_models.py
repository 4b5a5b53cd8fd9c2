"""Models by name: shapes, parameter groups, weight files, and what happens when weights cannot be had."""

import urllib.error
import urllib.request
from pathlib import Path

import pytest
import torch
from model_helpers import NUM_CLASSES, build, images, logits, normalized

from aevlp.config.errors import ConfigError, UnavailableError
from aevlp.config.schema import TrainerConfig
from aevlp.training.optimizer import build_optimizer
from aevlp.training.task import synchronised


@pytest.fixture
def no_network(monkeypatch, tmp_path):
    """Nothing is cached, and nobody answers."""

    def refuse(*_, **__):
        raise urllib.error.URLError("network is down")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.fixture(scope="module")
def resnet_files(tmp_path_factory):
    """A random torchvision ResNet-50 in evaluation mode, and its state dict as .pt and .safetensors."""
    from safetensors.torch import save_file
    from torchvision.models import resnet50

    folder = tmp_path_factory.mktemp("resnet")
    torch.manual_seed(1)
    network = resnet50(weights=None).eval()
    torch.save(network.state_dict(), folder / "resnet.pt")
    save_file(network.state_dict(), folder / "resnet.safetensors")
    return network, folder


def test_small_cnn_has_the_stated_size_and_takes_uint8():
    model = build("small_cnn")
    assert sum(p.numel() for p in model.parameters()) == 139_232 + 97 * NUM_CLASSES
    assert model(images(96)).shape == (2, NUM_CLASSES)
    assert not logits(model, images(96)).any()  # from zero: features are large, and no class begins far below another
    model.head.reset_parameters()
    map_of_features = model.backbone[:-2](normalized(images(96)))
    assert map_of_features.shape == (2, 96, 12, 12)
    torch.testing.assert_close(model(images(96)), model.head(map_of_features.amax(dim=(2, 3))), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("name", "settings"), [("small_cnn", ()), ("resnet50", ("weights=none",))])
def test_the_head_is_a_group_of_its_own_and_no_parameter_is_left_out(name, settings):
    model = build(name, *settings)
    groups = build_optimizer(TrainerConfig(learning_rate=0.5, head_lr_mult=3), model, torch.nn.Module()).param_groups
    assert [group["lr"] for group in groups] == [0.5, 1.5]
    assert {id(p) for p in groups[1]["params"]} == {id(model.head.weight), id(model.head.bias)}
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))


@pytest.mark.parametrize(("depth", "size"), [(50, 23_508_032), (101, 42_500_160)])
def test_resnet_without_weights(depth, size):
    model = build(f"resnet{depth}", "weights=none")
    assert sum(p.numel() for p in model.backbone.parameters()) == size
    assert logits(model, images()).shape == (2, NUM_CLASSES)


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_resnet_from_a_file_computes_what_the_file_holds(resnet_files, suffix):
    network, folder = resnet_files
    model = build("resnet50", f"weights={folder}/resnet.{suffix}")
    network.fc = torch.nn.Identity()
    with torch.no_grad():
        expected = model.head(network(normalized(images())))
    torch.testing.assert_close(logits(model, images()), expected, atol=1e-4, rtol=1e-4)


def test_resnet_weight_file_of_another_architecture_is_refused(resnet_files):
    with pytest.raises(ConfigError, match=r"model\.weights: .*resnet\.pt does not fit the model"):
        build("resnet101", f"weights={resnet_files[1]}/resnet.pt")


@pytest.mark.parametrize("model", ["resnet50", "timm/resnet18"])
def test_files_that_hold_no_weights_are_refused(tmp_path, model):
    (tmp_path / "text.pt").write_text("hello")
    (tmp_path / "text.safetensors").write_text("hello")
    (tmp_path / "empty.pth").write_bytes(b"")
    torch.save([1, 2], tmp_path / "list.pt")
    torch.save({"state_dict": {"fc.weight": torch.ones(1)}}, tmp_path / "nested.pt")
    (tmp_path / "cut.pt").write_bytes((tmp_path / "nested.pt").read_bytes()[:300])
    for name in ("cut.pt", "text.pt", "text.safetensors", "empty.pth", "list.pt", "nested.pt"):
        with pytest.raises(
            ConfigError, match=rf"model\.weights: .*{name} (cannot be read as weights|must hold a plain state dict)"
        ):
            build(model, f"weights={tmp_path}/{name}")


@pytest.mark.parametrize(
    ("model", "words"), [("resnet50", "V1, V2, none nor a file"), ("timm/resnet18", "pretrained, none nor a file")]
)
def test_an_unknown_word_for_weights_is_refused(model, words):
    with pytest.raises(ConfigError, match=rf"model\.weights: 'V3' is neither {words}"):
        build(model, "weights=V3")


class Marker:
    """Pickled, it would touch a file when it is read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def test_a_malicious_pickle_is_never_executed(tmp_path, no_network):
    marker, cached = tmp_path / "executed", tmp_path / "torch" / "hub" / "checkpoints" / "resnet50-0676ba61.pth"
    cached.parent.mkdir(parents=True)
    for path in (tmp_path / "evil.pt", cached):
        torch.save({"conv1.weight": Marker(marker)}, path)
    with pytest.raises(ConfigError, match=r"cannot be read as weights \(UnpicklingError\)$"):
        build("resnet50", f"weights={tmp_path}/evil.pt")
    with pytest.raises(UnavailableError, match=r"could not be loaded .*model\.weights.*resnet50-0676ba61\.pth"):
        build("resnet50", "weights=V1")
    assert not marker.exists()


@pytest.mark.parametrize(
    ("model", "weights", "instead"),
    [
        ("resnet50", "V1", "set model.weights to a file, or to none, or place the file at"),
        ("resnet101", "V2", "set model.weights to a file, or to none, or place the file at"),
        ("timm/resnet18", "pretrained", "set model.weights to a file, or to none"),
    ],
)
def test_weights_neither_cached_nor_reachable(no_network, never_waits, model, weights, instead):
    with pytest.raises(UnavailableError, match=r"cannot be reached \(network is down\)") as caught:
        build(model, f"weights={weights}")
    assert instead in str(caught.value)


def test_weights_in_the_cache_of_torchvision_are_used_without_a_network(resnet_files, no_network, tmp_path, monkeypatch):
    network, folder = resnet_files
    cached = tmp_path / "torch" / "hub" / "checkpoints" / "resnet50-0676ba61.pth"
    cached.parent.mkdir(parents=True)
    cached.symlink_to(folder / "resnet.pt")
    assert torch.equal(build("resnet50", "weights=V1").backbone[0].weight, network.conv1.weight)


def test_synchronised_batch_norm_of_timm_keeps_its_activation_and_a_frozen_one_stays_frozen():
    timm = pytest.importorskip("timm")
    from timm.layers import SyncBatchNormAct

    plain = timm.create_model("efficientnet_b0", pretrained=False)
    kinds = [type(module).__name__ for module in synchronised(plain).modules()]
    assert "BatchNormAct2d" not in kinds
    assert any(isinstance(module, SyncBatchNormAct) for module in plain.modules())
    model = synchronised(build("mime", "backbone={name: resnet, depth: 50, weights: none}")).train()
    norms = [module for module in model.modules() if isinstance(module, torch.nn.SyncBatchNorm)]
    assert len(norms) == 53
    assert not any(module.training for module in norms)
