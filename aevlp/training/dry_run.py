"""A rehearsal: every part of a run once, on a handful of images, with memory and time for the whole."""

from __future__ import annotations

import contextlib
import math
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from torch.utils.flop_counter import FlopCounterMode

from aevlp import ranks
from aevlp.config.errors import CheckpointError, ConfigError, TrainingError
from aevlp.config.schema import ExperimentConfig, TrainerConfig
from aevlp.data.build import build_dataset
from aevlp.data.dataset import Split, SPMLData
from aevlp.data.rows import take_rows
from aevlp.data.workers import deaths_told
from aevlp.labelers import Labeler, build_labeler
from aevlp.runs.folder import RunFolder
from aevlp.terminal import Terminal
from aevlp.text import duration
from aevlp.tracking import Trackers
from aevlp.training import labels_worth
from aevlp.training.cards import Work
from aevlp.training.cost import peak_memory_mb
from aevlp.training.model_inputs import count_features, encode_features
from aevlp.training.run import build_trainer, check_data
from aevlp.training.signals import StopFlag
from aevlp.training.task import looks_back
from aevlp.training.trainer import Trainer

UNCOUNTED = "and what labeler {} has to encode, which it does not count"


def first_images(split: Split, count: int) -> Split:
    """The first `count` images of a split."""
    return take_rows(split, np.arange(min(count, len(split))))


@dataclass(frozen=True)
class Rehearsal:
    """What a run of one configuration costs on this machine, from two steps and one validation batch.

    All times are of a second time, as the first pays for what is imported, loaded and chosen only once.
    """

    loss: float
    """Of the last step."""
    step_seconds: float
    """Of the last step."""
    evaluate_seconds: float
    """A validation image."""
    view_seconds: float
    """To encode a view."""
    views_per_image: int
    missing: int | None
    """Views of the whole run that are not cached; None where the labeler cannot count them."""
    num_train: int
    num_val: int
    memory_mb: float
    """Peak of this process so far."""
    checkpoint_mb: float
    table_mb: float
    """What the labeler wants to keep in memory for the whole training set."""
    linear_step_seconds: float = 0.0
    """A step in which the backbone stands still, where there are such (`trainer.linear_epochs`)."""
    look_backs: int = 0
    """Epochs after which the loss looks at all training images once more."""
    work: Work | None = None
    """Counted, where that was asked for."""
    stored: int = 0
    """Images, mirrored ones too, whose features are computed once for the linear epochs; 0 where these look at images."""
    notes: tuple[str, ...] = ()
    """What a run says of settings that change nothing."""

    def training_seconds(self, settings: TrainerConfig) -> float:
        """All epochs of a run that nothing stops early."""
        steps, linear = -(-self.num_train // settings.batch_size), min(settings.linear_epochs, settings.epochs)
        train = steps * (linear * self.linear_step_seconds + (settings.epochs - linear) * self.step_seconds)
        on_images = settings.epochs - (linear if self.stored else 0)
        return train + self.evaluate_seconds * (self.stored + on_images * self.num_val + self.look_backs * self.num_train)

    @property
    def encoding_seconds(self) -> float:
        """All views that are missing, as far as they can be counted."""
        return self.view_seconds * (self.missing or 0)


def rehearse(config: ExperimentConfig, *, count: bool = False) -> Rehearsal:
    """Two steps, one validation batch, save, reload; nothing is kept. With `count`, operations are counted as well.

    Raises:
        AevlpError: whatever the run itself would raise; CheckpointError where weights do not survive saving.
    """
    if ranks.announced() > 1:
        raise ConfigError("--dry-run takes one process: start it without torchrun, or unset WORLD_SIZE")
    settings = config.trainer
    data: SPMLData = build_dataset(config.dataset)
    check_data(data)
    short = replace(
        data,
        train=_with_labels(data.train, 2 * settings.batch_size),
        val=_with_labels(data.val, settings.eval_batch_size),
        test=None,
    )
    with tempfile.TemporaryDirectory() as root, StopFlag(settings.stop_signals) as stop, deaths_told(), _threads_kept():
        trainer = build_trainer(config, short, RunFolder.create(config, Path(root)), Trackers([]), stop)
        task = trainer.task
        task.labeler.uses_cache = False
        with counting(count) as encode_work:
            task.labeler.prepare(first_images(short.train, 1))  # warms up
        views = warm_views = task.labeler.num_images_encoded
        encode = _seconds(lambda: task.labeler.prepare(short.train))
        views = task.labeler.num_images_encoded - views
        if not views and config.model.on_features:
            began = time.perf_counter()
            with counting(count) as encode_work:
                warm_views = encode_features(config, first_images(short.train, 1), task.device)  # loads the encoder
            encode = time.perf_counter() - began
            began = time.perf_counter()
            views = encode_features(config, short.train, task.device)
            encode = time.perf_counter() - began - encode
        task.model.train()
        dear = min(settings.linear_epochs + 1, settings.epochs)  # the first epoch in which the backbone learns
        step_work = []
        first, *rest = trainer.loader.epoch(1)
        places = [*enumerate(rest, 1), (0, first)] if rest else [(0, first)] * 2  # of the two batches, a whole one last
        for number, (place, batch) in enumerate(places):
            began = time.perf_counter()
            with counting(count and number == 0) as counted:  # which takes time: the second is the one that is timed
                loss = float(task.step(batch, epoch=dear, step=place))
            step_work.append(counted)
            step = time.perf_counter() - began
            if not math.isfinite(loss):
                raise TrainingError(f"loss {config.loss.name}: gave {loss} at step {number + 1}")
        still = next(iter(trainer.linear[1].epoch(1))) if trainer.linear else first  # features, once computed
        linear = _seconds(lambda: float(task.step(still, epoch=1, step=0))) if settings.linear_epochs else 0.0
        stored = (len(data.train) * (1 + config.dataset.flip) + len(data.val)) if trainer.linear else 0
        val = trainer.data.val  # with features, where the model takes those
        with counting(count) as evaluate_work:
            trainer.predict(first_images(val, 1), "validate")
        evaluate = _seconds(lambda: trainer.predict(val, "validate")) / len(val)
        look_backs = sum(looks_back(task.loss, epoch) for epoch in range(1, settings.epochs + 1))
        size = _save_and_reload(trainer)
    return Rehearsal(
        loss, step, evaluate, encode / max(views, 1), views // len(short.train),
        _views_to_encode(task.labeler, config, data, task.device), len(data.train), len(data.val), peak_memory_mb(), size,
        task.labeler.table_mb(len(data.train)), linear, look_backs,
        Work(step_work[0](), evaluate_work(), encode_work() / max(warm_views, 1)) if count else None,
        stored, tuple(labels_worth.unused(config, task.loss)),
    )  # fmt: skip


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


@contextlib.contextmanager
def counting(wanted: bool) -> Iterator[Callable[[], int]]:
    """A function that tells, afterwards, the floating point operations of what was computed meanwhile; 0 where not wanted."""
    if not wanted:
        yield lambda: 0
        return
    with FlopCounterMode(display=False) as counter:
        yield counter.get_total_flops


@contextlib.contextmanager
def _threads_kept() -> Iterator[None]:
    """Give torch back its threads, so that one run's setting does not slow the rehearsal of the next."""
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def dry_run(config: ExperimentConfig) -> None:
    """Rehearse a run; prints memory and an estimate of the whole of it. Raises as `rehearse`."""
    found, settings = rehearse(config), config.trainer
    encoding, training = duration(found.encoding_seconds), duration(found.training_seconds(settings))
    console = Terminal(soft_wrap=True)
    console.print(f"[bold]{config.name}[/bold]  dry run: two steps, one validation batch, saved and reloaded", markup=True)
    console.print(f"  loss         {found.loss:.4f}")
    console.print(f"  step         {1000 * found.step_seconds:.0f} ms for {settings.batch_size} images")
    console.print(f"  views        {found.views_per_image} per training image")
    console.print(f"  memory       {found.memory_mb:.0f} MB at most so far")
    if found.table_mb:
        budget = getattr(config.labeler, "table_mb", math.inf)
        kept = "kept in memory" if found.table_mb <= budget else f"over labeler.table_mb={budget}: computed as needed"
        console.print(f"  cosines      {found.table_mb:,.1f} MB of the whole run, {kept}")
    console.print(f"  checkpoint   {found.checkpoint_mb:.1f} MB; up to three are kept")
    if found.missing is None:
        console.print(f"  whole run    about {training} for {settings.epochs} epochs, {UNCOUNTED.format(config.labeler.name)}")
    else:
        console.print(f"  whole run    about {encoding} to encode views, {training} for {settings.epochs} epochs")
    for note in found.notes:
        console.tell(note, style="yellow", indent=2)


def _with_labels(split: Split, most: int) -> Split:
    """Some images, those of which a label is known first: without any, a run is refused."""
    unlabelled = ~(split.observed > 0).any(axis=1)
    return take_rows(split, np.sort(np.argsort(unlabelled, kind="stable")[:most]))


def count_views(config: ExperimentConfig) -> int | None:
    """Views of a whole run that are not cached, without a rehearsal; None where the labeler cannot count them."""
    data: SPMLData = build_dataset(config.dataset)
    device = Accelerator().device
    labeler = build_labeler(config, data, device, notify=lambda _: None)
    return _views_to_encode(labeler, config, data, device)


def _views_to_encode(labeler: Labeler, config: ExperimentConfig, data: SPMLData, device: torch.device) -> int | None:
    """Views of the whole run that are not cached; None where the labeler cannot count them."""
    features = count_features(config, data, device)
    if not hasattr(config.labeler, "encoder"):
        return features
    splits = [(data.train, config.dataset.flip and labeler.mirrors)]
    if config.trainer.evaluate_labeler:
        splits += [(split, False) for split in (data.val, data.test) if split is not None]  # never mirrored
    return total_of([features, *(labeler.count_missing(split, flip) for split, flip in splits)])


def total_of(counts: Iterable[int | None]) -> int | None:
    """The sum; None where one is not known."""
    known = list(counts)
    return None if None in known else sum(count or 0 for count in known)


def _save_and_reload(trainer: Trainer) -> float:
    """Size of a checkpoint in MB, after a round trip that must not change a weight."""
    trainer.save("epoch-000-step-2")
    before = {name: tensor.clone() for name, tensor in trainer.task.weights()["model"].items()}
    checkpoint = trainer.store.latest()
    if checkpoint is None:
        raise CheckpointError("the checkpoint just saved cannot be read back")
    trainer.restore(checkpoint)
    if not all(torch.equal(tensor, before[name]) for name, tensor in trainer.task.weights()["model"].items()):
        raise CheckpointError("weights changed by saving and loading them")
    return sum(file["bytes"] for file in checkpoint.manifest["files"].values()) / 2**20
