"""The baselines beside GPR: published reference values, how many entries the large-loss family touches, and when."""

import math

import loss_oracles
import pytest
import torch

from aevlp import losses
from aevlp.config.errors import ConfigError
from aevlp.losses._large_loss import num_suspects

pytestmark = pytest.mark.processor

WHEN = {"epoch": 1, "num_epochs": 8}


def entry(name, z, s=0, u=0, classes=1, epoch=1, **params):
    """The loss of one entry with logit z; in more classes the others are left out of the mean."""
    loss = losses.build(name, num_classes=classes, num_samples=1, **params)
    logits, observed, pseudo = (torch.full((1, classes), float(value)) for value in (z, s, u))
    return loss(
        logits, observed, pseudo.to(torch.int8), epoch=epoch, num_epochs=8, index=torch.zeros(1, dtype=torch.int64)
    ).item()


P30 = math.log(0.3 / 0.7)


@pytest.mark.parametrize(
    ("name", "params", "z", "s", "u", "epoch", "expected"),
    [
        ("an_ls", {}, P30, 1, 0, 1, 1.119212),
        ("an_ls", {}, P30, 0, 0, 1, 0.441389),
        ("wan", {"classes": 20}, P30, 0, 0, 1, 0.018772),
        ("vlpl", {"alpha": 0.2}, P30, 0, 1, 1, 0.783448),
        ("vlpl", {"alpha": 0.2}, P30, 0, 0, 1, -0.122169),
        ("vlpl", {"alpha": 0.2, "warmup": 1}, P30, 0, 1, 1, -0.122169),
        ("hill", {}, 0, 1, 0, 1, 0.701868),
        ("hill", {}, 0, 0, 0, 1, 0.250000),
        ("hill", {}, 2, 1, 0, 1, 0.022658),
        ("hill", {}, 2, 0, 0, 1, 0.480380),
        ("splc", {}, 0, 1, 0, 1, 0.701868),
        ("splc", {}, 0, 0, 0, 2, 0.173287),
        ("splc", {}, 2, 1, 0, 1, 0.022658),
        ("splc", {}, 2, 0, 0, 1, 1.650078),
        ("splc", {}, 2, 0, 0, 2, 0.001804),
        ("asl", {}, 0, 1, 0, 1, 0.693147),
        ("asl", {}, 0, 0, 0, 1, 0.024515),
        ("asl", {}, 2, 1, 0, 1, 0.126928),
        ("asl", {}, 2, 0, 0, 1, 0.846415),
    ],
)
def test_entries_have_the_published_value(name, params, z, s, u, epoch, expected):
    assert entry(name, z, s, u, epoch=epoch, **params) == pytest.approx(expected, abs=1.5e-6)


@pytest.mark.parametrize(
    ("num_entries", "delta", "counts"),
    [
        (16 * 20, 0.2, [0, 1, 2, 2, 3, 4, 4, 5, 6, 6]),
        (16 * 80, 0.4, [0, 6, 11, 16, 21, 26, 31, 36, 41, 47]),
        (16 * 312, 0.4, [0, *range(20, 181, 20)]),
    ],
)
def test_the_large_loss_family_touches_as_many_entries_as_published(num_entries, delta, counts):
    assert [num_suspects(num_entries, delta, epoch - 1) for epoch in range(1, 11)] == counts
    torch.manual_seed(0)
    logits = torch.randn(16, num_entries // 16)
    observed = torch.nn.functional.one_hot(torch.arange(16), num_entries // 16)
    for name in ("ll_r", "ll_ct"):
        loss = losses.build(name, delta=delta)
        for epoch, count in enumerate(counts, start=1):
            leaf = logits.clone().requires_grad_()
            loss(leaf, observed, torch.zeros_like(observed), epoch=epoch, num_epochs=10).backward()
            touched = leaf.grad == 0 if name == "ll_r" else (leaf.grad < 0) & (observed == 0)
            assert touched.sum() == count
            assert not (touched & (observed == 1)).any()
            assert count == 0 or logits[touched].min() > logits[~touched & (observed == 0)].max()


def test_a_whole_number_of_suspects_is_not_rounded_up():
    assert math.ceil(1000 * (1 - (1 - 0.002))) == 3  # what subtracting in floating point gives
    assert num_suspects(1000, 0.2, 1) == 2


@pytest.mark.parametrize("name", ["ll_r", "ll_ct", "ll_cp"])
def test_more_suspects_than_entries_leave_observed_labels_alone(name):
    loss = losses.build(name, num_classes=3, num_samples=2, delta=100)
    logits, observed = torch.tensor([[3.0, -2, 1], [0, -1, 2]], requires_grad=True), torch.eye(2, 3)
    value = loss(logits, observed, observed * 0, epoch=9, num_epochs=9, index=torch.arange(2))
    value.backward()
    on_observed = loss_oracles.logistic(3.0, 1) + loss_oracles.logistic(-1.0, 1)
    others = 0 if name == "ll_r" else sum(loss_oracles.logistic(z, 1) for z in (-2.0, 1, 0, 2))
    assert value.item() == pytest.approx((on_observed + others) / 6, rel=1e-6)
    assert (logits.grad[observed == 1] < 0).all()


def test_confident_negatives_are_ordered_where_a_rounded_loss_would_be_zero():
    loss = losses.build("ll_r", delta=25)  # one of four entries in the second epoch
    logits = torch.tensor([[-17.0, -18, -19, 5]], requires_grad=True)
    loss(logits, torch.tensor([[0, 0, 0, 1]]), torch.zeros(1, 4), epoch=2, num_epochs=9).backward()
    assert (logits.grad == 0).tolist() == [[True, False, False, False]]


def test_splc_corrects_from_its_epoch_on_and_gives_a_corrected_entry_no_margin():
    assert entry("splc", 2.0, epoch=3, correct_from=4) == pytest.approx(1.650078, abs=1e-6)
    assert entry("splc", 2.0, epoch=4, correct_from=4, threshold=0.89) == pytest.approx(1.650078, abs=1e-6)  # sigmoid(2) = .8808
    assert entry("splc", 2.0, epoch=4, correct_from=4, margin=9) == pytest.approx(0.001804, abs=1e-6)


@pytest.mark.parametrize("name", ["asl", "hill", "splc"])
def test_sum_reduction_is_the_mean_times_the_entries(name):
    torch.manual_seed(0)
    logits, observed = torch.randn(3, 4), torch.eye(3, 4)
    mean, total = (losses.build(name, reduction=word)(logits, observed, observed * 0, **WHEN) for word in ("mean", "sum"))
    assert total.item() == pytest.approx(12 * mean.item(), rel=1e-5)


@pytest.mark.parametrize("detach", [True, False])
def test_asl_keeps_its_focus_out_of_the_gradient_where_told(detach):
    logits = torch.tensor([[1.0]], requires_grad=True)
    losses.build("asl", detach_focus=detach)(logits, torch.zeros(1, 1), torch.zeros(1, 1), **WHEN).backward()
    p = 1 / (1 + math.exp(-1))
    through_log = (p - 0.05) ** 4 * p * (1 - p) / (1.05 - p)
    through_focus = -4 * (p - 0.05) ** 3 * p * (1 - p) * math.log(1.05 - p)
    assert logits.grad.item() == pytest.approx(through_log + (0 if detach else through_focus), rel=1e-5)


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("asl", {"detach_focus": False, "gamma_negative": 0.5}, "infinite slope"),
        ("ll_r", {"delta": 101}, "delta: Input should be less than or equal to 100"),
        ("ll_cp", {"stored": "sometimes"}, "stored: Input should be 'at_threshold' or 'above_threshold'"),
        ("epr", {"expected_positives": 0}, "expected_positives: Input should be greater than 0"),
        ("role", {"expected_positive": 2}, "did you mean 'expected_positives'"),
        ("em_apl", {"warmup": 0}, "warmup: Input should be greater than or equal to 1"),
        ("vlpl", {"target": 1.5}, "target"),
        ("hill", {"reduction": "none"}, "reduction"),
    ],
)
def test_settings_out_of_range_are_refused(name, params, message):
    with pytest.raises(ConfigError, match=message):
        losses.build(name, num_classes=3, num_samples=4, **params)
