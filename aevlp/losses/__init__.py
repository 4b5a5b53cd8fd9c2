"""Losses of single-positive multi-label learning: one file a loss, built by name.

Every loss is called as `loss(logits, observed, pseudo, *, epoch, num_epochs, index=None, auxiliary=None)`:

    logits (B,C) float; observed (B,C) in {-1,0,1}: known to be absent, unknown, known to be there; pseudo (B,C) in {-1,0,1};
    epoch counts from 1; index (B,) rows of the training set; auxiliary: further model outputs by name.

A known negative costs -ln(1 - p), in the loss's own smoothing and reduction, and takes no part in what the method does with
unknown labels (`aevlp.losses._terms.where_absent`). A row may hold any number of known labels.

It returns a float32 scalar, whatever the precision of the logits, and uses dense operations only. On several ranks it is
called with a rank's share of the batch: batch-level terms take `aevlp.losses._terms.batch_mean`. Of what it keeps for each
training image, in a buffer of N rows, the rows that each rank saw are put together at the end of the epoch.

What its state_dict() holds is saved in every checkpoint; parameters of its own train at trainer.loss_lr_mult. After validation
`on_epoch_end(predict, epoch)` is called, where there is one and `looks_back(epoch)` does not say otherwise: predict() yields
(index, probabilities) over the training set. `needs_outputs` of its configuration names what the model must put out in training.
A run says so where `reads_pseudo`, a variable of its class, is False beside a labeler.
docs/extending.md holds two losses as whole files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aevlp.config import registry
from aevlp.config.errors import ConfigError, suggest

if TYPE_CHECKING:
    from torch import nn

    from aevlp.config.schema import ComponentConfig


def build(name: str, *, num_classes: int | None = None, num_samples: int | None = None, **params: Any) -> nn.Module:
    """Build a loss by name.

    Args:
        name: as printed by `python run.py list losses`.
        num_classes: C, for losses that keep something per class.
        num_samples: N, for losses that keep something per training image.
        params: fields of the loss's configuration.

    Raises:
        ConfigError: unknown name or field, or a value out of range.
    """
    from pydantic import ValidationError

    component = registry.get("losses", name)
    try:
        config = component.config(name=name, **params)
    except ValidationError as error:
        details = "; ".join(_detail(component.config, detail) for detail in error.errors())
        raise ConfigError(f"loss {name!r}: {details}") from error
    return component.build(config, num_classes=num_classes, num_samples=num_samples)


def _detail(config: type[ComponentConfig], detail: Any) -> str:
    key = ".".join(map(str, detail["loc"]))
    if detail["type"] == "extra_forbidden":
        return f"{key}: unknown setting{suggest(key, config.model_fields)}"
    return ": ".join(part for part in (key, detail["msg"].removeprefix("Value error, ")) if part)
