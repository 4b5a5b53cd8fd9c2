"""A GPU computes what a CPU does: losses, labels, embeddings, within tolerances that are stated; and steps never wait for it."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from loss_params import PARAMS

import aevlp
from aevlp import losses
from aevlp.config import registry
from aevlp.data.images import ArrayImages
from aevlp.labelers.damp import assign
from aevlp.runs.folder import RunFolder
from aevlp.tracking import Trackers
from aevlp.training.run import build_trainer
from aevlp.training.signals import StopFlag
from aevlp.vision_language.embedder import Embedder
from aevlp.vision_language.encoders.huggingface import HuggingFaceConfig

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]
N, C = 12, 6
# cuDNN convolves float32 in TF32, whose 10 bits of mantissa are 1e-3 of a value; embeddings are of unit length, 64 numbers.
EMBEDDING_TOLERANCE = 2e-3


def batch():
    numbers = torch.Generator().manual_seed(1)
    logits = torch.randn(N, C, generator=numbers) * 3
    observed = torch.nn.functional.one_hot(torch.arange(N) % C, C).to(torch.int8)
    observed[::4, 1] = -1
    pseudo = torch.randint(-1, 2, (N, C), generator=numbers).to(torch.int8)
    return logits, observed, pseudo, torch.randperm(N, generator=numbers)


def scenes(count=20):
    return ArrayImages(np.random.default_rng(0).integers(0, 256, (count, 60, 80, 3), dtype=np.uint8))


def embeddings(device, **settings):
    config = HuggingFaceConfig(source="bundled", precision="fp32", batch_size=8, **settings)
    found = dict(Embedder(config, device, print).embed(scenes(), grid=2, flip=True))
    return torch.cat([found[rows] for rows in sorted(found, key=lambda rows: rows.start)])


@pytest.mark.parametrize("name", registry.names("losses"))
def test_a_loss_and_its_gradient_are_those_of_the_cpu(name):
    torch.manual_seed(0)
    module = losses.build(name, num_classes=C, num_samples=N, **PARAMS.get(name, {}))
    found = {}
    for device in ("cpu", "cuda"):
        loss = copy.deepcopy(module).to(device)
        logits, observed, pseudo, index = (part.to(device) for part in batch())
        logits.requires_grad_()
        value = loss(logits, observed, pseudo, epoch=2, num_epochs=8, index=index)
        value.backward()
        found[device] = [value, logits.grad, *(p.grad for p in loss.parameters()), *(t for t in loss.buffers())]
    for mine, theirs in zip(found["cuda"], found["cpu"], strict=True):
        torch.testing.assert_close(mine.cpu(), theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("negatives", ["off", "on"])
def test_labels_of_the_same_cosines_are_the_same(negatives):
    numbers = torch.Generator().manual_seed(2)
    cosines = torch.rand(500, 10, 20, generator=numbers)
    observed = torch.nn.functional.one_hot(torch.randint(20, (500,), generator=numbers), 20).to(torch.int8)
    rule = {"temperature": 0.1, "eta": 0.3, "threshold": 0.1, "top_k": 3, "negative_ratio": 0.3, "negatives": negatives}
    here, there = (assign(cosines.to(device), observed.to(device), **rule).cpu() for device in ("cpu", "cuda"))
    assert here.any()
    assert (here != there).float().mean() <= 1e-4  # a score within 1e-7 of a threshold or of another may fall on either side


def test_embeddings_are_those_of_the_cpu_and_labels_nearly_all():
    here, there = embeddings("cpu", cache=False), embeddings("cuda", cache=False)
    assert (here.float() - there.float()).abs().max() <= EMBEDDING_TOLERANCE


@pytest.mark.parametrize("settings", [{"workers": 0}, {"workers": 3}, {"cache": True}])
def test_embeddings_are_the_same_to_the_bit_however_they_are_fed(settings):
    first = embeddings("cuda", **{"cache": False, "workers": 1} | settings)
    assert torch.equal(embeddings("cuda", **{"cache": False, "workers": 1} | settings), first)
    assert torch.equal(embeddings("cuda", cache=False, workers=1), first)


def test_nothing_but_the_event_waits_while_an_encoder_is_fed():
    embedder = Embedder(HuggingFaceConfig(source="bundled", cache=False, batch_size=8), "cuda", print)
    embedder.encoder.encode_images(torch.zeros(8, 3, 48, 48, dtype=torch.uint8))  # loads kernels
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in embedder.embed(scenes(), grid=2, flip=True):
            pass
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("words", [(), ("trainer.precision=bf16",), ("trainer.optimizer=adamw", "dataset.flip=true")])
def test_a_whole_training_step_waits_for_nothing(small, words):
    config = aevlp.load_experiment("digits_gpr", [*small, "dataset.num_train=48", *words])
    with StopFlag() as stop:
        data = registry.build("datasets", config.dataset)
        trainer = build_trainer(config, data, RunFolder.create(config), Trackers([]), stop)
        trainer.task.model.train()
        first, second, third = list(trainer.loader.epoch(1))
        for step, warm in enumerate((first, second)):
            trainer.task.step(warm, epoch=1, step=step)
        torch.cuda.set_sync_debug_mode("error")
        try:
            trainer.task.step(third, epoch=1, step=2)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    assert (trainer.task.pseudo != 0).any()
