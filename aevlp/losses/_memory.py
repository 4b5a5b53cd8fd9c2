"""What a loss remembers of every training image: one mechanism for tables, flipped labels and soft targets.

A remembered tensor is a buffer (N, ...) with one row an image, read and written at `index`, the rows of the batch. As a buffer
it is saved in every checkpoint and restored exactly; a table that is trained is a parameter and gets an optimiser group of its
own. The loss runs in the training process, never in the processes that load images, so their number changes nothing.

Several ranks: an epoch shows each image to one rank. Rows of buffers are put together at the end of the epoch; gradients of a
trained table are summed at every step, so it must change by its optimiser alone.
"""

from __future__ import annotations

import torch
from torch import Tensor

from aevlp.config.errors import ConfigError
from aevlp.config.schema import ComponentConfig
from aevlp.losses._terms import Loss


class RememberingLoss(Loss):
    """Base of losses with a memory.

    Raises:
        ConfigError: built without num_classes or num_samples, or called without `index`.
    """

    def __init__(self, config: ComponentConfig, num_classes: int | None = None, num_samples: int | None = None):
        super().__init__(config)
        if not num_classes or not num_samples:
            given = f"num_classes={num_classes}, num_samples={num_samples}"
            raise ConfigError(
                f"loss {config.name} remembers every training image: it needs num_classes and num_samples, got {given}"
            )
        self.num_samples, self.num_classes = num_samples, num_classes

    def remember(self, name: str, dtype: torch.dtype) -> None:
        """Add a buffer (N,C) of zeros as attribute `name`."""
        self.register_buffer(name, torch.zeros(self.num_samples, self.num_classes, dtype=dtype))

    def rows(self, index: Tensor | None) -> Tensor:
        """`index`, once it is known to be there."""
        if index is None:
            raise ConfigError(f"loss {self.config.name} remembers every training image: call it with index, its rows")
        return index
