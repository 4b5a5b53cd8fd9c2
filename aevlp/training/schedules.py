"""Learning rates as pure functions of the step, so that nothing of them has to be saved."""

from __future__ import annotations

import math

from aevlp.config.schema import TrainerConfig

_ONE_CYCLE_WARMUP, _ONE_CYCLE_START, _ONE_CYCLE_END = 0.3, 1 / 25, 1e-4 / 25  # the defaults of torch's OneCycleLR


def learning_rate_factor(config: TrainerConfig, step: int, steps_per_epoch: int) -> float:
    """Factor on the learning rate of optimiser step `step`, counted from 0."""
    total = config.epochs * steps_per_epoch
    if config.schedule == "one_cycle":
        peak = max(_ONE_CYCLE_WARMUP * total - 1, 1e-9)
        if step <= peak:
            return _cosine(_ONE_CYCLE_START, 1.0, step / peak)
        return _cosine(1.0, _ONE_CYCLE_END, (step - peak) / max(total - 1 - peak, 1e-9))
    warmup = config.warmup_epochs * steps_per_epoch
    if step < warmup:
        return (step + 1) / (warmup + 1)
    if config.schedule == "constant":
        return 1.0
    return _cosine(1.0, 0.0, (step - warmup) / max(total - warmup, 1e-9))


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * min(share, 1.0))) / 2
