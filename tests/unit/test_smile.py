"""SMILE for images: what the model puts out, and the loss term by term."""

import math

import pytest
import small_runs as runs
import torch
from model_helpers import NUM_CLASSES, images
from torch.distributions import Beta, Normal, kl_divergence

import aevlp
from aevlp import load_experiment, losses
from aevlp.config import registry
from aevlp.losses.smile import beta_divergence
from aevlp.models.smile import SMILEConfig

TERMS = ("align", "classifier", "label", "prior")


def build(*settings):
    config = load_experiment("digits_smile", [f"model.{setting}" for setting in settings])
    torch.manual_seed(0)
    return registry.build("models", config.model, num_classes=NUM_CLASSES, image_size=32)


def test_logits_and_concentrations_are_a_unit_a_class_on_the_features_of_the_label_encoder():
    """As in the network for images by SMILE's authors; evaluation draws nothing."""
    model = build("dropout=0", "freeze=true")
    with torch.no_grad():
        trained, outputs = model.train()(images(32))
        logits = model.eval()(images(32))
        classes = model.head["encoder"](model.features(images(32)))

        def unit(name):
            return torch.einsum("bcf,cf->bc", classes, model.head[name].weight) + model.head[name].bias

        torch.testing.assert_close(logits, unit("classifier"))
        torch.testing.assert_close(trained, unit("classifier"))
        for name in ("label_for", "label_against"):
            torch.testing.assert_close(outputs[name], torch.log1p(unit(name).exp()) + 0.1)
        assert torch.equal(model(images(32)), logits)


def test_soft_labels_follow_their_distribution_and_carry_gradient():
    model = build("dropout=0", "freeze=true").train()
    logits, outputs = model(images(32, 1).repeat(50, 1, 1, 1))
    assert set(outputs) == set(SMILEConfig.gives_outputs)
    label, a, b = outputs["label"], outputs["label_for"], outputs["label_against"]
    assert label.shape == a.shape == b.shape == logits.shape
    assert ((label >= 0) & (label <= 1)).all()
    assert min(a.min(), b.min()) >= 0.1
    expected = Beta(a, b)
    error = (label - expected.mean).sum(0) / expected.variance.sum(0).sqrt()  # standard normal, summed over 50 draws
    assert error.abs().max() < 5
    label.sum().backward()
    assert model.head["label_for"].weight.grad.any()
    assert model.head["encoder"].queries.grad.any()
    assert model.head["classifier"].weight.grad is None


def batch():
    torch.manual_seed(1)
    mean, log_std = torch.randn(3, 4, 2), torch.randn(3, 4, 2)
    a, b = torch.rand(3, 4) * 3 + 0.1, torch.rand(3, 4) * 3 + 0.1
    auxiliary = dict(zip(("latent_mean", "latent_log_std", "label_for", "label_against"), (mean, log_std, a, b), strict=True))
    return torch.randn(3, 4), torch.eye(3, 4), auxiliary | {"label": torch.rand(3, 4)}


@pytest.mark.parametrize("term", TERMS)
def test_each_term_equals_a_loop_or_torchs_own_distributions(term):
    z, s, auxiliary = batch()
    loss = losses.build("smile", **{name: float(name == term) for name in TERMS})
    found = loss(z, s, torch.zeros(3, 4), epoch=1, num_epochs=2, auxiliary=auxiliary).item()
    total = 0.0
    for i in range(3):
        for j in range(4):
            p, d = 1 / (1 + math.exp(-z[i, j].item())), auxiliary["label"][i, j].item()
            if term == "align":
                total -= (d * math.log(p + 1e-5) + (1 - d) * math.log(1 - p + 1e-5)) / 12
            elif term != "prior":
                value = p if term == "classifier" else d
                total -= math.log((value if s[i, j] == 1 else 1 - value) + 1e-5) / 12
    if term == "prior":
        latent = Normal(auxiliary["latent_mean"].double(), auxiliary["latent_log_std"].double().exp())
        label = Beta(auxiliary["label_for"].double(), auxiliary["label_against"].double())
        total = (kl_divergence(latent, Normal(0.0, 1.0)).mean() + kl_divergence(label, Beta(1.0, 1.0)).mean()).item()
    assert found == pytest.approx(total, rel=1e-4)


@pytest.mark.parametrize("name", ["smile", "mime"])
def test_extreme_outputs_stay_finite_in_value_and_gradient(name):
    extremes = {"latent_mean": (-200.0, 200.0), "latent_log_std": (-6.0, 6.0), "label_for": (0.1, 1e3), "label": (0.0, 1.0)}
    extremes["label_against"] = extremes["label_for"]
    z = torch.tensor([[-200.0, 200.0], [200.0, -200.0]], requires_grad=True)
    auxiliary = {key: torch.tensor([[low, high], [high, low]], requires_grad=True) for key, (low, high) in extremes.items()}
    loss = losses.build(name, num_classes=2, num_samples=2)
    value = loss(z, torch.eye(2), torch.zeros(2, 2), epoch=1, num_epochs=2, index=torch.arange(2), auxiliary=auxiliary)
    value.backward()
    assert torch.isfinite(value)
    for leaf in (z, *(auxiliary[key] for key in loss.config.needs_outputs)):
        assert torch.isfinite(leaf.grad).all()


def test_the_uniform_distribution_is_at_distance_0():
    assert beta_divergence(torch.ones(2), torch.ones(2)).item() == pytest.approx(0, abs=1e-6)


def test_a_run_trains_and_the_label_encoder_learns():
    words = ["model.latent=8", "trainer.epochs=1"]
    config = load_experiment("digits_smile", [*[word for word in runs.FAST if "loss=" not in word], *words])
    result = aevlp.train(config)
    torch.manual_seed(config.seed)
    start = registry.build("models", config.model, num_classes=10, image_size=32).state_dict()
    end = runs.newest(result.run_dir).weights()
    assert not torch.equal(start["head.label_for.weight"], end["head.label_for.weight"])
    assert not torch.equal(start["head.encoder.queries"], end["head.encoder.queries"])
