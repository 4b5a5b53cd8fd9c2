"""What a step does: images and observed labels in, one optimiser step out. Owns model, loss, optimiser and average."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from aevlp import ranks
from aevlp.config.errors import ConfigError
from aevlp.config.schema import TrainerConfig
from aevlp.data.dataset import Split
from aevlp.data.loaders import TrainBatch
from aevlp.labelers import Labeler
from aevlp.labelers._base import ReportProgress
from aevlp.models._fit import OTHER_MODEL, misfit
from aevlp.training.optimizer import build_optimizer
from aevlp.training.promises import require_logits, require_pseudo, require_scalar
from aevlp.training.schedules import learning_rate_factor
from aevlp.whole_batch import share_of_batch

TOO_FEW_VALUES = "more than 1 value per channel"
"""What torch says of a batch that batch norm cannot take the spread of."""

NO_COMPILER = ("InvalidCxxCompiler", "Failed to find C compiler")
"""What torch says where it finds no compiler: for the processor, and for a GPU."""


def looks_back(loss: nn.Module, epoch: int) -> bool:
    """Whether the loss looks at all training images after this epoch: it has an `on_epoch_end`, and `looks_back` allows it."""
    return hasattr(loss, "on_epoch_end") and bool(getattr(loss, "looks_back", lambda epoch: True)(epoch))


def synchronised(model: nn.Module) -> nn.Module:
    """The model with batch norm whose statistics are those of all ranks; that of timm keeps the activation it ends with."""
    if not any(isinstance(module, _BatchNorm) and type(module).__module__.startswith("timm.") for module in model.modules()):
        return nn.SyncBatchNorm.convert_sync_batchnorm(model)
    from timm.layers import convert_sync_batchnorm

    result: nn.Module = convert_sync_batchnorm(model)
    return result


class Task:
    """Model, loss and labeler in training.

    `pseudo` (N,C) int8 holds the pseudo-labels of the current epoch by training row.
    """

    def __init__(
        self, config: TrainerConfig, model: nn.Module, loss: nn.Module, labeler: Labeler,
        accelerator: Accelerator, num_samples: int, num_classes: int, steps_per_epoch: int,
    ):  # fmt: skip
        self.config, self.labeler, self.accelerator, self.steps_per_epoch = config, labeler, accelerator, steps_per_epoch
        self._labeler_state: dict[str, Any] = {}  # of a checkpoint, until the labeler is prepared
        self._random_state: dict[str, Any] = {}  # the same
        self.device = accelerator.device
        self.memory_format = torch.channels_last if config.channels_last else torch.contiguous_format
        model = model.to(self.device).to(memory_format=self.memory_format)
        if config.sync_batch_norm and ranks.count() > 1:
            if self.device.type != "cuda":
                raise ConfigError(f"trainer.sync_batch_norm: works on several GPUs, not on {self.device.type}")
            model = synchronised(model)
        self.loss = loss.to(self.device)
        self.optimizer = build_optimizer(config, model, self.loss)
        self.model, self.optimizer = accelerator.prepare(model, self.optimizer)
        # Beside the model, not instead of it: evaluation, average and checkpoints keep the original.
        self.compiled = torch.compile(self.model, dynamic=False) if config.compile else None
        self.average: AveragedModel | None = None
        if config.ema_decay is not None:
            self.average = AveragedModel(self._plain(), multi_avg_fn=get_ema_multi_avg_fn(config.ema_decay), use_buffers=True)
        self.num_ranks = ranks.count()
        self.pseudo = torch.zeros(num_samples, num_classes, dtype=torch.int8, device=self.device)

    def step(self, batch: TrainBatch, *, epoch: int, step: int) -> Tensor:
        """One optimiser step, number `step` of the run counted from 0, collective; the loss, detached and still on the device.

        Ranks weigh by their images, so that loss and gradient are those of one process with the whole batch.
        """
        factor = learning_rate_factor(self.config, step, self.steps_per_epoch)
        for group in self.optimizer.param_groups:
            group["lr"] = group["base_lr"] * factor
        backbone = getattr(self._plain(), "backbone", None) if epoch <= self.config.linear_epochs else None
        if backbone is not None:
            backbone.eval()  # its batch norm stands still, too
        observed = batch.observed.to(self.device, non_blocking=True)
        index = batch.index.to(self.device, non_blocking=True)
        images = batch.image if batch.image.ndim == 4 else None
        pseudo = self.labeler.label(batch.index, observed, epoch=epoch, images=images)
        require_pseudo(self.labeler, pseudo, observed)
        self.pseudo[index] = pseudo
        if self.config.pseudo_as_observed:
            observed = torch.where(pseudo > 0, 1, observed).to(observed.dtype)
        with _standing_still(backbone if self.num_ranks == 1 else None):
            logits, auxiliary = self._training_outputs(batch.image)
        further = {"auxiliary": auxiliary} if auxiliary else {}
        own, size = self._share(step)
        weight = own / size
        with share_of_batch(own, size):
            loss = self.loss(logits, observed, pseudo, epoch=epoch, num_epochs=self.config.epochs, index=index, **further)
        require_scalar(self.loss, loss)
        self.optimizer.zero_grad()
        self.accelerator.backward(loss * (weight * self.num_ranks))  # as the gradient is divided by the number of ranks
        self._add_up_gradients_of_loss()
        if backbone is not None:
            for parameter in backbone.parameters():
                parameter.grad = None  # the optimiser passes it over, moments and all
        self.optimizer.step()
        if self.average is not None:
            self.average.update_parameters(self._plain())
        return ranks.add_up(loss.detach() * weight)

    def _share(self, step: int) -> tuple[int, int]:
        """How many images of a batch are this rank's, 0 where it got a stand-in; and how many it has."""
        batch_size = self.config.batch_size
        size = min(batch_size, len(self.pseudo) - step % self.steps_per_epoch * batch_size)
        own = ranks.share(size)
        return own.stop - own.start, size

    def _training_outputs(self, image: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        # The last batch of an epoch has a shape of its own, which is not worth another minute of compilation.
        own = ranks.share(self.config.batch_size)
        whole = len(image) == own.stop - own.start and image.ndim == 4
        try:
            return self.outputs(self.compiled if self.compiled is not None and whole else self.model, image)
        except ValueError as error:
            if TOO_FEW_VALUES not in str(error):
                raise
            raise ConfigError(
                f"batch norm cannot use a batch of {len(image)} image at this size: "
                "choose another trainer.batch_size or a larger dataset.image_size"
            ) from error
        except Exception as error:  # torch raises types of its own here
            if self.compiled is None or not any(words in str(error) for words in NO_COMPILER):
                raise
            raise ConfigError(
                "trainer.compile=true: there is no C++ compiler on this machine; install one (such as g++), or begin a new run "
                "with trainer.compile=false"
            ) from error

    def _add_up_gradients_of_loss(self) -> None:
        """The loss is not wrapped like the model; its own parameters get their gradients from all ranks here."""
        if self.num_ranks > 1:
            for parameter in self.loss.parameters():
                if parameter.grad is not None:
                    ranks.add_up(parameter.grad.div_(self.num_ranks))

    def logits(self, model: Callable[[Tensor], Any], image: Tensor) -> Tensor:
        """Logits (B,C) float32 of uint8 images or of features, computed at the configured precision."""
        return self.outputs(model, image)[0]

    def outputs(self, model: Callable[[Tensor], Any], image: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Logits, and what else the model puts out by name: in training mode it may return (logits, further outputs)."""
        of_images = image.ndim == 4  # else features of them
        memory_format = self.memory_format if of_images else torch.contiguous_format
        image = image.to(self.device, non_blocking=True, memory_format=memory_format)
        with self.accelerator.autocast():
            result = model(image)
        logits, further = result if isinstance(result, tuple) else (result, {})
        require_logits(self._plain(), logits, len(image), self.pseudo.shape[1])
        return logits.float(), further

    @property
    def eval_model(self) -> nn.Module:
        """The weights that are evaluated: the moving average where there is one."""
        return self._plain() if self.average is None else self.average.module

    @property
    def learning_rate(self) -> float:
        """Learning rate of the backbone in the latest step."""
        return float(self.optimizer.param_groups[0]["lr"])

    def weights(self) -> dict[str, dict[str, Tensor]]:
        """State dicts to save as safetensors: `model`, and `ema` where there is an average."""
        result = {"model": self._plain().state_dict()}
        if self.average is not None:
            result["ema"] = self.average.module.state_dict()
        return result

    def load_weights(self, weights: dict[str, dict[str, Tensor]]) -> None:
        """Restore `weights()`; ValueError where they are of another model."""
        wrong = misfit(self._plain().state_dict(), weights["model"])
        if wrong is not None:
            raise ValueError(f"weights: {wrong}; {OTHER_MODEL}")
        self._plain().load_state_dict(weights["model"])
        if self.average is not None:
            self.average.module.load_state_dict(weights["ema"])

    def state_dict(self) -> dict[str, Any]:
        """Collective. Everything but the weights that the next step depends on."""
        return {
            "optimizer": self.optimizer.state_dict(),
            "loss": self.loss.state_dict(),
            "labeler": self.labeler.state_dict(),
            "pseudo": self.pseudo.cpu(),
            "average_steps": 0 if self.average is None else int(self.average.n_averaged),
            "scaler": {} if self.accelerator.scaler is None else self.accelerator.scaler.state_dict(),
            **self._random(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore `state_dict()`; random numbers and labeler go on from it with `restore_random` and `restore_labeler`."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.loss.load_state_dict(state["loss"])
        self._labeler_state = state["labeler"]
        self.pseudo.copy_(state["pseudo"])
        if self.average is not None:
            self.average.n_averaged.fill_(state["average_steps"])
        if self.accelerator.scaler is not None and state["scaler"]:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        fresh = self._random()
        self._set_random(state)  # here it is told what is wrong with it
        self._set_random(fresh)
        self._random_state = {key: state[key] for key in fresh if key in state}  # without the moments of the optimiser

    def restore_random(self) -> None:
        """Go on with the random numbers of a checkpoint, once the labeler is prepared, which drew before it."""
        if self._random_state:
            self._set_random(self._random_state)
            self._random_state = {}

    def _random(self) -> dict[str, Any]:
        return {
            "random": _of_all_ranks(torch.get_rng_state()),
            "random_cuda": [_of_all_ranks(torch.cuda.get_rng_state())] if torch.cuda.is_available() else [],
            "random_mps": [torch.mps.get_rng_state()] if self.device.type == "mps" else [],
        }

    def _set_random(self, state: dict[str, Any]) -> None:
        if len(state["random"]) > ranks.rank():  # with more ranks than before, the new ones keep the state they have
            # A copy: torch reads the generator's state from the start of the storage, wherever the row begins.
            torch.set_rng_state(state["random"][ranks.rank()].clone())
            if state["random_cuda"] and torch.cuda.is_available():
                torch.cuda.set_rng_state(state["random_cuda"][0][ranks.rank()].clone())
        if state.get("random_mps") and self.device.type == "mps":
            torch.mps.set_rng_state(state["random_mps"][0])

    def prepare_labeler(self, split: Split, progress: ReportProgress) -> None:
        """Let the labeler look at the training images, and then give it back what a checkpoint holds of it."""
        self.labeler.prepare(split, progress)
        self.restore_labeler()

    def restore_labeler(self) -> None:
        """Give the labeler back what a checkpoint holds of it, where there is one."""
        if self._labeler_state:
            self.labeler.load_state_dict(self._labeler_state)

    def merge(self, owners: np.ndarray) -> None:
        """Collective. Put together what each rank knows of its training rows; `owners` (N,) says whose each row is.

        Then the buffers of model and average are those of rank 0 everywhere.
        """
        if self.num_ranks == 1:
            return
        count = len(owners)
        rows = torch.from_numpy(np.flatnonzero(owners == ranks.rank())).to(self.device)
        tables = [self.pseudo, *(buffer for buffer in self.loss.buffers() if buffer.ndim and len(buffer) == count)]
        for table in tables:
            table.copy_(ranks.assemble(table[rows], rows, count))
        for module in (self._plain(), self.average):
            for buffer in [] if module is None else module.buffers():
                if buffer.device == self.device:
                    torch.distributed.broadcast(buffer, src=0)

    def _plain(self) -> nn.Module:
        return self.accelerator.unwrap_model(self.model)


@contextlib.contextmanager
def _standing_still(backbone: nn.Module | None) -> Iterator[None]:
    """Gradients end above the backbone: a step costs a third, and the head gets the same to the bit.

    Not for several ranks, where torch waits for the gradient of each parameter that had one to begin with.
    """
    learnt = [] if backbone is None else [parameter for parameter in backbone.parameters() if parameter.requires_grad]
    for parameter in learnt:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in learnt:
            parameter.requires_grad_(True)


def _of_all_ranks(state: Tensor) -> Tensor:
    return ranks.assemble(state[None], slice(ranks.rank(), ranks.rank() + 1), ranks.count())
