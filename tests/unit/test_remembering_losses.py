"""Losses with a memory: ROLE's table, LL-Cp's flips, APL's soft negatives, against loops over plain lists."""

import math
from fractions import Fraction

import loss_oracles
import numpy as np
import pytest
import torch

from aevlp import losses
from aevlp.losses.em_apl import least_probable, quota

pytestmark = pytest.mark.processor

N, C = 12, 5


def dataset(seed=0, num_samples=N, num_classes=C):
    """Logits of all images, one observed label each but for every fourth."""
    numbers = np.random.default_rng(seed)
    observed = np.zeros((num_samples, num_classes))
    observed[np.arange(num_samples), numbers.integers(num_classes, size=num_samples)] = 1
    observed[::4] = 0
    return numbers.normal(size=(num_samples, num_classes)).astype(np.float32) * 2, observed


def call(loss, logits, observed, index, epoch=1, num_epochs=10):
    index = torch.as_tensor(index)
    leaf = torch.as_tensor(logits)[index].requires_grad_()
    s = torch.as_tensor(observed)[index]
    return loss(leaf, s, torch.zeros_like(s, dtype=torch.int8), epoch=epoch, num_epochs=num_epochs, index=index), leaf


def test_role_starts_at_the_published_logits_whatever_else_was_drawn():
    torch.manual_seed(5)
    first = losses.build("role", num_classes=C, num_samples=N)
    torch.rand(7)
    longer = losses.build("role", num_classes=C, num_samples=N + 3)
    assert torch.equal(first.table, longer.table[:N])  # row i hangs on (seed, i) alone
    torch.manual_seed(6)
    assert not torch.equal(losses.build("role", num_classes=C, num_samples=N).table, first.table)
    start = first.table.detach().clone()
    assert 0.35 < start.abs().max() <= 0.405466
    logits, observed = dataset()
    call(first, logits, observed, [3, 1])
    expected = start.clone()
    for i in (1, 3):
        expected[i, observed[i] == 1] = 5.293305
    torch.testing.assert_close((first.table + first.shift).detach(), expected, atol=1e-6, rtol=0)
    assert torch.equal(first.table, start)  # what changes it is the optimiser alone
    with torch.no_grad():
        first.table += 1
    call(first, logits, observed, [3, 1])
    torch.testing.assert_close((first.table + first.shift).detach(), expected + 1, atol=1e-6, rtol=0)  # noted once


def test_role_equals_the_float64_loop_in_value_and_in_both_gradients():
    logits, observed = dataset()
    torch.manual_seed(0)
    loss = losses.build("role", num_classes=C, num_samples=N, expected_positives=1.5)
    index = [7, 0, 4, 2]
    for _ in range(2):  # the second time the table has moved
        value, leaf = call(loss, logits, observed, index)
        loss.table.grad = None
        value.backward()
        z, s = logits[index].astype(float).tolist(), observed[index].tolist()
        table = (loss.table + loss.shift).detach()[index].double().tolist()
        assert value.item() == pytest.approx(loss_oracles.role(z, table, s, 1.5), rel=1e-5)
        frozen = {"frozen": [list(row) for row in z], "frozen_table": [list(row) for row in table]}
        for moved, gradient in ((z, leaf.grad), (table, loss.table.grad[index])):
            for i in range(len(index)):
                for j in range(C):
                    ends = []
                    for step in (1e-5, -2e-5):
                        moved[i][j] += step
                        ends.append(loss_oracles.role(z, table, s, 1.5, **frozen))
                    moved[i][j] += 1e-5
                    assert gradient[i, j].item() == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-3, abs=1e-6)
        others = [i for i in range(N) if i not in index]
        assert not loss.table.grad[others].any()
        with torch.no_grad():
            loss.table -= loss.table.grad


def test_adam_leaves_rows_of_the_table_alone_until_they_are_seen():
    logits, observed = dataset()
    loss = losses.build("role", num_classes=C, num_samples=N)
    start, optimizer = loss.table.detach().clone(), torch.optim.Adam(loss.parameters(), lr=0.1)
    for index in ([0, 1], [1, 2], [0, 2]):
        optimizer.zero_grad()
        call(loss, logits, observed, index)[0].backward()
        optimizer.step()
    assert torch.equal(loss.table[3:], start[3:])
    assert not torch.isclose(loss.table[:3], start[:3]).any()


@pytest.mark.parametrize("stored", ["at_threshold", "above_threshold"])
def test_ll_cp_equals_a_loop_that_writes_into_the_labels(stored):
    loss = losses.build("ll_cp", num_classes=C, num_samples=N, delta=10, stored=stored)
    labels, numbers = dataset()[1].tolist(), np.random.default_rng(3)
    for epoch in range(1, 5):
        logits, observed = dataset(seed=epoch)[0], dataset()[1]
        for index in np.split(numbers.permutation(N), [5, 10]):
            value, _ = call(loss, logits, observed, index, epoch)
            z, s = logits[index].astype(float).tolist(), [labels[i] for i in index]
            corrected, above = loss_oracles.suspect_entries(z, s, 10, 1 if epoch > 1 else 0)
            expected = loss_oracles.mean(z, lambda i, j: loss_oracles.logistic(z[i][j], 1 if (i, j) in corrected else s[i][j]))  # noqa: B023
            assert value.item() == pytest.approx(expected, rel=1e-5)
            for i, j in corrected if stored == "at_threshold" else above:
                labels[index[i]][j] = 1
    assert torch.equal(loss.flipped | torch.as_tensor(observed == 1), torch.tensor(labels) == 1)
    assert not (loss.flipped & torch.as_tensor(observed == 1)).any()
    per_epoch = 3 + 3 + 1  # ceil of 2.5, 2.5, 1
    assert loss.flipped.sum() == 3 * (per_epoch if stored == "at_threshold" else per_epoch - 3)


def test_ll_cp_that_corrects_one_entry_a_batch_stores_none_above_the_threshold():
    loss = losses.build("ll_cp", num_classes=C, num_samples=N, delta=1, stored="above_threshold")
    for epoch in (2, 3):
        call(loss, *dataset(), list(range(N)), epoch)
    assert not loss.flipped.any()


def test_apl_chooses_the_published_quota_of_each_class_and_freezes_it():
    num_samples, warmup, num_epochs = 40, 3, 7
    params = {"alpha": 0.2, "beta": 0.02, "warmup": warmup, "negative_share": 0.9}
    loss = losses.build("em_apl", num_classes=C, num_samples=num_samples, **params)
    observed = dataset(1, num_samples)[1]
    soft, unobserved = observed.copy(), (observed == 0).sum(0)
    for epoch in range(1, num_epochs + 1):
        logits = dataset(epoch, num_samples)[0]
        for index in np.split(np.random.default_rng(epoch).permutation(num_samples), [16, 32]):
            value, _ = call(loss, logits, observed, index, epoch, num_epochs)
            expected = loss_oracles.em_apl(logits[index].astype(float).tolist(), soft[index].tolist(), alpha=0.2, beta=0.02)
            assert value.item() == pytest.approx(expected, rel=1e-4, abs=1e-6)
        probabilities = torch.sigmoid(torch.from_numpy(logits))
        assert loss.looks_back(epoch) == (epoch >= warmup)
        loss.on_epoch_end(lambda p=probabilities: zip(torch.arange(num_samples).split(7), p.split(7), strict=True), epoch)
        if epoch >= warmup:
            for j in range(C):
                open_rows = sorted((i for i in range(num_samples) if soft[i, j] == 0), key=lambda i: probabilities[i, j].item())
                for i in open_rows[: math.floor(0.9 * unobserved[j] / (num_epochs - warmup))]:
                    soft[i, j] = -probabilities[i, j].item()
        assert np.array_equal(loss.soft_negative.numpy(), np.maximum(-soft, 0).astype(np.float32))
        if epoch == num_epochs - 1:  # the last pass that training feels
            count = (loss.soft_negative > 0).sum(0).numpy()
            assert (count == [4 * math.floor(0.9 * u / 4) for u in unobserved]).all()


def test_apl_quota_is_exact_where_floating_point_falls_short():
    assert math.floor(0.29 * 100 / 1) == 28  # what floating point gives
    assert quota(torch.tensor([100, 0, 101]), 0.29, 1).tolist() == [29, 0, 29]
    # classes of VOC: .9 of 4574 images that lack the label, in 5 passes
    assert quota(torch.tensor([4574, 4500]), 0.9, 5).tolist() == [823, 810]
    counts = [1000, 1056, 66_000, 10**9]  # a share of 16 digits has no place beside them in 64 bits
    expected = [int(Fraction("0.8734512345678901") * count / 5) for count in counts]
    assert quota(torch.tensor(counts), 0.8734512345678901, 5).tolist() == expected


def test_ties_of_apl_go_to_the_earlier_row():
    probabilities = torch.tensor([[0.2, 0.1], [0.2, 0.1], [0.2, 0.1], [0.1, 0.3]])
    candidates = torch.tensor([[True, False], [True, True], [True, True], [True, True]])
    chosen = least_probable(probabilities, candidates, torch.tensor([2, 1]))
    assert chosen.int().tolist() == [[1, 0], [0, 1], [0, 0], [1, 0]]


def test_apl_entry_has_the_published_value():
    loss = losses.build("em_apl", num_classes=1, num_samples=1, beta=0.02)
    loss.soft_negative.fill_(0.05)
    value, _ = call(loss, np.full((1, 1), math.log(0.3 / 0.7), np.float32), np.zeros((1, 1)), [0])
    assert value.item() == pytest.approx(0.007980, abs=1e-6)


def test_apl_never_acts_in_a_run_no_longer_than_its_warmup_and_leaves_unseen_rows_alone():
    logits, observed = dataset()
    for num_epochs, expected in ((3, 0), (4, 2 * (C - 1))):
        loss = losses.build("em_apl", num_classes=C, num_samples=N, warmup=3, negative_share=1.0)
        call(loss, logits, observed, [1, 2], 3, num_epochs)
        loss.on_epoch_end(lambda: [(torch.arange(N), torch.sigmoid(torch.from_numpy(logits)))], 3)
        assert (loss.soft_negative > 0).sum() == expected
        assert not loss.soft_negative[3:].any()
