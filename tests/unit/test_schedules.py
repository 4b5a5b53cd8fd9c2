"""Learning rates against torch's own schedulers, and at the ends of a run."""

from __future__ import annotations

import warnings
from itertools import pairwise

import pytest
import torch
from torch.optim.lr_scheduler import ConstantLR, CosineAnnealingLR, LRScheduler, OneCycleLR

from aevlp.config.schema import TrainerConfig
from aevlp.training.schedules import learning_rate_factor

RATE = 0.5  # of the peak; exact in binary, so that factors compare as they are


def ours(steps_per_epoch: int, **settings) -> list[float]:
    config = TrainerConfig(learning_rate=RATE, **settings)
    return [RATE * learning_rate_factor(config, step, steps_per_epoch) for step in range(config.epochs * steps_per_epoch)]


def of_torch(build, steps: int) -> list[float]:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=RATE)
    scheduler: LRScheduler = build(optimizer)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch would like an optimiser step before each
            if len(rates) < steps:
                scheduler.step()
    return rates


@pytest.mark.parametrize(("epochs", "steps_per_epoch"), [(1, 7), (2, 10), (8, 94), (3, 1000)])
def test_one_cycle_is_torch_one_cycle(epochs, steps_per_epoch):
    total = epochs * steps_per_epoch
    expected = of_torch(lambda optimizer: OneCycleLR(optimizer, max_lr=RATE, total_steps=total), total)
    assert ours(steps_per_epoch, epochs=epochs, schedule="one_cycle") == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(("epochs", "steps_per_epoch"), [(1, 1), (1, 7), (8, 94)])
def test_cosine_without_warmup_is_torch_cosine(epochs, steps_per_epoch):
    total = epochs * steps_per_epoch
    expected = of_torch(lambda optimizer: CosineAnnealingLR(optimizer, T_max=total), total)
    assert ours(steps_per_epoch, epochs=epochs, schedule="cosine") == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_constant_is_torch_constant():
    expected = of_torch(lambda optimizer: ConstantLR(optimizer, factor=1.0), 20)
    assert ours(10, epochs=2, schedule="constant") == expected == [RATE] * 20


def test_cosine_after_warmup_is_torch_cosine_over_the_rest():
    rates = ours(10, epochs=4, schedule="cosine", warmup_epochs=1.0)
    rest = of_torch(lambda optimizer: CosineAnnealingLR(optimizer, T_max=30), 30)
    assert rates[10:] == pytest.approx(rest, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
@pytest.mark.parametrize("warmup_epochs", [0.5, 1.0, 1.25])
def test_warmup_rises_in_equal_parts_from_above_zero_to_the_peak(schedule, warmup_epochs):
    rates = ours(8, epochs=3, schedule=schedule, warmup_epochs=warmup_epochs)
    steps = int(8 * warmup_epochs)
    parts = [rates[0], *(after - before for before, after in pairwise(rates[: steps + 1]))]
    assert parts == pytest.approx([RATE / (steps + 1)] * (steps + 1))
    assert rates[steps] == RATE


@pytest.mark.parametrize("schedule", ["constant", "cosine", "one_cycle"])
@pytest.mark.parametrize("total", [1, 2, 3, 4])
def test_shortest_runs_have_rates_above_zero_and_not_above_the_peak(schedule, total):
    rates = ours(total, epochs=1, schedule=schedule)
    assert all(0 < rate <= RATE for rate in rates)


def test_factor_never_leaves_zero_to_one_beyond_the_end():
    for schedule in ("constant", "cosine", "one_cycle"):
        config = TrainerConfig(epochs=2, schedule=schedule, warmup_epochs=1.0)
        assert 0 <= learning_rate_factor(config, 1000, 10) <= 1
