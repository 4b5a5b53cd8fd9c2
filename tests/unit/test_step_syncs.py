"""The training step never waits for the device: no value is read back, no shape depends on values."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import aevlp
from aevlp.config import registry
from aevlp.runs.folder import RunFolder
from aevlp.tracking import Trackers
from aevlp.training.run import build_trainer
from aevlp.training.signals import StopFlag


class CountSyncs(TorchDispatchMode):
    """Counts operations that a GPU could not run ahead of."""

    def __init__(self):
        super().__init__()
        self.found = Counter()
        self.all = 0

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        name = function.overloadpacket.__name__
        self.all += 1
        by_mask = name in ("index", "index_put", "index_put_", "_index_put_impl_") and any(
            index is not None and index.dtype in (torch.bool, torch.uint8) for index in arguments[1]
        )
        if by_mask or name in ("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal", "unique2", "_unique2"):
            self.found[name] += 1
        return function(*arguments, **(options or {}))


def test_the_counter_sees_what_waits():
    x = torch.ones(3)
    with CountSyncs() as counter:
        x.sum().item()
        x[x > 0]
        x[x > 0] = 2
        x.nonzero()
        bool(x.sum() > 0)
    assert counter.found["_local_scalar_dense"] >= 2
    assert counter.found["index"] >= 1
    assert counter.found["index_put_"] >= 1
    assert counter.found["nonzero"] >= 1


@pytest.mark.parametrize("overrides", [(), ("trainer.optimizer=adamw", "trainer.schedule=one_cycle", "dataset.flip=true"),
                                       ("trainer.optimizer=sgd", "trainer.precision=bf16")])  # fmt: skip
def test_a_gpr_step_with_labels_waits_nowhere(small, overrides):
    config = aevlp.load_experiment("digits_gpr", [*small, "dataset.image_size=32", "dataset.num_train=32",
                                                  "trainer.evaluate_labeler=false", *overrides])  # fmt: skip
    data = registry.build("datasets", config.dataset)
    trainer = build_trainer(config, data, RunFolder.create(config), Trackers([]), StopFlag())
    trainer.task.model.train()
    first, second = list(trainer.loader.epoch(1))
    trainer.task.step(first, epoch=1, step=0)  # the optimiser's state is made here
    with CountSyncs() as counter:
        trainer.task.step(second, epoch=1, step=1)
    assert counter.all > 100
    assert counter.found == {}
    assert (trainer.task.pseudo != 0).any()
