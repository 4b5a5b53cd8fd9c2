"""What every registered loss promises, whatever it computes. A new loss is covered as soon as its file exists."""

import copy

import oracles
import pytest
import torch
from loss_params import PARAMS

from aevlp import losses
from aevlp.config.registry import names

pytestmark = pytest.mark.processor

WHEN = {"epoch": 2, "num_epochs": 8}
every_loss = pytest.mark.parametrize("name", names("losses"))


def build(name):
    torch.manual_seed(0)
    return losses.build(name, num_classes=5, num_samples=7, **PARAMS.get(name, {}))


def make_batch(scale=3.0, dtype=torch.float32):
    """Four of seven samples, out of order; one without a positive; pseudo-labels also on observed entries."""
    numbers = torch.Generator().manual_seed(1)
    logits = (torch.randn(4, 5, generator=numbers).clamp(-1, 1) * scale).to(dtype).requires_grad_()
    observed = torch.zeros(4, 5)
    observed[[0, 1, 3], [2, 0, 4]] = 1
    pseudo = torch.randint(-1, 2, (4, 5), generator=numbers).to(torch.int8)
    return logits, observed, pseudo, torch.tensor([5, 0, 6, 2])


def evaluate(module, logits, observed, pseudo, index):
    return module(logits, observed, pseudo, index=index, **WHEN)


def test_the_published_losses_are_registered():
    published = "an an_ls an_pl asl bce em em_apl epr gpr gr hill ll_cp ll_ct ll_r role splc vlpl wan"
    assert set(published.split()) <= set(names("losses"))


@every_loss
def test_value_is_a_float32_scalar_with_a_finite_gradient(name):
    logits, *rest = make_batch()
    value = evaluate(build(name), logits, *rest)
    assert value.shape == ()
    assert value.dtype == torch.float32
    assert torch.isfinite(value)
    value.backward()
    assert logits.grad.shape == logits.shape
    assert torch.isfinite(logits.grad).all()
    assert logits.grad.abs().max() > 1e-6


@every_loss
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_extreme_logits_stay_finite(name, dtype):
    logits, *rest = make_batch(scale=1e4, dtype=dtype)
    logits = logits.detach().clamp(-200, 200).requires_grad_()
    value = evaluate(build(name), logits, *rest)
    value.backward()
    assert value.dtype == torch.float32
    assert torch.isfinite(value)
    assert torch.isfinite(logits.grad).all()


@every_loss
def test_low_precision_logits_and_any_label_dtype_give_the_float32_value(name):
    logits, observed, pseudo, index = make_batch(dtype=torch.bfloat16)
    module = build(name)
    expected = evaluate(copy.deepcopy(module), logits.float(), observed, pseudo, index).item()
    for kind in (torch.float32, torch.float64, torch.int64, torch.uint8):
        for sign in (torch.int8, torch.int64, torch.float32):
            value = evaluate(copy.deepcopy(module), logits, observed.to(kind), pseudo.to(sign), index)
            assert value.dtype == torch.float32
            assert value.item() == expected


@every_loss
def test_reordering_the_batch_changes_nothing_but_the_order(name):
    first, *rest = make_batch()
    order = torch.tensor([2, 0, 3, 1])
    second = first.detach()[order].requires_grad_()
    module = build(name)
    twin = copy.deepcopy(module)  # a loss may remember what it saw
    value, moved = evaluate(module, first, *rest), evaluate(twin, second, *(part[order] for part in rest))
    value.backward()
    moved.backward()
    assert moved.item() == pytest.approx(value.item(), rel=1e-5, abs=1e-6)
    torch.testing.assert_close(second.grad, first.grad[order], rtol=1e-5, atol=1e-7)


@every_loss
def test_what_it_says_of_pseudo_labels_is_so(name):
    logits, observed, pseudo, index = make_batch()
    module = build(name)
    twin = copy.deepcopy(module)  # a loss may remember what it saw
    with_them, without = evaluate(module, logits, observed, pseudo, index), evaluate(twin, logits, observed, 0 * pseudo, index)
    said = getattr(module, "reads_pseudo", None)
    assert said is not None or not type(module).__module__.startswith("aevlp.losses.")  # one from outside need not say
    assert said in (None, with_them.item() != without.item())


@every_loss
def test_a_state_dict_round_trip_gives_the_same_value(name):
    used, fresh = build(name), losses.build(name, num_classes=5, num_samples=7, **PARAMS.get(name, {}))
    evaluate(used, *make_batch())  # whatever it remembers is remembered now
    fresh.load_state_dict(used.state_dict())
    assert evaluate(fresh, *make_batch()).item() == evaluate(used, *make_batch()).item()


@every_loss
def test_autocast_changes_nothing(name):
    plain, *rest = make_batch()
    cast = plain.detach().clone().requires_grad_()
    module = build(name)
    twin = copy.deepcopy(module)
    expected = evaluate(module, plain, *rest)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = evaluate(twin, cast, *rest)
    value.backward()
    expected.backward()
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(expected.item(), rel=1e-6, abs=1e-7)
    torch.testing.assert_close(cast.grad, plain.grad, rtol=1e-6, atol=1e-8)


@every_loss
def test_the_batch_is_not_modified(name):
    logits, *rest = make_batch()
    kept = [part.detach().clone() for part in (logits, *rest)]
    evaluate(build(name), logits, *rest)
    for before, after in zip(kept, (logits.detach(), *rest), strict=True):
        assert torch.equal(before, after)


@every_loss
def test_forward_and_backward_use_dense_operations_only(name):
    module, (logits, *rest) = build(name), make_batch()
    with oracles.DenseOnly():
        evaluate(module, logits, *rest).backward()
    assert logits.grad.abs().max() > 1e-6


@pytest.mark.parametrize(
    "act", [lambda x: x[x > 0], lambda x: x.sum().item(), lambda x: x.masked_select(x > 0), lambda x: (x > 0).nonzero()]
)
def test_the_dense_guard_notices_what_it_forbids(act):
    with oracles.DenseOnly(), pytest.raises(AssertionError, match="not a dense operation"):
        act(torch.arange(3.0))
