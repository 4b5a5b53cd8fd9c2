"""One run from configuration to result: builds the parts, trains, and leaves a folder behind."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.state import AcceleratorState, PartialState
from torch import Tensor

from aevlp import ranks
from aevlp.config import registry
from aevlp.config.errors import AevlpError, DataError, UnavailableError
from aevlp.config.schema import ExperimentConfig
from aevlp.data.build import build_dataset
from aevlp.data.dataset import SPMLData, blind, check_labels, check_observed, known_notes
from aevlp.data.formats.folder import FolderConfig, dataset_root
from aevlp.data.image_cache import also_caching
from aevlp.data.loaders import TrainLoader
from aevlp.data.workers import deaths_told, refuse_in_worker
from aevlp.labelers import Labeler, build_labeler
from aevlp.metrics import known_label_quality
from aevlp.runs.folder import RunFolder
from aevlp.runs.plugins import load_kept
from aevlp.system import limit_threads
from aevlp.tracking import RunInfo, Tracker, Trackers
from aevlp.tracking.build import build_trackers
from aevlp.training import changes, figures, labels_worth
from aevlp.training.begun_on import UNKNOWN_DATA, encoder_notes, known_data, unchanged_data, write_encoders
from aevlp.training.cost import Cost
from aevlp.training.model_inputs import feature_store, linear_inputs, looks_at_photos, model_inputs
from aevlp.training.precision import decide
from aevlp.training.samples import write_samples
from aevlp.training.signals import KEPT, RunStopped, StopFlag
from aevlp.training.task import Task
from aevlp.training.trainer import Trainer


@dataclass(frozen=True)
class RunResult:
    """What a run came to. mAP in percent."""

    test_map: float | None
    """Of the best epoch on the test split; None where its full labels are not known."""
    best_val_map: float
    """By the labels that `selection.labels` names."""
    best_epoch: int
    """Counted from 1."""
    run_dir: Path
    """The run folder."""
    pseudo_labels: np.ndarray
    """int8 (N_train,C) of the last epoch."""
    summary: dict[str, Any]
    """summary.json: flat metric names. `test/*` is of the best epoch, `val/*`, `pseudo/*` and `train/*` of the last."""


def train(config: ExperimentConfig) -> RunResult:
    """Run an experiment in a new folder under $AEVLP_RUNS or runs/.

    Raises:
        AevlpError: with a message for the user; RunStopped after a signal, once the state is saved.
    """
    refuse_in_worker()
    with ranks.join(config.trainer.batch_size):
        cost = Cost()
        folder = RunFolder.of_all_ranks(config)
        folder.lock()
        try:
            # Read again: a configuration loaded before torch has stand-ins for the classes of its settings (`registry.settings`).
            return _run(folder.read_config(), folder, cost)
        except AevlpError as error:
            if ranks.is_main() and not folder.has_begun:  # nothing there but the configuration
                shutil.rmtree(folder.path)
                if isinstance(error, RunStopped):
                    raise RunStopped(error.signal_number, f"no run was begun; {KEPT}") from error
            raise


def resume(
    path: Path, epochs: int | None = None, tracking: str | None = None, trackers: Sequence[Tracker] = (),
    places: Mapping[str, str | None] | None = None,
) -> RunResult:  # fmt: skip
    """Continue a run from its newest complete checkpoint, to its own end or to `epochs`; `trackers` come on top of its own.

    `places` says where the data lie now, such as {"dataset.root": FOLDER}. The number of ranks may differ from before; then the
    result is the same up to rounding.

    Raises:
        ConfigError: the data have changed, or the run cannot end after `epochs`; nothing is written then.
    """
    refuse_in_worker()
    load_kept(path)
    config = RunFolder(path).read_config()
    with ranks.join(config.trainer.batch_size):
        cost = Cost()
        folder = RunFolder(path)
        # Before the lock, so that a refusal leaves no trace.
        config = changes.changed(folder, epochs=epochs, tracking=tracking, places=places)
        data = unchanged_data(config, folder)
        folder.lock()
        return _run(config, folder, cost, trackers, data)


def _run(
    config: ExperimentConfig, folder: RunFolder, cost: Cost, more_trackers: Sequence[Tracker] = (), data: SPMLData | None = None
) -> RunResult:
    trackers, state, summary = Trackers([]), "failed", dict[str, Any]()
    try:
        root = str(dataset_root(config.dataset)) if isinstance(config.dataset, FolderConfig) and looks_at_photos(config) else None
        trackers = build_trackers(config.tracking, folder.path, more_trackers, photos=root) if ranks.is_main() else trackers
        with StopFlag(config.trainer.stop_signals) as stop, deaths_told():
            data = data or build_dataset(config.dataset)
            known = known_data(folder, data)
            if known is None:
                data.notes.append(UNKNOWN_DATA)
            trainer = build_trainer(config, data, folder, trackers, stop, cost)
            was_over = trainer.is_over
            summary = trainer.fit()
            if not (was_over and folder.has("samples.npz")):  # nothing was trained or labeled: it is still true
                write_samples(trainer)
            summary |= _labeler_on_test(config, trainer)
            summary = {"state": "finished", "run_id": folder.path.name, "experiment": config.name, "seed": config.seed,
                       "name": config.tracking.name, "config_hash": config.hash, "data_fingerprint": known and known.hash,
                       **summary}  # fmt: skip
            folder.write_summary(summary)
            state = "finished"
    except RunStopped:
        state = "stopped"
        raise
    finally:
        trackers.finish(state, summary | {"state": state})
        folder.unlock(state)
    return RunResult(
        summary["test/mAP"], trainer.progress.best_map or 0.0, trainer.progress.best_epoch, folder.path,
        trainer.task.pseudo.cpu().numpy(), summary,
    )  # fmt: skip


def build_trainer(
    config: ExperimentConfig, data: SPMLData, folder: RunFolder, trackers: Trackers, stop: StopFlag, cost: Cost | None = None
) -> Trainer:
    """Build every other component and a trainer that stands where the run's newest checkpoint stood; encode the views."""
    limit_threads(config.trainer.threads)
    torch.manual_seed(config.seed)
    labels_worth.require_known(config, data.train)
    check_data(data)
    figures.require_choice(config, data)
    AcceleratorState._reset_state(reset_partial_state=True)  # several runs may share a process, each with its precision
    on_cpu = ranks.count() > 1 and not torch.cuda.is_available()
    device = PartialState(cpu=on_cpu).device
    notify = cache(trackers.message)  # an encoder of two parts has the same to say to both
    with _labelers_told_too(config):
        store = feature_store(config, device, notify)
    labeler: Labeler | None = None
    if store is not None:  # whose features may take hours to encode: what the labeler lacks is told before
        with torch.random.fork_rng([]):  # so that the head begins as it did
            labeler = _labeler(config, data, device, notify)
    with _labelers_told_too(config):
        small, cached, features = model_inputs(config, data, store, _progress(trackers, stop))
        model = registry.build(
            "models", config.model, num_classes=len(data.class_names), image_size=config.dataset.image_size, **features
        )
    seen, seen_val = blind(also_caching(data.train, small.train)), also_caching(data.val, small.val)  # by the labeler
    loader = _loader(config, small)
    precision, reason = decide(config, model, device, folder)
    # A loss that leaves outputs alone leaves the layers behind them without a gradient, which ranks would wait for.
    unused = set(config.model.gives_outputs) - set(config.loss.needs_outputs)
    ddp = DistributedDataParallelKwargs(find_unused_parameters=bool(unused))
    accelerator = Accelerator(cpu=on_cpu, mixed_precision="no" if precision == "fp32" else precision, kwargs_handlers=[ddp])
    loss = registry.build("losses", config.loss, num_classes=len(data.class_names), num_samples=len(data.train))
    labeler = _labeler(config, data, accelerator.device, notify) if labeler is None else labeler
    kept = labels_worth.settle_as_kept(labeler, folder)
    task = Task(
        config.trainer, model, loss, labeler, accelerator, len(data.train), len(data.class_names), loader.batches_per_epoch
    )
    if ranks.rank() > 0:
        torch.manual_seed(config.seed + 2**31 * ranks.rank())  # built alike, but each with its own dropout
    trainer = Trainer(config, small, task, loader, trackers, folder, stop, cost or Cost())
    checkpoint = trainer.store.latest()
    if checkpoint is not None:
        trainer.restore(checkpoint)
        if ranks.is_main():
            trainer.store.settle(checkpoint)
    if trainer.progress.epochs_done < config.trainer.linear_epochs:
        still = linear_inputs(config, data, model, device, notify, _progress(trackers, stop))
        trainer.linear = None if still is None else (still, _loader(config, still))
    changes.write(folder, config)
    cached += encoder_notes(config, folder.path)
    write_encoders(config, folder)
    resumed_step = trainer.progress.step if (folder.path / "metrics.jsonl").exists() else None
    trackers.start(RunInfo(
        run_id=folder.path.name, experiment=config.name, run_dir=folder.path, config=config.to_dict(),
        num_epochs=config.trainer.epochs, steps_per_epoch=loader.batches_per_epoch,
        resumed_step=resumed_step, resumed_epochs=trainer.progress.epochs_done, class_names=data.class_names,
        takes_last=figures.takes_last(config, data), rests_on=figures.rests_on_by_split(data),
    ))  # fmt: skip
    decided = [f"precision: {precision}, {reason}"] if config.trainer.precision == "auto" else []
    decided += labels_worth.unused(config, loss)
    for note in data.notes + known_notes(data.train) + figures.notes(config, data) + changes.notes(config) + cached + decided:
        trackers.message(note)
    if trainer.is_over:
        progress = trainer.progress
        early = f", where the run stopped early: {progress.stop_rule(config.trainer)}; {changes.UNENDED}"
        trackers.message(
            f"nothing is left to train after epoch {progress.epochs_done}{early if progress.stopped_early else ''}; "
            "the best weights are tested again"
        )
        if kept is None:
            labels_worth.restore(labeler, folder, trainer.last_row)
        if not folder.has("samples.npz"):  # killed after its last checkpoint: samples show what the labeler sees
            task.prepare_labeler(seen, _progress(trackers, stop))
        else:
            task.restore_labeler()
        return trainer
    folder.write_class_names(data.class_names)
    # Of a run that had ended and goes on: no longer true.
    for name in ("summary.json", "samples.npz", "test_scores.npz", "per_class.csv"):
        folder.remove(name)
    task.prepare_labeler(seen, _progress(trackers, stop))
    trainer.of_labeler = labels_worth.of_run(config, seen, labeler, folder, trackers.message)
    if config.trainer.evaluate_labeler:
        on_val, trainer.labeler_on_val = figures.judge_labeler(labeler, seen_val, "val", _progress(trackers, stop))
        trainer.of_labeler |= on_val
    return trainer


def _labeler(config: ExperimentConfig, data: SPMLData, device: torch.device, notify: Callable[[str], None]) -> Labeler:
    labeler = build_labeler(config, data, device, notify=notify)
    for split in filter(None, (data.train, *((data.val, data.test) if config.trainer.evaluate_labeler else ()))):
        labeler.require(blind(split))  # before anything of a run that goes on is removed; test is looked at after all epochs
    return labeler


@contextlib.contextmanager
def _labelers_told_too(config: ExperimentConfig) -> Iterator[None]:
    """Where what the model needs is not there, what the labeler lacks is told with it, and not one after the other."""
    try:
        yield
    except UnavailableError as error:
        encoder: Any = getattr(config.labeler, "encoder", None)
        too = encoder.missing() if hasattr(encoder, "missing") else None
        raise UnavailableError("\n".join(filter(None, [str(error), too]))) from error


def _loader(config: ExperimentConfig, data: SPMLData) -> TrainLoader:
    return TrainLoader(
        blind(data.train), image_size=config.dataset.image_size, flip=config.dataset.flip,
        batch_size=config.trainer.batch_size, num_workers=config.trainer.num_workers, seed=config.seed,
    )  # fmt: skip


def check_data(data: SPMLData) -> None:
    """Refuse an empty split, labels that do not fit and images of another form, which would fail later or not at all."""
    if len(data.prompt_names) != len(data.class_names):
        raise DataError(f"the dataset has {len(data.prompt_names)} prompt names for {len(data.class_names)} classes")
    for name, split in (("training", data.train), ("validation", data.val), ("test", data.test)):
        if split is None:
            continue
        if not len(split):
            raise DataError(f"the {name} split holds no image")
        check_observed(split.observed, len(split), data.class_names, f"observed labels of the {name} split")
        if name == "training" and not (split.observed > 0).any():
            raise DataError("no image of the training split has a known label, so there is nothing to learn; give some a label")
        if split.targets is not None:
            check_labels(split.targets, len(split), data.class_names, f"full labels of the {name} split")
        image = split.images[0]
        if not isinstance(image, Tensor) or image.dtype != torch.uint8 or image.ndim != 3 or image.shape[0] != 3:
            given = f"{type(image).__name__} of {getattr(image, 'dtype', '?')} {tuple(getattr(image, 'shape', ()))}"
            raise DataError(f"images of the {name} split must be torch.uint8 (3,H,W); {split.images.name(0)} is a {given}")


def _labeler_on_test(config: ExperimentConfig, trainer: Trainer) -> figures.Figures:
    test = trainer.data.test
    if not config.trainer.evaluate_labeler or test is None:
        return {}
    found, pseudo = figures.judge_labeler(trainer.task.labeler, test, "test", _progress(trainer.tracker, trainer.stop))
    if test.targets is None and pseudo is not None and trainer.test_logits is not None:
        known = known_label_quality(trainer.test_logits, test.observed, pseudo)
        found |= {f"test/{name}": value for name, value in known.items()}
    return found


def _progress(trackers: Any, stop: StopFlag) -> Any:
    def report(done: int, total: int) -> None:
        trackers.progress("encode views", done, total)
        stop.check_alone()

    return report
