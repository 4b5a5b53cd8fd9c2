"""MIME: the label encoder's outputs, the prior on them, labels that are taken for good, and who may use the loss."""

import math

import numpy as np
import pytest
import small_runs as runs
import torch
from model_helpers import NUM_CLASSES, images

import aevlp
from aevlp import load_experiment, losses
from aevlp.cli import main
from aevlp.config import registry
from aevlp.config.errors import ConfigError
from aevlp.folders import runs_root
from aevlp.models._label_encoder import sine_positions
from aevlp.models.mime import MIMEConfig


def build(*settings):
    config = load_experiment("digits_mime", [f"model.{setting}" for setting in settings])
    torch.manual_seed(0)
    return registry.build("models", config.model, num_classes=NUM_CLASSES, image_size=32)


def test_training_gives_logits_of_a_sample_and_its_distribution_evaluation_the_logits_of_its_mean():
    model = build("dropout=0", "freeze=true", "latent=16").train()
    pixels = images(32)
    with torch.no_grad():
        draws = model(pixels.repeat(200, 1, 1, 1))[0].view(200, 2, NUM_CLASSES)
        _, outputs = model(pixels)
        exact = model.eval()(pixels)
    assert set(outputs) == set(MIMEConfig.gives_outputs) == {"latent_mean", "latent_log_std"}
    assert all(value.shape == (2, NUM_CLASSES, 16) for value in outputs.values())
    mean, std = outputs["latent_mean"], outputs["latent_log_std"].exp()
    expected = torch.einsum("bck,ck->bc", mean, model.head["classifier"].weight) + model.head["classifier"].bias
    torch.testing.assert_close(exact, expected)
    spread = torch.einsum("bck,ck->bc", std**2, model.head["classifier"].weight ** 2).sqrt() / math.sqrt(
        10
    )  # of the mean of ten samples
    assert torch.all((draws.mean(0) - exact).abs() < 5 * spread / 200**0.5)
    torch.testing.assert_close(draws.std(0), spread, rtol=0.25, atol=0)
    assert torch.equal(model(pixels), exact)  # evaluation draws nothing


def test_queries_do_not_look_at_each_other():
    model = build("dropout=0").eval()
    before = model(images(32))
    with torch.no_grad():
        model.head["encoder"].queries[3] += 1
    changed = (model(images(32)) != before).any(0)
    assert changed.nonzero().flatten().tolist() == [3]


def test_the_place_of_a_feature_matters_and_positions_are_all_different():
    positions = sine_positions(4, 6, 32)
    assert positions.shape == (24, 32)
    assert len({tuple(row) for row in positions.tolist()}) == 24
    assert positions.abs().max() <= 1
    head = build("dropout=0").eval().head["encoder"]
    features = torch.randn(1, 96, 4, 4)
    assert not torch.allclose(head(features)[0], head(features.flip(-1))[0], atol=1e-4)


def test_freezing_keeps_batch_norm_still_and_everything_else_learns():
    for freeze in (True, False):
        model = build(f"freeze={str(freeze).lower()}").train()
        statistics = [m for m in model.backbone.modules() if isinstance(m, torch.nn.BatchNorm2d)]
        before = [m.running_mean.clone() for m in statistics]
        model(images(32))[0].sum().backward()
        assert all(torch.equal(m.running_mean, mean) == freeze for m, mean in zip(statistics, before, strict=True))
        assert all((m.weight.grad is None) == freeze for m in statistics)
        assert all(p.grad is not None for n, p in model.named_parameters() if n.startswith("head"))


@pytest.mark.parametrize("beta", [0.5, 0.0])
def test_the_loss_equals_a_loop(beta):
    numbers = np.random.default_rng(0)
    z, mean, log_std = numbers.normal(size=(3, 4)), numbers.normal(size=(3, 4, 2)), numbers.normal(size=(3, 4, 2))
    s = np.eye(3, 4)
    loss = losses.build("mime", num_classes=4, num_samples=5, beta=beta)
    loss.taken[4, 0] = True  # row 2 of the batch
    auxiliary = {"latent_mean": torch.from_numpy(mean).float(), "latent_log_std": torch.from_numpy(log_std).float()}
    value = loss(torch.from_numpy(z).float(), torch.from_numpy(s), torch.zeros(3, 4), epoch=1, num_epochs=2,
                 index=torch.tensor([1, 0, 4]), auxiliary=auxiliary)  # fmt: skip
    total = 0.0
    for i in range(3):
        for j in range(4):
            p = 1 / (1 + math.exp(-z[i, j]))
            total += -math.log((p if s[i, j] == 1 or (i, j) == (2, 0) else 1 - p) + 1e-5) / 12
            for k in range(2):
                total += beta * -0.5 * (1 + 2 * log_std[i, j, k] - mean[i, j, k] ** 2 - math.exp(log_std[i, j, k]) ** 2) / 24
    assert value.item() == pytest.approx(total, rel=1e-5)


def test_labels_above_the_threshold_are_taken_for_good_from_the_warmup_on():
    loss = losses.build("mime", num_classes=2, num_samples=2, warmup=2)
    sure, unsure = torch.tensor([[0.96, 0.94], [0.95, 0.951]]), torch.zeros(2, 2)
    for epoch, probabilities, wanted in ((1, sure, [[0, 0], [0, 0]]), (2, sure, [[1, 0], [0, 1]]), (3, unsure, [[1, 0], [0, 1]])):
        loss.on_epoch_end(lambda p=probabilities: [(torch.arange(2), p)], epoch)
        assert loss.taken.int().tolist() == wanted


def test_a_model_without_the_outputs_is_refused_before_training(capsys):
    assert main(["--exp", "digits_gpr", "--set", *runs.FAST, "loss=mime"]) == 2
    said = capsys.readouterr().err
    assert "loss mime needs the model outputs latent_mean, latent_log_std, but model small_cnn gives only logits" in said
    assert list(runs_root().glob("*")) == []


def test_a_backbone_without_a_map_is_refused():
    with pytest.raises(ConfigError, match="needs a map of features"):
        build("backbone={name: timm, backbone: vit_tiny_patch16_224, weights: none}")
    with pytest.raises(ConfigError, match=r"model\.backbone: unknown model 'resnets'"):
        build("backbone={name: resnets}")
    with pytest.raises(ConfigError, match=r"model\.backbone: boost has no effect here"):
        build("backbone.boost=5")
    with pytest.raises(ConfigError, match=r"model\.heads: 5 must divide the 96 channels"):
        build("heads=5")


def test_a_run_takes_labels_and_reports_them_in_its_checkpoint():
    words = ["model.latent=8", "loss.threshold=0.2", "loss.warmup=1", "trainer.epochs=1"]
    result = aevlp.train(load_experiment("digits_mime", [*[w for w in runs.FAST if "loss=" not in w], *words]))
    assert runs.newest(result.run_dir).state()["task"]["loss"]["taken"].any()
