"""The losses against float64 loops, the published reference values, and what a dense float32 loss must satisfy."""

import math

import numpy as np
import oracles
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aevlp import losses
from aevlp.config.errors import ConfigError

pytestmark = pytest.mark.processor

CURVES = {"beta": [0.0, 2.0, -2.0, -2.0], "alpha": [0.5, 2.0, 0.8, 0.5], "q2": 0.01, "q3": 1.0}
VOC = {**CURVES, "lambda1": 0.7, "lambda2": 0.4, "rho": 0.9, "regularizer": 0.05, "expected_positives": 1.5}
COCO = {**VOC, "beta": [0.0, 10.0, -2.0, -8.0], "lambda2": 0.5, "regularizer": 0.001, "expected_positives": 2.9}
CUB = {**COCO, "q3": 1.5, "lambda1": 0.8, "lambda2": 0.2, "regularizer": 0.01, "expected_positives": 31.4}
STEEP = {**CURVES, "beta": [0.0, 10.0, -2.0, -8.0], "q3": 1.5}
VARIANTS = [("an", {}), ("an_pl", {}), ("bce", {}), ("em", {"alpha": 0.2}), ("gr", CURVES), ("gr", STEEP)]
VARIANTS += [("gpr", VOC), ("gpr", COCO), ("gpr", CUB), ("gpr", {**CUB, "regularizer": 0.1})]
VARIANTS += [
    ("an_ls", {}),
    ("wan", {}),
    ("epr", {"expected_positives": 1.5}),
    ("ll_r", {"delta": 7.5}),
    ("ll_ct", {"delta": 7.5}),
]
VARIANTS += [("asl", {}), ("asl", {"gamma_positive": 1.0, "detach_focus": False}), ("hill", {}), ("splc", {}), ("vlpl", {})]
VARIANTS += [("vlpl", {"warmup": 3, "alpha": 0.2})]
PROPERTY = settings(deadline=None, derandomize=True, max_examples=30)
every_variant = pytest.mark.parametrize(("name", "params"), VARIANTS, ids=lambda v: v if isinstance(v, str) else "")


def loss_value(name, params, logits, observed, pseudo, **when):
    module = losses.build(name, num_classes=logits.shape[1], num_samples=len(logits), **params)
    return module(logits, torch.as_tensor(observed), torch.as_tensor(pseudo), **when)


def entry(name, params, p, *, s=0, u=0, epoch=1, num_epochs=8):
    """The loss of a single entry with probability p."""
    logits, observed, pseudo = torch.tensor([[math.log(p / (1 - p))]]), np.array([[s]], np.float32), np.array([[u]], np.int8)
    return loss_value(name, params, logits, observed, pseudo, epoch=epoch, num_epochs=num_epochs).item()


@st.composite
def batches(draw, bound=30.0, max_classes=6):
    shape = (draw(st.integers(1, 5)), draw(st.integers(1, max_classes)))
    numbers = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    logits = numbers.uniform(-bound, bound, shape).astype(np.float32)
    observed = np.zeros(shape, np.float32)
    for i in range(shape[0]):  # every third row or so has no positive
        if numbers.random() > 0.3:
            observed[i, numbers.integers(shape[1])] = 1
    pseudo = numbers.integers(-1, 2, shape).astype(np.int8)  # also where a positive is observed
    num_epochs = draw(st.integers(1, 10))
    return logits, observed, pseudo, {"epoch": draw(st.integers(1, num_epochs)), "num_epochs": num_epochs}


@pytest.mark.parametrize(
    ("name", "params", "s", "expected"),
    [("an", {}, 1, 1.203939), ("an", {}, 0, 0.356661), ("bce", {}, 1, 1.203939), ("em", {"alpha": 0.2}, 0, -0.122169)],
)
def test_plain_losses_give_the_reference_values_at_p_30_percent(name, params, s, expected):
    assert entry(name, params, 0.3, s=s) == pytest.approx(expected, abs=1e-6)


def test_l_q_gives_the_reference_values():
    found = [oracles.l_q(0.3, 0.01), oracles.l_q(0.7, 1.0), oracles.l_q(0.7, 1.5)]
    assert found == pytest.approx([1.196754, 0.3, 0.276225], abs=5.1e-7)


@pytest.mark.parametrize(
    ("params", "epoch", "num_epochs", "p", "k", "v", "neutral", "weight", "positive", "negative"),
    [
        (VOC, 1, 8, 0.1, 0.11920, 0.97129, 0.349099, 0.4, 0.833145, 0.102335),
        (VOC, 1, 8, 0.9, 0.11920, 0.98020, 0.789325, 0.4, 0.130033, 2.256990),
        (VOC, 8, 8, 0.1, 0.13883, 0.37531, 0.150929, 0.6247, 1.301141, 0.039543),
        (VOC, 8, 8, 0.9, 0.39532, 0.98020, 0.574240, 0.4, 0.130033, 2.256990),
        (COCO, 1, 8, 0.1, 0.11920, 0.97129, 0.349099, 0.5, 1.041431, 0.102335),
        (COCO, 8, 8, 0.1, 0.00170, 0.37531, 0.038920, 0.6247, 1.301141, 0.039543),
        (COCO, 8, 8, 0.9, 0.65135, 0.98020, 0.374800, 0.5, 0.162541, 2.256990),
        (CUB, 1, 10, 0.1, 0.11920, 0.97335, 0.347659, 0.2, 0.416572, 0.102552),
        (CUB, 10, 10, 0.9, 0.66819, 0.98020, 0.278941, 0.2, 0.065017, 2.256990),
    ],
)
def test_gpr_gives_the_reference_table(params, epoch, num_epochs, p, k, v, neutral, weight, positive, negative):
    params, when = {**params, "regularizer": 0.0}, {"epoch": epoch, "num_epochs": num_epochs}
    found = oracles.confidence_and_weight(p, epoch, num_epochs, params["beta"], params["alpha"])
    assert found == pytest.approx((k, v), abs=5.1e-6)
    assert 1 - min(max(found[1], 1 - params["lambda1"]), 1 - params["lambda2"]) == pytest.approx(weight, abs=5.1e-5)
    exact = np.full((1, 1), math.log(p / (1 - p)))
    for u, expected in {0: neutral, 1: positive, -1: negative}.items():
        oracle = oracles.loss("gpr", exact, np.zeros((1, 1)), np.full((1, 1), u), **when, **params)
        assert oracle == pytest.approx(expected, abs=5.1e-7)
        assert entry("gpr", params, p, u=u, **when) == pytest.approx(expected, rel=5e-6, abs=1e-6)


@pytest.mark.parametrize(
    ("params", "num_epochs", "epoch", "w", "b", "mu", "sigma"),
    [
        (VOC, 8, 1, 0, -2, 0.5375, 1.8125),
        (VOC, 8, 8, 1.75, -2, 0.8, 0.5),
        (COCO, 8, 2, 1.25, -2.75, 0.575, 1.625),
        (COCO, 8, 4, 3.75, -4.25, 0.65, 1.25),
        (COCO, 8, 8, 8.75, -7.25, 0.8, 0.5),
        (CUB, 10, 1, 0, -2, 0.53, 1.85),
        (CUB, 10, 4, 3, -3.8, 0.62, 1.4),
        (CUB, 10, 8, 7, -6.2, 0.74, 0.8),
        (CUB, 10, 10, 9, -7.4, 0.8, 0.5),
    ],
)
def test_gpr_follows_the_published_schedules(params, num_epochs, epoch, w, b, mu, sigma):
    """The four numbers are solved back out of the loss at two probabilities (q = 1 makes the neutral loss linear in K)."""
    assert oracles.schedule(epoch, num_epochs, params["beta"], params["alpha"]) == pytest.approx((w, b, mu, sigma), abs=1e-12)
    params = {**params, "q2": 1.0, "q3": 1.0, "regularizer": 0.0}
    points, when = (0.05, 0.35), {"epoch": epoch, "num_epochs": num_epochs}
    distance, slope = [], []
    for p in points:
        v = entry("gpr", params, p, u=-1, **when) / oracles.neg_log(1 - p, 1e-7)
        k = (entry("gpr", params, p, **when) / v - p) / (1 - 2 * p)
        distance.append(-math.sqrt(-2 * math.log(v)))
        slope.append(math.log(k / (1 - k)))
    found_sigma = (points[1] - points[0]) / (distance[1] - distance[0])
    found_w = (slope[1] - slope[0]) / (points[1] - points[0])
    assert (found_sigma, points[0] - found_sigma * distance[0]) == pytest.approx((sigma, mu), rel=5e-4)
    assert (found_w, slope[0] - found_w * points[0]) == pytest.approx((w, b), rel=5e-4, abs=5e-3)


@every_variant
@PROPERTY
@given(batch=batches())
def test_loss_equals_the_float64_loop(name, params, batch):
    logits, observed, pseudo, when = batch
    value = loss_value(name, params, torch.from_numpy(logits), observed, pseudo, **when)
    assert value.dtype == torch.float32
    assert value.shape == ()
    expected = oracles.loss(name, logits.astype(float), observed, pseudo, **when, **params)
    assert value.item() == pytest.approx(expected, rel=1e-4, abs=5e-6)


@every_variant
@settings(PROPERTY, max_examples=15)
@given(batch=batches(max_classes=4))
def test_gradient_equals_central_differences_with_k_and_v_held(name, params, batch):
    logits, observed, pseudo, when = batch
    leaf = torch.from_numpy(logits).requires_grad_()
    loss_value(name, params, leaf, observed, pseudo, **when).backward()
    expected = oracles.loss_gradient(name, logits.astype(np.float64), observed, pseudo, **when, **params)
    np.testing.assert_allclose(leaf.grad.numpy() * logits.size, expected * logits.size, rtol=5e-4, atol=2e-6)


@every_variant
@settings(PROPERTY, max_examples=8)
@given(batch=batches(), seed=st.integers(0, 1000))
def test_reordering_the_batch_keeps_the_value_and_reorders_the_gradient(name, params, batch, seed):
    logits, observed, pseudo, when = batch
    order = np.random.default_rng(seed).permutation(len(logits))
    first, second = torch.from_numpy(logits).requires_grad_(), torch.from_numpy(logits[order]).requires_grad_()
    value = loss_value(name, params, first, observed, pseudo, **when)
    moved = loss_value(name, params, second, observed[order], pseudo[order], **when)
    (value + moved).backward()
    assert moved.item() == pytest.approx(value.item(), rel=2e-6, abs=1e-6)
    np.testing.assert_allclose(second.grad.numpy(), first.grad.numpy()[order], rtol=1e-5, atol=1e-8)


@every_variant
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("epoch", [1, 8])
def test_value_and_gradient_are_finite_at_logits_of_200(name, params, dtype, epoch):
    rows = [(z, s, u) for z in (-200.0, 200.0) for s in (0, 1) for u in (-1, 0, 1)]
    leaf = torch.tensor([[z, 1.0] for z, _, _ in rows], dtype=dtype, requires_grad=True)
    observed = np.array([[s, 0] for _, s, _ in rows], np.float32)
    pseudo = np.array([[u, 0] for _, _, u in rows], np.int8)
    value = loss_value(name, params, leaf, observed, pseudo, epoch=epoch, num_epochs=8)
    value.backward()
    assert value.dtype == torch.float32
    assert torch.isfinite(value)
    assert torch.isfinite(leaf.grad).all()
    for row in range(len(rows)):  # one entry at a time: the mean would hide an infinity of either sign
        one = (part[row : row + 1] for part in (leaf, observed, pseudo))
        assert torch.isfinite(loss_value(name, params, *one, epoch=epoch, num_epochs=8))


IGNORE_PSEUDO = [variant for variant in VARIANTS if variant[0] not in ("an_pl", "gpr", "vlpl")]


@pytest.mark.parametrize(("name", "params"), IGNORE_PSEUDO)
@settings(PROPERTY, max_examples=8)
@given(batch=batches())
def test_losses_without_pseudo_labels_ignore_them(name, params, batch):
    logits, observed, pseudo, when = batch
    values = [loss_value(name, params, torch.from_numpy(logits), observed, u, **when) for u in (pseudo, 0 * pseudo)]
    assert values[0].item() == values[1].item()


@PROPERTY
@given(batch=batches())
def test_gr_is_gpr_without_pseudo_labels_and_regularizer(batch):
    logits, observed, pseudo, when = batch
    gpr = loss_value("gpr", {**VOC, "regularizer": 0.0}, torch.from_numpy(logits), observed, 0 * pseudo, **when)
    gr = loss_value("gr", CURVES, torch.from_numpy(logits), observed, pseudo, **when)
    assert gr.item() == pytest.approx(gpr.item(), rel=1e-6, abs=1e-7)


def test_a_regularizer_without_expected_positives_is_a_configuration_error():
    params = {key: value for key, value in VOC.items() if key != "expected_positives"}
    with pytest.raises(ConfigError, match="expected_positives"):
        losses.build("gpr", num_classes=3, num_samples=4, **params)
    assert issubclass(ConfigError, ValueError)
    losses.build("gpr", num_classes=3, num_samples=4, **{**params, "regularizer": 0.0})
