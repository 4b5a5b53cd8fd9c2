"""Times on a card that is not here: operations as counted by hand, over what the card is assumed to sustain."""

import pytest
import torch
from torch import nn

from aevlp import load_experiment
from aevlp.config import registry
from aevlp.training.cards import CARDS, CORES, DECODE_SECONDS, ENCODING, STEP_SECONDS, TRAINING, Card, Work, card_named
from aevlp.training.dry_run import Rehearsal, rehearse

SLOW = Card("slow", tera=1, memory_gb=1)
FAST = Card("fast", tera=1e9, memory_gb=1)


def rehearsal(work):
    return Rehearsal(0, 1, 1, 1, 10, 100, num_train=64, num_val=10, memory_mb=1, checkpoint_mb=1, table_mb=0, work=work)


def by_hand(model, images):
    """Twice the multiplications of all convolutions and linear layers."""
    total = 0

    def look(layer, _, output):
        nonlocal total
        each = layer.weight[0].numel()
        total += 2 * output.numel() * each

    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(look)
    model(images)
    return total


def test_operations_are_those_counted_by_hand(small):
    config = load_experiment("digits_gpr", small)
    found = rehearse(config, count=True)
    model = registry.build("models", config.model, num_classes=10).eval()
    image = torch.zeros(1, 3, config.dataset.image_size, config.dataset.image_size)
    forward = by_hand(model, image)
    assert found.work.evaluate == forward > 0
    # Backward takes twice as much, but for the gradient of the images, which nobody asks for.
    first = next(layer for layer in model.modules() if isinstance(layer, nn.Conv2d))
    of_first = by_hand(nn.Sequential(first), image)
    assert found.work.step == config.trainer.batch_size * (3 * forward - of_first)
    assert found.work.view > 0
    assert rehearse(config).work is None


def test_seconds_are_operations_over_what_a_card_sustains():
    config = load_experiment("voc_gpr")
    found = rehearsal(Work(step=2e12, evaluate=3e11, view=4e10))
    there = SLOW.instead(found, config)
    assert there.step_seconds == pytest.approx(2 / TRAINING)
    assert there.evaluate_seconds == pytest.approx(0.3 / TRAINING)
    assert there.view_seconds == pytest.approx(0.04 / ENCODING)
    assert there.training_seconds(config.trainer) == pytest.approx(8 * (8 * 20 + 10 * 3))
    whole = load_experiment("voc_gpr", ["trainer.precision=fp32", "labeler.encoder.precision=fp32"])
    slower = SLOW.instead(found, whole)
    assert slower.step_seconds == pytest.approx(4 * there.step_seconds)
    assert slower.view_seconds == pytest.approx(4 * there.view_seconds)


def test_no_card_is_faster_than_what_starts_its_kernels_and_decodes_its_photos():
    found = rehearsal(Work(step=1, evaluate=1, view=1))
    there = FAST.instead(found, load_experiment("voc_gpr"))
    assert there.step_seconds == STEP_SECONDS
    assert there.evaluate_seconds == DECODE_SECONDS / CORES
    many = FAST.instead(found, load_experiment("voc_gpr", ["trainer.batch_size=640"]))
    assert many.step_seconds == pytest.approx(640 * DECODE_SECONDS / CORES)


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_cards_are_found_in_any_spelling(card):
    for name in (card.name, card.name.lower(), f"NVIDIA {card.name}", card.name.replace(" ", "_")):
        assert card_named(name) is card
