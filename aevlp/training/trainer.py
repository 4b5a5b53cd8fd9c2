"""The training loop: epochs, validation, early stop, checkpoints, and the test of the best weights."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aevlp import ranks
from aevlp.config.errors import CheckpointError, TrainingError
from aevlp.config.schema import ExperimentConfig
from aevlp.data.dataset import Split, SPMLData
from aevlp.data.features import num_encoded
from aevlp.data.loaders import TrainLoader, eval_loader
from aevlp.metrics import average_precision_per_class, mean_over_classes, num_occurring
from aevlp.reading import number
from aevlp.runs.checkpoints import Checkpoint, CheckpointStore
from aevlp.runs.folder import RunFolder
from aevlp.text import listed
from aevlp.tracking import Tracker
from aevlp.training import changes
from aevlp.training.cost import Cost
from aevlp.training.figures import (
    UNKNOWN,
    Figures,
    by_known_labels,
    lost_classes,
    of_best_epoch,
    pseudo_figures,
    split_figures,
    takes_last,
)
from aevlp.training.signals import RunStopped, StopFlag
from aevlp.training.state import Progress
from aevlp.training.task import Task, looks_back

_REMEDY = "nothing was saved since. Try a smaller trainer.learning_rate, or trainer.precision=fp32"


class Trainer:
    """Runs one experiment from wherever its checkpoints stand to its end."""

    def __init__(
        self, config: ExperimentConfig, data: SPMLData, task: Task, loader: TrainLoader,
        tracker: Tracker, folder: RunFolder, stop: StopFlag, cost: Cost,
    ):  # fmt: skip
        self.config, self.data, self.task, self.loader = config, data, task, loader
        self.tracker, self.folder, self.stop, self.cost = tracker, folder, stop, cost
        self.store = CheckpointStore(folder.path / "checkpoints", tracker.message)
        self.progress = Progress()
        self.linear: tuple[SPMLData, TrainLoader] | None = None
        """Data and batches of linear epochs, where they are others: features of a backbone that stands still."""
        self.of_labeler: Figures = {}
        """What is told of the labeler in each epoch, as it stays the same."""
        self.labeler_on_val: np.ndarray | None = None
        """What the labeler says of the validation images, int8 (N,C); None where it was not asked."""
        self.test_logits: np.ndarray | None = None
        self.last_row: dict[str, Any] = {}

    def fit(self) -> dict[str, Any]:
        """Train to the end, test the best weights, and return the flat summary."""
        self.task.restore_random()
        while not self.is_over:
            try:
                performance = self.train_epoch()
                self.end_epoch(performance)
            except RunStopped:
                epoch = self.progress.epochs_done + 1
                self.save(f"epoch-{epoch:03d}-step-{self.progress.step}")
                self.tracker.message(f"stopped, and saved in epoch {epoch} after step {self.progress.step}")
                raise
        return self.test()

    @property
    def is_over(self) -> bool:
        """Whether no epoch is left to train."""
        return self.progress.epochs_done >= self.config.trainer.epochs or self.progress.stopped_early

    def train_epoch(self) -> dict[str, float]:
        """The rest of the epoch under way; returns its performance metrics."""
        progress, epoch = self.progress, self.progress.epochs_done + 1
        loader = self.seen(epoch)[1]
        self.task.model.train()
        unseen = [(torch.tensor(loss, device=self.task.device), size) for loss, size in progress.unseen]
        began, waited, images = time.perf_counter(), 0.0, 0
        asked = began
        for batch in loader.epoch(epoch, start=progress.batches_done):
            waited += time.perf_counter() - asked
            size = loader.size(progress.batches_done)
            unseen.append((self.task.step(batch, epoch=epoch, step=progress.step), size))
            images += size
            progress.step += 1
            progress.batches_done += 1
            self.tracker.progress("train", progress.batches_done, self.loader.batches_per_epoch)
            if progress.step % self.config.trainer.log_every == 0:
                self.log_losses(unseen)
            if self.stop.came():
                progress.unseen = self.fetch_losses(unseen)
                self.stop.check()
            asked = time.perf_counter()
        self.log_losses(unseen)
        seconds = time.perf_counter() - began
        return {"perf/images_per_second": images / seconds, "perf/data_wait": waited / seconds} if images else {}

    def seen(self, epoch: int) -> tuple[SPMLData, TrainLoader]:
        """Data and batches of an epoch."""
        linear = self.linear if epoch <= self.config.trainer.linear_epochs else None
        return linear or (self.data, self.loader)

    def fetch_losses(self, unseen: list[tuple[Tensor, int]]) -> list[tuple[float, int]]:
        """Bring losses from the device, in one transfer; stop the run if one of them is not finite."""
        if not unseen:
            return []
        losses = torch.stack([loss for loss, _ in unseen]).tolist()
        first = self.progress.step - len(losses) + 1
        broken = [first + i for i, loss in enumerate(losses) if not math.isfinite(loss)]
        if broken:
            steps = listed([str(step) for step in broken], 5)
            raise TrainingError(
                f"the loss is not finite at step {steps} (looked at steps {first} to {self.progress.step}); {_REMEDY}"
            )
        if not torch.stack([weight.isfinite().all() for weight in self.task.model.parameters()]).all():
            raise TrainingError(f"the weights are not finite after steps {first} to {self.progress.step}; {_REMEDY}")
        return [(loss, size) for loss, (_, size) in zip(losses, unseen, strict=True)]

    def log_losses(self, unseen: list[tuple[Tensor, int]]) -> None:
        """Log the mean of the losses since the last look, and forget them."""
        losses = self.fetch_losses(unseen)
        unseen.clear()
        self.progress.unseen = []
        if losses:
            self.progress.loss_sum += sum(loss * size for loss, size in losses)
            self.tracker.log({
                "trainer/step": self.progress.step, "trainer/epoch": self.progress.epochs_done + 1,
                "train/step_loss": sum(loss for loss, _ in losses) / len(losses), "train/learning_rate": self.task.learning_rate,
            })  # fmt: skip

    def end_epoch(self, performance: dict[str, float]) -> None:
        """Validate, record, remember the best, decide whether to stop, and save."""
        progress, epoch = self.progress, self.progress.epochs_done + 1
        self.merge_ranks()
        logits = self.predict(self.seen(epoch)[0].val, "validate")
        self.call_epoch_hook(epoch)  # after the above: a run stopped in validation repeats it, but may call the hook only once
        figures = split_figures("val", self.data.val, logits, self.labeler_on_val)
        by_known = by_known_labels(self.config, self.data)
        selected = float(figures["val/mAP_observed" if by_known else "val/mAP"])
        last = takes_last(self.config, self.data)  # each epoch takes the place of the one before, so no rule ends the run
        begins = epoch == self.config.trainer.linear_epochs + 1  # what the still backbone reached is where it starts from
        improved = last or begins or progress.best_map is None or selected > progress.best_map
        if improved:
            progress.best_map, progress.best_epoch, progress.stale_epochs = selected, epoch, 0
            self.folder.write_scores("val_scores.npz", self.data.val, logits, epoch)
        elif epoch > self.config.trainer.linear_epochs:
            progress.stale_epochs += 1
        best = of_best_epoch(figures, "val/") if improved else of_best_epoch(self.last_row, "best/val_")
        row = {
            "trainer/step": progress.step, "trainer/epoch": epoch, "train/loss": progress.loss_sum / len(self.data.train),
            **figures, **self.pseudo_metrics(), **self.of_labeler, **performance,
            **self.took(),
            "best/val_mAP": progress.best_map, "best/epoch": progress.best_epoch,
            **({"best/val_mAP_observed": progress.best_map} if by_known else {}), **best,
        }  # fmt: skip
        progress.epochs_done, progress.batches_done, progress.loss_sum = epoch, 0, 0.0
        progress.stopped_early = progress.should_stop(selected, self.config.trainer)
        self.last_row = row
        self.folder.write_pseudo_labels(self.data, self.task.pseudo.cpu().numpy(), epoch)
        self.tracker.log(row)  # before saving: a resumed run drops rows beyond its checkpoint, but cannot add a missing one
        self.save(f"epoch-{epoch:03d}")
        if epoch >= self.config.trainer.linear_epochs:
            self.linear = None  # COCO's features are 600 MB
        if progress.stopped_early and epoch < self.config.trainer.epochs:
            title = "validation mAP (known labels)" if by_known else "validation mAP"
            self.tracker.message(
                f"early stop after epoch {epoch}: {progress.stop_rule(self.config.trainer)}; best {title} "
                f"{progress.best_map:.2f} in epoch {progress.best_epoch}"
            )

    def took(self) -> Figures:
        """Collective. Time, memory and views of the run so far."""
        return self.cost.told(self.task.labeler.num_images_encoded + num_encoded(self.data))

    def test(self) -> dict[str, Any]:
        """Load the best weights, score the test split, and return the summary."""
        best = self.store.best()
        if best is not None:
            self.task.eval_model.load_state_dict(best.weights("ema" if best.has("ema") else "model"))
        self.mend_files()
        summary = UNKNOWN | {key: value for key, value in self.last_row.items() if not key.startswith("trainer/")}
        summary |= {"trainer/step": self.progress.step, "trainer/epoch": self.progress.epochs_done}
        test = self.data.test
        if test is not None:
            self.test_logits = self.predict(test, "test")
            if not self.folder.write_test_scores(test, self.test_logits, self.progress.best_epoch):
                size = self.test_logits.nbytes / 1e6
                self.tracker.message(f"test scores of {size:,.0f} MB are not kept; `eval -o FOLDER` writes them")
            if test.targets is None:
                summary |= split_figures("test", test, self.test_logits)
            else:
                precisions = average_precision_per_class(test.targets, self.test_logits)
                mean = number(mean_over_classes(precisions))
                summary |= {"test/mAP": mean, "test/mAP_classes": num_occurring(test.targets)}
                self.folder.write_per_class(self.data, precisions)
                if note := lost_classes(self.data.class_names, test.targets, precisions):
                    self.tracker.message(note)
        return summary

    def mend_files(self) -> None:
        """Collective. Write what is absent, damaged or of an epoch that no checkpoint kept, as after a kill or on a full disk."""
        best, last = self.progress.best_epoch, self.progress.epochs_done
        if not ranks.from_main(self.folder.is_of_epoch("val_scores.npz", best)):
            self.folder.write_scores("val_scores.npz", self.data.val, self.predict(self.data.val, "validate"), best)
        if not self.folder.is_of_epoch("pseudo_labels.npz", last):
            self.folder.write_pseudo_labels(self.data, self.task.pseudo.cpu().numpy(), last)

    def predict(self, split: Split, stage: str) -> np.ndarray:
        """Logits (N,C) float32 of a split, images as they are, in row order; each rank scores its share of the rows."""
        settings = self.config.trainer
        loader = eval_loader(
            split, image_size=self.config.dataset.image_size, batch_size=settings.eval_batch_size,
            num_workers=settings.num_workers,
        )  # fmt: skip
        model = self.task.eval_model.eval()
        rows = ranks.share(len(split))
        chunks = [torch.empty(0, split.observed.shape[1], device=self.task.device)]
        with torch.inference_mode():
            for images in loader:
                chunks.append(self.task.logits(model, images))
                self.tracker.progress(stage, sum(map(len, chunks)), rows.stop - rows.start)
                if self.stop.signal_number is not None:
                    break
        self.stop.check()
        logits = ranks.assemble(torch.cat(chunks).cpu(), rows, len(split)).numpy()
        if not np.isfinite(logits).all():
            raise TrainingError(f"{stage}: the logits are not finite after step {self.progress.step}; {_REMEDY}")
        return logits

    def pseudo_metrics(self) -> Figures:
        """Quality of this epoch's pseudo-labels on the training images; the true labels are read here only."""
        if self.config.labeler.name == "none":
            return {}
        return pseudo_figures("pseudo", self.data.train, self.task.pseudo.cpu().numpy())

    def call_epoch_hook(self, epoch: int) -> None:
        """Let a loss with an `on_epoch_end(predict, epoch)` look at the training set, unless its `looks_back(epoch)` is false."""
        if not looks_back(self.task.loss, epoch):
            return
        # Before the hook begins: a stop in here must not leave it half done.
        logits = torch.from_numpy(self.predict(self.seen(epoch)[0].train, "look back"))

        def predict() -> Iterator[tuple[Tensor, Tensor]]:
            for index in torch.arange(len(logits)).split(self.config.trainer.eval_batch_size):
                yield index.to(self.task.device), torch.sigmoid(logits[index]).to(self.task.device)

        hook: Any = self.task.loss.on_epoch_end
        hook(predict, epoch)

    def merge_ranks(self) -> None:
        """Collective. Give every rank what the others learnt about their images in the epoch under way."""
        if ranks.count() > 1:
            self.task.merge(self.loader.owners(self.progress.epochs_done + 1, self.progress.batches_done))

    def save(self, name: str) -> None:
        """Collective. Write a checkpoint of the present state; rank 0 does."""
        progress = self.progress
        best = f"epoch-{progress.best_epoch:03d}" if progress.best_epoch else None
        self.merge_ranks()
        state = {"progress": asdict(progress), "last_row": self.last_row, "task": self.task.state_dict(), "cost": self.took(),
                 "trainer": self.config.to_dict()["trainer"]}  # fmt: skip
        if ranks.is_main():
            self.store.save(name, self.task.weights(), state, step=progress.step, epochs_done=progress.epochs_done, best=best)
        ranks.from_main(None)  # the others read the best one at the end: not before it is there

    def restore(self, checkpoint: Checkpoint) -> None:
        """Continue from a checkpoint."""
        state = checkpoint.state()
        names = ["model"] + (["ema"] if self.task.average is not None else [])
        try:
            changes.require_unedited(self.config, state.get("trainer"))
            self.task.load_weights({name: checkpoint.weights(name) for name in names})
            self.task.load_state_dict(state["task"])
            self.progress = Progress.of(state)
            self.cost.go_on(state.get("cost"))
            self.last_row = dict(state["last_row"])
            wrong = [name for name, value in self.last_row.items() if value is not None and number(value) is None]
            if wrong:
                raise ValueError(f"{wrong[0]} is no number")
        except (AttributeError, KeyError, OSError, RuntimeError, TypeError, ValueError) as error:
            what = " ".join(str(error).split())
            raise CheckpointError(f"{checkpoint.folder}: does not fit the run's config.yaml: {what}") from error
