"""What a loss remembers: only rows of the batch change, and it is saved and restored exactly."""

import copy
import io

import pytest
import torch
from loss_params import PARAMS

from aevlp import losses
from aevlp.config.errors import ConfigError
from aevlp.config.registry import names

N, C, EPOCHS = 12, 5, 6
every_loss = pytest.mark.parametrize("name", names("losses"))
remembering = pytest.mark.parametrize(
    "name", [n for n in names("losses") if losses.build(n, num_classes=C, num_samples=N).state_dict()]
)


def build(name, seed=0):
    torch.manual_seed(seed)
    return losses.build(name, num_classes=C, num_samples=N, **PARAMS.get(name, {}))


class Training:
    """A table of logits in place of a classifier, trained with one loss."""

    def __init__(self, name, seed=0):
        self.loss = build(name, seed)
        self.logits = torch.nn.Parameter(torch.randn(N, C, generator=torch.Generator().manual_seed(1)))
        self.optimizer = torch.optim.Adam(
            [{"params": [self.logits], "lr": 0.3}, {"params": [*self.loss.parameters()], "lr": 0.5}]
        )
        self.observed = torch.nn.functional.one_hot(torch.arange(N) % C, C)
        self.observed[::4] = 0
        self.observed[2::4, :2] -= 1  # a known negative or two, or a positive less

    def step(self, index, epoch):
        pseudo = torch.zeros(len(index), C, dtype=torch.int8)
        value = self.loss(self.logits[index], self.observed[index], pseudo, epoch=epoch, num_epochs=EPOCHS, index=index)
        self.optimizer.zero_grad()
        value.backward()
        self.optimizer.step()

    def epoch(self, epoch, batches=slice(None)):
        order = torch.randperm(N, generator=torch.Generator().manual_seed(epoch))
        for index in order.split(5)[batches]:
            self.step(index, epoch)
        if batches.stop is None and hasattr(self.loss, "on_epoch_end"):
            logits = self.logits.detach()
            self.loss.on_epoch_end(lambda: [(i, torch.sigmoid(logits[i])) for i in torch.arange(N).split(7)], epoch)

    def save(self):
        file = io.BytesIO()
        torch.save({"logits": self.logits.detach(), "loss": self.loss.state_dict(), "adam": self.optimizer.state_dict()}, file)
        return file.getvalue()

    def load(self, saved):
        state = torch.load(io.BytesIO(saved), weights_only=True)
        self.logits.data.copy_(state["logits"])
        self.loss.load_state_dict(state["loss"])
        self.optimizer.load_state_dict(state["adam"])


@every_loss
@pytest.mark.parametrize("stop", [1, 2])
def test_training_that_is_saved_and_restored_in_mid_epoch_goes_on_bit_for_bit(name, stop):
    whole, first, second = Training(name), Training(name), Training(name, seed=9)
    for epoch in range(1, EPOCHS + 1):
        whole.epoch(epoch)
    for epoch in range(1, 4):
        first.epoch(epoch)
    first.epoch(4, slice(0, stop))
    second.load(first.save())
    second.epoch(4, slice(stop, None))
    second.epoch(5)
    second.epoch(6)
    assert torch.equal(second.logits, whole.logits)
    for key, value in whole.loss.state_dict().items():
        assert torch.equal(second.loss.state_dict()[key], value), key


@every_loss
def test_training_remembers_something_wherever_there_is_room_for_it(name):
    training = Training(name)
    empty = copy.deepcopy(training.loss.state_dict())
    for epoch in (1, 2):
        training.epoch(epoch)
    for key, value in training.loss.state_dict().items():
        assert not torch.equal(value, empty[key]), key


@remembering
def test_a_step_changes_and_teaches_only_the_rows_of_its_batch(name):
    training, index = Training(name), torch.tensor([7, 0, 3])
    training.epoch(1)
    others = [i for i in range(N) if i not in index]
    before = copy.deepcopy(training.loss.state_dict())
    training.optimizer.zero_grad()
    training.loss(training.logits[index], training.observed[index], training.observed[index] * 0,
                  epoch=2, num_epochs=EPOCHS, index=index).backward()  # fmt: skip
    assert not training.logits.grad[others].any()
    for key, value in training.loss.state_dict().items():
        if value.ndim:
            assert torch.equal(value[others], before[key][others]), key
    for parameter in training.loss.parameters():
        assert parameter.grad[index].any()
        assert not parameter.grad[others].any()
    assert not any(buffer.requires_grad for buffer in training.loss.buffers())


@remembering
@pytest.mark.parametrize("sizes", [{}, {"num_classes": C}, {"num_samples": N}])
def test_a_memory_needs_the_sizes_of_the_data(name, sizes):
    with pytest.raises(ConfigError, match=rf"loss {name} remembers every training image: it needs num_classes and num_samples"):
        losses.build(name, **sizes)


@remembering
def test_a_memory_needs_the_rows_of_the_batch(name):
    with pytest.raises(ConfigError, match=rf"loss {name} remembers every training image: call it with index"):
        build(name)(torch.zeros(2, C), torch.zeros(2, C), torch.zeros(2, C), epoch=1, num_epochs=2)
