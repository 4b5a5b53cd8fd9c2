"""What a run would take on a card that is not here: its operations, counted, over what such a card is assumed to sustain."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from aevlp.config.errors import ConfigError, suggest

if TYPE_CHECKING:
    from aevlp.config.schema import ExperimentConfig
    from aevlp.training.dry_run import Rehearsal

TRAINING, ENCODING = 0.1, 0.3
"""Assumed share of a card's peak: in the steps of a convolutional network on batches of 8 to 16, and in a frozen ViT."""
FLOAT32 = 4
"""How many times as long float32 is assumed to take."""
STEP_SECONDS = 0.03
"""No step is assumed to be shorter: some thousand small kernels are started one by one, however fast the card is."""
CORES, DECODE_SECONDS = 16, 0.01
"""Beside the card, and what one of them takes to decode and squash a photo, which was measured on another machine."""


@dataclass(frozen=True)
class Work:
    """Floating point operations, a multiplication and an addition being two."""

    step: float
    evaluate: float
    """A validation image."""
    view: float
    """To encode one."""


@dataclass(frozen=True)
class Card:
    """A GPU as its maker describes it."""

    name: str
    tera: float
    """Peak TFLOP/s in bf16, or fp16 where it has no bf16, dense."""
    memory_gb: int

    def instead(self, found: Rehearsal, config: ExperimentConfig) -> Rehearsal:
        """The same rehearsal with the times that this card would take for what was counted."""
        if found.work is None:
            raise ValueError("nothing was counted in this rehearsal")
        slow = FLOAT32 if config.trainer.precision == "fp32" else 1
        encoder = getattr(config.labeler, "encoder", None)
        slow_views = FLOAT32 if getattr(encoder, "precision", None) == "fp32" else 1
        network, decode = self.tera * 1e12 * TRAINING / slow, DECODE_SECONDS / CORES
        step = max(found.work.step / network, STEP_SECONDS, config.trainer.batch_size * decode)
        return replace(
            found,
            step_seconds=step,
            linear_step_seconds=step * found.linear_step_seconds / found.step_seconds,
            evaluate_seconds=max(found.work.evaluate / network, decode),
            view_seconds=found.work.view * slow_views / (self.tera * 1e12 * ENCODING),
        )

    @property
    def assumptions(self) -> str:
        """What its times rest on, as a sentence for the user."""
        return (
            f"operations as counted here, and assumptions, as no {self.name} was measured: it sustains {TRAINING:.0%} of "
            f"its {self.tera:,.0f} TFLOP/s in training and {ENCODING:.0%} in encoding, {FLOAT32} times less in float32; no step "
            f"under {1000 * STEP_SECONDS:.0f} ms; {CORES} cores beside it, {1000 * DECODE_SECONDS:.0f} ms to decode a photo"
        )


CARDS = [
    Card("T4", 65, 16), Card("V100", 125, 32), Card("RTX 3090", 71, 24), Card("RTX 4090", 165, 24), Card("A10", 125, 24),
    Card("L4", 121, 24), Card("L40S", 362, 48), Card("A100", 312, 80), Card("H100", 989, 80), Card("H200", 989, 141),
]  # fmt: skip


def card_named(name: str) -> Card:
    """The card that a user calls so, in any spelling; ConfigError where none is known."""
    known = {card.name: card for card in CARDS}
    found = [card for card in CARDS if _plain(card.name) == _plain(name)]
    if not found:
        raise ConfigError(f"--card {name}: is not known{suggest(name.upper(), known)}")
    return found[0]


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]|nvidia|geforce", "", name.lower())
