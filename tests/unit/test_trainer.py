"""The training loop: stop rule, groups, average, precision, what is logged and what a batch holds."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import small_runs as runs
import torch
from torch import nn

import aevlp
from aevlp.cli import main
from aevlp.config.schema import TrainerConfig
from aevlp.data.loaders import TrainBatch, TrainLoader
from aevlp.metrics import mean_average_precision
from aevlp.random import epoch_order
from aevlp.runs.folder import RunFolder
from aevlp.tracking import Trackers, read_metrics
from aevlp.tracking.metrics import BY_KNOWN
from aevlp.training import figures as figures_module
from aevlp.training.figures import takes_last
from aevlp.training.optimizer import build_optimizer
from aevlp.training.run import build_trainer, registry
from aevlp.training.signals import StopFlag
from aevlp.training.task import Task
from aevlp.training.trainer import Trainer

PSEUDO = [f"pseudo/{sign}/{key}" for sign in ("positive", "negative") for key in ("precision", "recall", "f1", "count")]


def make_trainer(*overrides: str) -> Trainer:
    config = runs.config(*overrides)
    data = registry.build("datasets", config.dataset)
    return build_trainer(config, data, RunFolder.create(config), Trackers([]), StopFlag())


def give_maps(monkeypatch, values):
    """Of validation in each epoch: mAP by observed labels is asked for first, then by full ones."""
    monkeypatch.setattr(figures_module, "observed_average_precision_per_class", lambda *_: np.array([next(values)]))
    monkeypatch.setattr(figures_module, "mean_average_precision", lambda *_: next(values))


def train_with_maps(monkeypatch, maps: list[float], *overrides: str):
    """A run whose validation mAP in each epoch is given; the test at the end is not patched."""
    values = iter(maps)
    give_maps(monkeypatch, values)
    return aevlp.train(runs.config("selection.labels=observed", f"trainer.epochs={len(maps) // 2}", *overrides))


@pytest.mark.parametrize(
    ("patience", "max_drop", "maps", "epochs", "best"),
    [
        ("2", "null", [50, 40, 41, 60], 3, 1),  # two in a row without a gain
        ("2", "null", [50, 40, 51, 50, 49, 60], 5, 3),  # a gain starts the count anew
        ("2", "null", [50, 50, 50, 60], 3, 1),  # an equal value is no gain
        ("1", "null", [50, 60, 60, 70], 3, 2),
        ("null", "2", [50, 48, 47.9, 60], 3, 1),  # exactly 2 below the best is not more than 2
        ("null", "0", [50, 51, 50.9, 60], 3, 2),
        ("2", "2", [50, 47, 60, 61], 2, 1),  # whichever comes first: the fall
        ("2", "2", [50, 49, 49.5, 61], 3, 1),  # or the count
        ("null", "null", [50, 10, 10, 10, 10], 5, 1),
    ],
)
def test_stop_rule(monkeypatch, patience, max_drop, maps, epochs, best):
    both = [value for m in maps for value in (m, 0.0)]  # asked against observed labels first, then against full ones
    result = train_with_maps(monkeypatch, both, f"trainer.patience={patience}", f"trainer.max_drop={max_drop}")
    assert [row["trainer/epoch"] for row in runs.epoch_rows(result.run_dir)] == list(range(1, epochs + 1))
    assert (result.best_epoch, result.best_val_map) == (best, maps[best - 1])
    assert result.summary["trainer/epoch"] == epochs
    assert runs.newest(result.run_dir).state()["progress"]["stopped_early"] == (epochs < len(maps))


@pytest.mark.parametrize(
    ("fallen", "setting", "said"),
    [(48.0, "patience=2", "no better validation mAP in 2 epochs"), (40.0, "max_drop=2", "validation mAP fell too far")],
)
def test_an_early_stop_names_its_rule_and_setting_in_the_run_and_to_who_resumes_it(monkeypatch, capsys, fallen, setting, said):
    both = [value for m in (49.0, 50.0, fallen, fallen, 60.0) for value in (m, 0.0)]
    run = train_with_maps(monkeypatch, both, "trainer.patience=2", "trainer.max_drop=2").run_dir
    (told,) = [line for line in capsys.readouterr().out.splitlines() if "early stop after epoch" in line]
    rule = told.partition(": ")[2].partition(";")[0]
    assert rule.startswith(said)
    assert rule.endswith(f"(trainer.{setting})")
    monkeypatch.undo()
    assert main(["--resume", str(run)]) == 0
    remedy = "begin a new run with trainer.patience=null trainer.max_drop=null"
    assert f"{rule}; to train all epochs {remedy}" in " ".join(capsys.readouterr().out.split())
    assert main(["--resume", str(run), "--set", "trainer.epochs=9"]) == 2
    assert f"{rule}; to train all epochs {remedy}" in capsys.readouterr().err


@pytest.mark.parametrize("labels", ["clean", "observed"])
def test_selection_labels_choose_the_best_epoch(monkeypatch, labels):
    by_observed, full = [10, 20, 15], [60, 50, 70]
    values = iter([value for pair in zip(by_observed, full, strict=True) for value in pair])
    give_maps(monkeypatch, values)
    result = aevlp.train(runs.config(f"selection.labels={labels}", "trainer.epochs=3"))
    assert (result.best_epoch, result.best_val_map) == ((3, 70) if labels == "clean" else (2, 20))
    rows = runs.epoch_rows(result.run_dir)
    assert [row["val/mAP"] for row in rows] == full
    assert [row["val/mAP_observed"] for row in rows] == by_observed


def test_where_the_last_epoch_is_asked_for_no_rule_ends_the_run_and_its_weights_are_tested(monkeypatch, capsys):
    both = [value for m in (50.0, 40.0, 10.0, 20.0) for value in (m, 0.0)]
    result = train_with_maps(monkeypatch, both, "selection.epoch=last", "trainer.patience=1", "trainer.max_drop=1")
    monkeypatch.undo()
    assert (result.best_epoch, result.best_val_map) == (4, 20)
    assert runs.CheckpointStore(result.run_dir / "checkpoints", print).best().folder.name == "epoch-004"
    told = " ".join(capsys.readouterr().out.split())
    assert "selection.epoch=last: all epochs are trained, and the last is taken" in told
    assert "epochs are measured by val mAP (known labels)" in told
    assert "early stop" not in told


@pytest.mark.parametrize(("labels", "best_epoch"), [("clean", 1), ("observed", 4)])
def test_auto_takes_the_best_epoch_by_full_labels_and_the_last_by_known_ones(monkeypatch, capsys, labels, best_epoch):
    both = [value for m in (50.0, 40.0, 10.0, 20.0) for value in (m, m)]
    setting = ("selection.epoch=auto", f"selection.labels={labels}", "trainer.patience=2", "trainer.max_drop=null")
    result = train_with_maps(monkeypatch, both, *setting)
    assert result.best_epoch == best_epoch
    told = " ".join(capsys.readouterr().out.split())
    assert ("selection.epoch=best lets it choose the epoch" in told) == (labels == "observed")
    assert ("early stop after epoch 3" in told) == (labels == "clean")


def test_known_absences_let_auto_choose_as_nothing_unknown_counts_as_absent():
    data, config = make_trainer().data, runs.config("selection.epoch=auto", "selection.labels=observed")
    assert takes_last(config, data)
    val = dataclasses.replace(data.val, observed=np.where(data.val.targets > 0, 1, -1).astype(np.int8))
    assert not takes_last(config, dataclasses.replace(data, val=val))
    assert takes_last(runs.config("selection.epoch=last"), dataclasses.replace(data, val=val))


def test_the_test_split_is_scored_with_the_best_weights(monkeypatch):
    both = [value for m in (50.0, 40.0, 30.0) for value in (m, 0.0)]
    result = train_with_maps(monkeypatch, both)
    monkeypatch.undo()
    first = runs.CheckpointStore(result.run_dir / "checkpoints", print).best()
    assert first.folder.name == "epoch-001"
    trainer = make_trainer()
    trainer.task.eval_model.load_state_dict(first.weights())
    test = trainer.data.test
    assert mean_average_precision(test.targets, trainer.predict(test, "test")) == result.test_map


def test_large_test_scores_are_not_kept_and_this_is_told(monkeypatch, capsys):
    monkeypatch.setattr("aevlp.runs.folder.MAX_TEST_SCORES", 1599)
    result = aevlp.train(runs.config("trainer.epochs=1"))  # 40 images of ten classes: 1,600 bytes
    assert not (result.run_dir / "test_scores.npz").exists()
    assert "are not kept; `eval -o FOLDER` writes them" in capsys.readouterr().out


def test_metric_names(small):
    result = aevlp.train(aevlp.load_experiment("digits_gpr", [*small, "dataset.image_size=32", "trainer.epochs=1"]))
    positive = [name for name in PSEUDO if "positive" in name]
    best = {"best/val_mAP", "best/epoch"}
    always = {"train/loss", "val/mAP", "val/mAP_observed", "val/mAP_classes", *positive, *best, "trainer/epoch", "trainer/step"}
    always |= {f"{prefix}{name}" for prefix in ("val/", "best/val_") for name in BY_KNOWN}
    perf = {
        f"perf/{key}"
        for key in ("images_per_second", "clip_images_encoded", "data_wait", "memory_peak_mb", "seconds", "cpu_seconds")
    }
    (row,) = runs.epoch_rows(result.run_dir)
    assert always | perf <= row.keys()
    assert all(isinstance(row[name], int | float) for name in always | perf)
    assert always | perf | {"test/mAP"} <= result.summary.keys()
    assert json.loads((result.run_dir / "summary.json").read_text()) == result.summary
    assert {"val/labeler_mAP", "test/labeler_mAP"} <= result.summary.keys()
    assert {f"{split}/{name}" for split in ("val", "test") for name in positive} <= result.summary.keys()
    assert "best/val_mAP_observed" not in result.summary
    assert row["perf/clip_images_encoded"] > 0
    assert row["pseudo/positive/count"] > 0
    assert (result.pseudo_labels.dtype, result.pseudo_labels.shape) == (np.int8, (64, 10))
    assert row["pseudo/positive/count"] == (result.pseudo_labels > 0).sum()


def test_what_there_is_not_is_left_out_and_null_in_the_summary_never_zero(small):
    """Negatives that the labeler does not give; pseudo-labels without a labeler."""
    without = aevlp.train(runs.config())
    off, on = (
        aevlp.train(aevlp.load_experiment("digits_gpr", [*small, "trainer.epochs=1", f"labeler.negatives={word}"]))
        for word in ("off", "on")
    )
    negative = [name for name in PSEUDO if "negative" in name]
    for result, absent in ((without, PSEUDO), (off, negative), (on, [])):
        for row in runs.epoch_rows(result.run_dir):
            assert [name for name in PSEUDO if name in row] == [name for name in PSEUDO if name not in absent]
        summary = json.loads((result.run_dir / "summary.json").read_text())
        assert [name for name in PSEUDO if summary[name] is None] == absent
        held_out = [name for name in summary if name.startswith(("val/pseudo/negative", "test/pseudo/negative"))]
        assert len(held_out) == (8 if result is on else 0)
    assert not without.pseudo_labels.any()


def test_step_rows_hold_the_mean_loss_since_the_last_look_and_the_epoch_row_the_mean_over_images(monkeypatch):
    losses = []
    step = Task.step

    def remember(self, batch, *, epoch, step_of=step, **where):
        losses.append((step_of(self, batch, epoch=epoch, **where), len(batch.index)))
        return losses[-1][0]

    monkeypatch.setattr(Task, "step", remember)
    result = aevlp.train(runs.config("dataset.num_train=40", "trainer.epochs=1", "trainer.schedule=cosine"))  # 16 + 16 + 8
    values = [float(loss) for loss, _ in losses]
    first, second = (row for row in read_metrics(result.run_dir / "metrics.jsonl") if "train/step_loss" in row)
    assert first["train/step_loss"] == pytest.approx((values[0] + values[1]) / 2, rel=1e-12)
    assert second["train/step_loss"] == pytest.approx(values[2], rel=1e-12)
    assert (first["trainer/step"], second["trainer/step"]) == (2, 3)
    assert first["train/learning_rate"] == pytest.approx(1e-3 * 0.75)  # cosine, a third of the way
    (row,) = runs.epoch_rows(result.run_dir)
    assert row["train/loss"] == pytest.approx((16 * values[0] + 16 * values[1] + 8 * values[2]) / 40, rel=1e-12)


def test_a_train_batch_has_no_true_labels(monkeypatch):
    assert set(TrainBatch.__dataclass_fields__) == {"image", "observed", "index"}
    trainer = make_trainer()
    batches = list(trainer.loader.epoch(1))
    index = torch.cat([batch.index for batch in batches])
    observed = torch.cat([batch.observed for batch in batches])
    assert index.tolist() == epoch_order(48, trainer.config.seed, 1).tolist()
    train = trainer.data.train
    assert torch.equal(observed, torch.from_numpy(train.observed)[index])
    assert observed.sum(1).tolist() == [1] * 48
    assert train.targets.sum() > 48  # there was more to hide


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_loader_that_starts_in_mid_epoch_gives_the_rest_of_the_same_epoch(num_workers):
    config = runs.config().dataset
    data = registry.build("datasets", config)
    loader = TrainLoader(data.train, image_size=32, flip=True, batch_size=16, num_workers=num_workers, seed=5)
    whole, rest = list(loader.epoch(2)), list(loader.epoch(2, start=1))
    assert len(whole) == loader.batches_per_epoch == 3
    assert [batch.index.tolist() for batch in rest] == [batch.index.tolist() for batch in whole[1:]]
    assert all(torch.equal(a.image, b.image) for a, b in zip(rest, whole[1:], strict=True))
    assert list(loader.epoch(2, start=3)) == []


def test_learning_rate_groups_of_backbone_head_and_loss():
    model = nn.Module()
    model.backbone, model.head, loss = nn.Linear(3, 4), nn.Linear(4, 2), nn.Linear(1, 1)
    for optimizer in ("adam", "adamw", "adamax", "sgd"):
        config = TrainerConfig(optimizer=optimizer, learning_rate=0.1, head_lr_mult=3, loss_lr_mult=7, weight_decay=0.01)
        groups = build_optimizer(config, model, loss).param_groups
        owners = [model.backbone, model.head, loss]
        assert [[id(p) for p in group["params"]] for group in groups] == [[id(p) for p in owner.parameters()] for owner in owners]
        assert [group["lr"] for group in groups] == pytest.approx([0.1, 0.3, 0.7])
        assert [group["weight_decay"] for group in groups] == [0.01] * 3
    assert len(build_optimizer(config, model, nn.Module()).param_groups) == 2


def test_schedule_moves_all_groups_together():
    trainer = make_trainer("trainer.schedule=cosine", "trainer.head_lr_mult=5", "trainer.epochs=1")
    trainer.train_epoch()
    rates = [group["lr"] for group in trainer.task.optimizer.param_groups]
    assert rates == pytest.approx([1e-3 * 0.25, 5e-3 * 0.25])  # 2 of 3 steps done when the last one began
