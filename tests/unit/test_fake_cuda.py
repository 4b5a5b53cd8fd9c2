"""Every loss, labeler, model and encoder on a device that only pretends: nothing mixes devices, nothing waits for the GPU.

What the forward pass does is seen here without a card; backward passes, kernels and numbers are what `pytest -m gpu` is for.
"""

import contextlib

import numpy as np
import pytest
import torch
from fake_cuda import WaitsForTheDeviceError, fake_cuda, move, moved
from loss_params import PARAMS
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException

from aevlp import losses
from aevlp.config import registry
from aevlp.data.dataset import Split
from aevlp.data.images import ArrayImages
from aevlp.vision_language.encoders.huggingface import HuggingFace, HuggingFaceConfig

C, N, B, SIDE, WIDTH = 5, 7, 4, 64, 12
# Hooks after an epoch may wait, once, for these reasons.
WAITING_HOOKS = {
    "em_apl": "a run that goes on from between the last step and the hook has its number of epochs in a buffer alone"
}
SETTINGS = {
    **{name: {"backbone": {"name": "small_cnn"}} for name in ("mime", "smile")},
    **{name: {"encoder": {"source": "bundled", "cache": False}} for name in ("damp", "vlpl")},
    "resnet": {"weights": "none"}, "timm": {"backbone": "resnet10t", "weights": "none"},
    "probe": {"encoder": {"source": "bundled"}},
}  # fmt: skip
every = {kind: pytest.mark.parametrize("name", registry.names(kind)) for kind in ("losses", "models", "labelers")}


def settings(kind, name):
    return registry.settings(kind, name)(name=name, **SETTINGS.get(name, {}))


def build_model(name):
    torch.manual_seed(0)
    config = settings("models", name)
    features = {"features": torch.zeros(N, 1, WIDTH)} if name == "probe" else {}
    return registry.build("models", config, num_classes=C, image_size=SIDE, **features)


def photos_on_device():
    return torch.zeros(B, 3, SIDE, SIDE, dtype=torch.uint8, device="cuda")


def further_outputs(mode, needed):
    """What a model that suits a loss gives beside the logits; nothing where the loss asks for nothing."""
    if not needed:
        return {}
    name = next(name for name in registry.names("models") if set(needed) <= set(registry.settings("models", name).gives_outputs))
    return {"auxiliary": move(mode, build_model(name).train())(photos_on_device())[1]}


@pytest.mark.parametrize("waits", [
    lambda x: x.sum().item(), lambda x: bool(x.any()), lambda x: x.nonzero(), lambda x: x[x > 0], lambda x: x.cpu(),
    lambda x: torch.tensor([1, 2], device="cuda"), lambda x: x + torch.ones(3), lambda x: torch.ones(3).copy_(x),
])  # fmt: skip
def test_whatever_waits_or_mixes_devices_is_seen(waits):
    with fake_cuda() as mode:
        x = moved(mode, torch.ones(3))
        x.to("cpu", non_blocking=True)
        with pytest.raises((DataDependentOutputException, DynamicOutputShapeException, WaitsForTheDeviceError, RuntimeError)):
            waits(x)


@every["losses"]
@pytest.mark.parametrize("epoch", [1, 2, 8])
def test_a_loss_stays_on_the_device_and_waits_for_nothing(name, epoch):
    loss = losses.build(name, num_classes=C, num_samples=N, **PARAMS.get(name, {}))
    with fake_cuda() as mode:
        move(mode, loss)
        further = further_outputs(mode, loss.config.needs_outputs)
        observed, pseudo = (torch.zeros(B, C, dtype=torch.int8, device="cuda") for _ in range(2))
        index = torch.zeros(B, dtype=torch.int64, device="cuda")
        for logits in (torch.randn(B, C, device="cuda"), torch.randn(B, C, device="cuda", dtype=torch.bfloat16)):
            value = loss(logits, observed, pseudo, epoch=epoch, num_epochs=8, index=index, **further)
            assert (value.device.type, value.shape, value.dtype) == ("cuda", (), torch.float32)
        assert all(tensor.device.type == "cuda" for tensor in loss.state_dict().values())
        if hasattr(loss, "on_epoch_end"):
            with pytest.raises(DataDependentOutputException) if name in WAITING_HOOKS else contextlib.nullcontext():
                loss.on_epoch_end(lambda: [(index, torch.rand(B, C, device="cuda"))], epoch)


@every["models"]
@pytest.mark.parametrize("training", [True, False])
def test_a_model_stays_on_the_device_and_waits_for_nothing(name, training):
    model = build_model(name).train(training)
    with fake_cuda() as mode:
        batch = torch.zeros(B, WIDTH, device="cuda") if name == "probe" else photos_on_device()
        result = move(mode, model)(batch)
        logits, further = result if isinstance(result, tuple) else (result, {})
        assert logits.shape == (B, C)
        assert all(tensor.device.type == "cuda" for tensor in (logits, *further.values()))


@every["labelers"]
@pytest.mark.parametrize("flip", [True, False])
def test_a_labeler_labels_on_the_device_and_waits_for_nothing(name, flip):
    photos = ArrayImages(np.random.default_rng(0).integers(0, 256, (N, 60, 60, 3), dtype=np.uint8))
    split = Split(photos, np.eye(N, C, dtype=np.int8), None)
    labeler = registry.build(
        "labelers", settings("labelers", name), prompt_names=["zero", "one", "two", "three", "four"], flip=flip, seed=0,
        device=torch.device("cpu"),
    )  # fmt: skip
    labeler.prepare(split)
    index = torch.tensor([3, 0, 6, 1])  # stays on the host
    with fake_cuda() as mode:
        for attribute, value in vars(labeler).items():
            if isinstance(value, torch.Tensor):
                setattr(labeler, attribute, moved(mode, value))
        observed = torch.zeros(B, C, dtype=torch.int8, device="cuda")
        pseudo = labeler.label(index, observed, epoch=1)
        assert (pseudo.device.type, pseudo.shape, pseudo.dtype) == ("cuda", (B, C), torch.int8)


def test_an_encoder_takes_views_and_waits_for_nothing():
    encoder = HuggingFace(HuggingFaceConfig(source="bundled"))
    encoder.load()
    with fake_cuda() as mode:
        encoder.device = torch.device("cuda")
        for attribute, value in vars(encoder).items():
            if isinstance(value, torch.nn.Module):
                move(mode, value)
            elif isinstance(value, torch.Tensor):
                setattr(encoder, attribute, moved(mode, value))
        embeddings = encoder.encode_images(torch.zeros(8, 3, 48, 48, dtype=torch.uint8, device="cuda"))
        assert (embeddings.device.type, len(embeddings)) == ("cuda", 8)
