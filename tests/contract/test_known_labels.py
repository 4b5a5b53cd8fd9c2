"""What every loss makes of known labels, of any number a row: a known negative costs its own, and takes part in nothing else."""

import copy
import sys

import oracles
import pytest
import torch
from loss_params import PARAMS

from aevlp import losses
from aevlp.config.registry import names

pytestmark = pytest.mark.processor

N, C, EPOCHS = 10, 6, 6
every_loss = pytest.mark.parametrize("name", names("losses"))
# A row of each kind: nothing known, one positive, several, negatives alone, both, all known.
KNOWN = torch.tensor([
    [0, 0, 0, 0, 0, 0], [0, 1, 0, 0, 0, 0], [1, 0, 1, 0, 1, 0], [0, -1, 0, -1, 0, 0], [1, -1, 0, 0, -1, 1],
    [-1, 1, -1, -1, 1, -1], [0, 0, 0, 0, 0, -1], [1, 1, 1, 1, 1, 1], [-1, -1, -1, -1, -1, -1], [0, 0, 1, 0, 0, -1],
], dtype=torch.int8)  # fmt: skip
ABSENT = KNOWN < 0


def build(name):
    torch.manual_seed(0)
    return losses.build(name, num_classes=C, num_samples=N, **PARAMS.get(name, {}))


def make_logits(scale=2.0):
    return torch.randn(N, C, generator=torch.Generator().manual_seed(1)).clamp(-1.5, 1.5) * scale


def make_pseudo(seed=2):
    """Pseudo-labels on known entries as well, where no labeler puts them."""
    return torch.randint(-1, 2, (N, C), generator=torch.Generator().manual_seed(seed)).to(torch.int8)


def evaluate(module, logits, observed=KNOWN, pseudo=None, epoch=2, index=None):
    """Value and gradient."""
    logits = logits.detach().clone().requires_grad_()
    index = torch.arange(len(logits)) if index is None else index
    pseudo = make_pseudo()[index] if pseudo is None else pseudo
    value = module(logits, observed, pseudo, epoch=epoch, num_epochs=EPOCHS, index=index)
    value.backward()
    return value.detach(), logits.grad


def used(name, epochs=2):
    """A loss that has seen all images for some epochs, and remembers what it can."""
    module, logits = build(name), make_logits(3.0)
    for epoch in range(1, epochs + 1):
        evaluate(module, logits, epoch=epoch)
        if hasattr(module, "on_epoch_end"):
            module.on_epoch_end(lambda: [(torch.arange(N), torch.sigmoid(logits))], epoch)
    return module


@every_loss
@pytest.mark.parametrize("row", [*range(N), slice(None)], ids=lambda row: "all" if isinstance(row, slice) else str(row))
def test_value_and_gradient_are_finite_whatever_is_known(name, row):
    index = torch.arange(N)[row].reshape(-1)
    for scale in (2.0, 200.0):
        value, gradient = evaluate(used(name), make_logits(scale)[index], KNOWN[index], index=index)
        assert torch.isfinite(value)
        assert value.dtype == torch.float32
        assert torch.isfinite(gradient).all()


@every_loss
def test_known_labels_take_dense_operations_only(name):
    module, logits = used(name), make_logits().requires_grad_()
    index, pseudo = torch.arange(N), make_pseudo()
    with oracles.DenseOnly():
        module(logits, KNOWN, pseudo, epoch=2, num_epochs=EPOCHS, index=index).backward()


@every_loss
def test_a_known_negative_pushes_down_by_a_loss_of_its_own(name):
    logits = make_logits()
    _value, gradient = evaluate(used(name), logits)
    assert (gradient[ABSENT] > 0).all() or name in ("an_ls", "asl", "role")  # soft targets, a clip, a teacher
    others = torch.where(ABSENT, logits, -logits)
    later = evaluate(used(name, epochs=3), others, pseudo=make_pseudo(5), epoch=4)[1]
    assert torch.equal(later[ABSENT], gradient[ABSENT])


@pytest.mark.parametrize("known", sorted(set(names("losses")) - {"an_ls", "asl", "role"}))
def test_a_known_negative_costs_minus_the_logarithm_of_its_complement(known):
    logits, module = make_logits(), used(known)
    value, gradient = evaluate(module, logits)
    p = torch.sigmoid(logits)
    torch.testing.assert_close(gradient[ABSENT], p[ABSENT] / (N * C), rtol=3e-4, atol=0)  # the epsilon of the loss
    moved = torch.where(ABSENT, logits - 1, logits)
    cost = [-torch.log(1 - torch.sigmoid(z))[ABSENT].sum().item() / (N * C) for z in (logits, moved)]
    assert (value - evaluate(used(known), moved)[0]).item() == pytest.approx(cost[0] - cost[1], rel=1e-3)


@every_loss
def test_what_is_unknown_does_not_feel_the_logits_of_known_negatives(name):
    logits = make_logits()
    _value, gradient = evaluate(used(name), logits)
    moved = torch.where(ABSENT, 5 - logits, logits)
    _value, other = evaluate(used(name), moved)
    assert torch.equal(other[~ABSENT], gradient[~ABSENT])


@every_loss
def test_images_and_classes_stand_in_any_order(name):
    module = used(name)
    logits, pseudo = make_logits(), make_pseudo()
    value, gradient = evaluate(copy.deepcopy(module), logits, pseudo=pseudo)
    rows, columns = (torch.randperm(size, generator=torch.Generator().manual_seed(3)) for size in (N, C))
    for entry in [*module.parameters(), *module.buffers()]:  # what is remembered of a class goes where the class goes
        if entry.ndim == 2:
            entry.data = entry.data[:, columns].clone()
    moved, shifted = evaluate(
        module, logits[rows][:, columns], KNOWN[rows][:, columns], pseudo[rows][:, columns], index=torch.arange(N)[rows]
    )
    assert moved.item() == pytest.approx(value.item(), rel=1e-5, abs=1e-6)
    torch.testing.assert_close(shifted, gradient[rows][:, columns], rtol=1e-5, atol=1e-7)


@every_loss
def test_where_no_negative_is_known_no_bit_hangs_on_the_way_they_are_handled(name):
    observed = KNOWN.clamp(min=0)

    def trajectory():
        module, logits, found = build(name), make_logits(), []
        for epoch in range(1, 5):
            value, gradient = evaluate(module, logits, observed, epoch=epoch)
            logits = logits - gradient
            found += [value, gradient]
        return found

    with_known = trajectory()
    with pytest.MonkeyPatch.context() as patch:
        for module in [module for key, module in sys.modules.items() if key.startswith("aevlp.losses.")]:
            if hasattr(module, "where_absent"):
                patch.setattr(module, "where_absent", lambda loss, if_negative, observed: loss)
        without = trajectory()
    for found, expected in zip(without, with_known, strict=True):
        assert torch.equal(found, expected)


@pytest.mark.parametrize(
    ("known", "words"),
    [(name, {}) for name in ("an", "an_pl", "wan", "ll_r", "ll_ct", "ll_cp", "em", "em_apl", "vlpl", "gr", "mime")]
    + [("gpr", {"regularizer": 0.0})],
)
def test_where_all_labels_are_known_what_is_left_is_cross_entropy(known, words):
    observed = torch.where(make_logits(1.0) > 0, 1, -1).to(torch.int8)
    module = losses.build(known, num_classes=C, num_samples=N, **(PARAMS.get(known, {}) | words))
    logits = make_logits()
    for epoch in (1, 2, 3):
        value, gradient = evaluate(module, logits, observed, epoch=epoch)
        expected = logits.double().requires_grad_()
        cost = torch.nn.functional.binary_cross_entropy_with_logits(expected, (observed > 0).double())
        cost.backward()
        assert value.item() == pytest.approx(cost.item(), rel=1e-4, abs=2e-5)  # epsilons of 1e-5 and 1e-7
        torch.testing.assert_close(gradient.double(), expected.grad, rtol=1e-3, atol=1e-6)
        if hasattr(module, "on_epoch_end"):
            module.on_epoch_end(lambda: [(torch.arange(N), torch.sigmoid(logits))], epoch)
