"""Not-a-number, moving average, precision, optimisers, hooks of losses, folders and locks."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace

import numpy as np
import pytest
import small_runs as runs
import torch

import aevlp
from aevlp import losses
from aevlp.config import registry
from aevlp.config.errors import CheckpointError, ConfigError, DataError, TrainingError
from aevlp.labelers import Labeler
from aevlp.losses.an import ANLoss
from aevlp.metrics import mean_average_precision
from aevlp.models._classifier import Classifier
from aevlp.runs.checkpoints import CheckpointStore
from aevlp.runs.folder import RunFolder, find_run
from aevlp.tracking import Trackers, read_metrics
from aevlp.training import figures
from aevlp.training.labels_worth import unused
from aevlp.training.run import build_trainer, check_data, resume
from aevlp.training.signals import RunStopped, StopFlag
from aevlp.training.trainer import Trainer


def trainer_for(folder: RunFolder) -> Trainer:
    config = folder.read_config()
    return build_trainer(config, registry.build("datasets", config.dataset), folder, Trackers([]), StopFlag())


def loss_that_breaks(monkeypatch, steps: set[int], how) -> None:
    forward, calls = ANLoss.forward, iter(range(1, 1000))
    monkeypatch.setattr(ANLoss, "forward", lambda *a, **k: how(forward(*a, **k)) if next(calls) in steps else forward(*a, **k))


@pytest.mark.parametrize(
    ("broken", "log_every", "message", "rows"),
    [
        ({5}, 2, r"step 5 \(looked at steps 5 to 6\)", 3),  # looked at after steps 2, 3 (the end of an epoch), 4
        ({4, 6}, 3, r"step 4, 6 \(looked at steps 4 to 6\)", 1),
        ({6}, 50, r"step 6 \(looked at steps 4 to 6\)", 1),  # found at the end of the epoch at the latest
        (set(range(1, 10)), 50, r"step 1, 2, 3 \(looked at steps 1 to 3\)", 0),
    ],
)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_is_found_at_the_log_interval_before_anything_is_saved(
    monkeypatch, broken, log_every, message, rows, value
):
    loss_that_breaks(monkeypatch, broken, lambda loss: loss * 0 + value)
    with pytest.raises(TrainingError, match=f"the loss is not finite at {message}; nothing was saved since"):
        aevlp.train(runs.config("trainer.epochs=3", f"trainer.log_every={log_every}"))
    run = runs.only_run()
    assert runs.checkpoint_names(run) == (["epoch-001"] if rows else [])
    assert len([row for row in read_metrics(run / "metrics.jsonl") if "train/step_loss" in row]) == rows
    assert not (run / "summary.json").exists()


def test_more_than_five_broken_steps_are_counted(monkeypatch):
    loss_that_breaks(monkeypatch, set(range(1, 100)), lambda loss: loss * float("nan"))
    with pytest.raises(TrainingError, match=r"at step 1, 2, 3, 4, 5 and 1 more \(looked at steps 1 to 6\)"):
        aevlp.train(runs.config("dataset.num_train=96", "trainer.log_every=50"))


def test_weights_broken_by_the_last_step_of_an_epoch_are_found_before_they_are_saved(monkeypatch):
    def value_without_gradient(loss):
        return loss + (torch.sqrt(loss * 0) if torch.is_grad_enabled() else 0)  # value 0, gradient 0 / 0

    loss_that_breaks(monkeypatch, {6}, value_without_gradient)
    with pytest.raises(TrainingError, match="the weights are not finite after steps 5 to 6; nothing was saved since"):
        aevlp.train(runs.config("trainer.log_every=2"))
    assert runs.checkpoint_names(runs.only_run()) == ["epoch-001"]


def test_logits_that_are_not_finite_are_an_error_not_a_score(monkeypatch):
    forward = Classifier.forward
    monkeypatch.setattr(Classifier, "forward", lambda self, x: forward(self, x) + (0 if self.training else float("inf")))
    with pytest.raises(TrainingError, match="validate: the logits are not finite after step 3"):
        aevlp.train(runs.config())
    assert runs.checkpoint_names(runs.only_run()) == []


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_moving_average_is_what_is_evaluated_and_saved(precision):
    result = aevlp.train(runs.config("trainer.ema_decay=0.5", f"trainer.precision={precision}", "trainer.epochs=3"))
    best = CheckpointStore(result.run_dir / "checkpoints", print).best()
    model, average = best.weights("model"), best.weights("ema")
    assert model.keys() == average.keys()
    assert not torch.equal(model["head.weight"], average["head.weight"])
    assert not torch.equal(model["backbone.1.running_mean"], average["backbone.1.running_mean"])
    scores = {}
    for name, weights in (("model", model), ("ema", average)):
        trainer = trainer_for(RunFolder(result.run_dir))
        trainer.task.eval_model.load_state_dict(weights)
        scores[name] = mean_average_precision(trainer.data.test.targets, trainer.predict(trainer.data.test, "test"))
    assert result.test_map == scores["ema"] != scores["model"]


def test_the_moving_average_follows_its_rule():
    trainer = trainer_for(RunFolder.create(runs.config("trainer.ema_decay=0.75")))
    expected = None
    for step, batch in enumerate(trainer.loader.epoch(1)):
        trainer.task.step(batch, epoch=1, step=step)
        now = trainer.task.weights()["model"]["head.weight"].clone()
        expected = now if expected is None else 0.75 * expected + 0.25 * now
    assert torch.allclose(trainer.task.weights()["ema"]["head.weight"], expected, rtol=0, atol=1e-7)


def test_of_a_checkpoint_only_random_numbers_are_kept_until_they_are_needed():
    task = trainer_for(RunFolder.create(runs.config())).task
    task.load_state_dict(task.state_dict())
    assert task._random_state.keys() == {"random", "random_cuda", "random_mps"}
    assert task._random_state["random"].numel() < 10_000


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize("schedule", ["cosine", "one_cycle"])
def test_optimisers_and_schedules_learn(optimizer, schedule):
    rate = "0.02" if optimizer == "sgd" else "0.002"
    words = (f"trainer.optimizer={optimizer}", f"trainer.schedule={schedule}", f"trainer.learning_rate={rate}")
    rows = runs.epoch_rows(
        aevlp.train(runs.config(*words, "trainer.epochs=4", "trainer.weight_decay=0.001", "trainer.head_lr_mult=1")).run_dir
    )
    assert rows[-1]["train/loss"] < rows[0]["train/loss"] - 0.05


def test_in_linear_epochs_the_backbone_and_its_batch_norm_stand_still():
    words = ("trainer.linear_epochs=1", "trainer.epochs=2", "loss=role", "trainer.weight_decay=0.1")
    trainer = trainer_for(RunFolder.create(runs.config(*words)))

    def weights():
        return {name: tensor.clone() for name, tensor in trainer.task.weights()["model"].items()}, trainer.task.loss.table.clone()

    start, start_table = weights()
    for batch in trainer.loader.epoch(1):
        trainer.task.model.train()
        trainer.task.step(batch, epoch=1, step=0)
    linear, linear_table = weights()
    assert {name.split(".")[0] for name in start if not torch.equal(start[name], linear[name])} == {"head"}
    assert not torch.equal(start_table, linear_table)
    for batch in trainer.loader.epoch(2):
        trainer.task.model.train()
        trainer.task.step(batch, epoch=2, step=3)
    assert all(not torch.equal(linear[name], tensor) for name, tensor in weights()[0].items())


@pytest.mark.parametrize("stored", [True, False])
def test_in_linear_epochs_the_head_learns_the_same_from_features_that_are_kept(monkeypatch, stored):
    words = ("trainer.linear_epochs=4", "trainer.epochs=4", "loss=role", "dataset.flip=true", "dataset.num_test=10")
    seen = []
    features = Classifier.features

    def look(self, images):
        found = features(self, images)
        seen.append((len(images), found.requires_grad))
        return found

    monkeypatch.setattr(Classifier, "features", look)
    if not stored:  # as on several ranks
        monkeypatch.setattr("aevlp.training.run.linear_inputs", lambda *_: None)
    head = runs.newest(aevlp.train(runs.config(*words)).run_dir).weights("model")["head.weight"]
    assert not any(recorded for _, recorded in seen)  # gradients end above the backbone
    # Training images and their mirror images once, instead of training and validation in each epoch; then test, and 32 samples.
    images = sum(count for count, _ in seen)
    assert images == (2 * 48 + 40 if stored else 4 * (48 + 40)) + 10 + 32
    monkeypatch.undo()
    monkeypatch.setattr("aevlp.training.run.linear_inputs", lambda *_: None)
    monkeypatch.setattr("aevlp.training.task._standing_still", lambda _: contextlib.nullcontext())
    expected = runs.newest(aevlp.train(runs.config(*words)).run_dir).weights("model")["head.weight"]
    if stored:  # rounded to float16
        torch.testing.assert_close(head, expected, rtol=0, atol=1e-3)
    else:
        assert torch.equal(head, expected)


def test_a_run_stopped_in_linear_epochs_goes_on_to_the_same_bits(monkeypatch):
    words = ("trainer.linear_epochs=1", "loss=role", "dataset.flip=true")
    whole = aevlp.train(runs.config(*words)).run_dir
    with monkeypatch.context() as patch:
        runs.signal_after_step(patch, 2)
        with pytest.raises(RunStopped):
            aevlp.train(runs.config(*words))
    (stopped,) = (path for path in whole.parent.iterdir() if path != whole)
    resume(stopped)
    assert runs.differences(runs.outcome(whole), runs.outcome(stopped)) == []


def test_linear_epochs_end_no_run_and_do_not_count_for_the_stop_rule(monkeypatch):
    monkeypatch.setattr(figures, "mean_average_precision", lambda *_: 50.0)  # no epoch is better than the first, and none falls
    words = ("trainer.epochs=8", "trainer.patience=2", "loss=role")
    assert len(runs.epoch_rows(aevlp.train(runs.config(*words)).run_dir)) == 3
    assert len(runs.epoch_rows(aevlp.train(runs.config(*words, "trainer.linear_epochs=3")).run_dir)) == 6


def test_once_the_backbone_learns_epochs_are_chosen_among_those_that_follow(monkeypatch):
    reached = iter((80.0, 77.0, 90.0, 89.5))
    monkeypatch.setattr(figures, "mean_average_precision", lambda *_: next(reached))
    words = ("trainer.epochs=4", "trainer.patience=2", "trainer.max_drop=2", "loss=role", "trainer.linear_epochs=1")
    rows = runs.epoch_rows(aevlp.train(runs.config(*words)).run_dir)
    assert [(row["best/epoch"], row["best/val_mAP"]) for row in rows] == [(1, 80.0), (2, 77.0), (3, 90.0), (3, 90.0)]


class Votes(Labeler):
    """Remembers how often each photo was asked about."""

    def __init__(self, config, **_):
        self.votes = torch.zeros(0)

    def prepare(self, dataset, progress=None):
        self.votes = torch.zeros(len(dataset))

    def label(self, index, observed, *, epoch, images=None):
        self.votes[index] += 1
        return torch.zeros_like(observed, dtype=torch.int8)

    def state_dict(self):
        return {"votes": self.votes}

    def load_state_dict(self, state):
        self.votes = state["votes"]


def test_what_a_labeler_remembers_outlives_that_it_is_prepared_again(monkeypatch):
    monkeypatch.setitem(registry._components["labelers"], "votes", replace(registry.get("labelers", "none"), build=Votes))
    run = aevlp.train(runs.config("labeler=votes", "trainer.epochs=1")).run_dir
    resume(run, epochs=2)
    assert runs.newest(run).state()["task"]["labeler"]["votes"].tolist() == [2.0] * 48


def test_what_a_run_took_goes_on_where_it_was(small):
    run = aevlp.train(aevlp.load_experiment("digits_gpr", [*small, "trainer.epochs=1"])).run_dir
    (first,) = runs.epoch_rows(run)
    assert first["perf/clip_images_encoded"] > 0
    resume(run, epochs=2)
    assert runs.epoch_rows(run)[-1]["perf/clip_images_encoded"] >= first["perf/clip_images_encoded"]


def test_nothing_of_the_test_is_left_of_a_run_that_goes_on(monkeypatch):
    run = aevlp.train(runs.config("trainer.epochs=1")).run_dir
    assert {"per_class.csv", "summary.json"} <= {path.name for path in run.iterdir()}
    with monkeypatch.context() as patch:
        runs.signal_after_step(patch, 4)
        with pytest.raises(RunStopped):
            resume(run, epochs=2)
    left = {path.name for path in run.iterdir()}
    assert not left & {"per_class.csv", "test_scores.npz", "samples.npz"}


def test_pseudo_positives_can_be_handed_to_a_loss_as_observed(monkeypatch, small, capsys):
    given = []
    forward = ANLoss.forward

    def look(self, logits, observed, pseudo, **more):
        given.append((observed, pseudo))
        return forward(self, logits, observed, pseudo, **more)

    monkeypatch.setattr(ANLoss, "forward", look)
    words = [*small, "trainer.epochs=1", "labeler.threshold=0.2", "loss=an"]
    for handed in (False, True):
        given.clear()
        aevlp.train(aevlp.load_experiment("digits_gpr", [*words, f"trainer.pseudo_as_observed={str(handed).lower()}"]))
        assert any((pseudo > 0).any() for _, pseudo in given)
        assert all(bool((observed[pseudo > 0] == handed).all()) for observed, pseudo in given)
        assert all(observed.dtype == given[0][0].dtype for observed, _ in given)
        told = " ".join(capsys.readouterr().out.split())
        assert ("loss an does not read pseudo-labels, so those of labeler damp change nothing" in told) != handed


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("labeler=damp loss=gpr", None),
        ("labeler=vlpl loss=em", "loss em does not read pseudo-labels, so those of labeler vlpl change nothing"),
        ("labeler=damp loss=em trainer.pseudo_as_observed=true", None),
        ("labeler=none loss=em trainer.pseudo_as_observed=true", "trainer.pseudo_as_observed=true does nothing: labeler=none"),
        ("labeler=none loss=gpr", None),
    ],
)
def test_pseudo_labels_that_nothing_learns_from_are_told(words, told):
    config = aevlp.load_experiment("digits_gpr", words.split())
    found = unused(config, losses.build(config.loss.name))
    assert [note[: len(told or "")] for note in found] == ([told] if told else [])
    assert unused(config, torch.nn.Module()) == (found if "none" in words else [])  # a loss that does not say


def test_bf16_is_finite_near_fp32_and_scores_are_float32(monkeypatch):
    seen = []
    forward = ANLoss.forward
    monkeypatch.setattr(ANLoss, "forward", lambda self, x, *a, **k: seen.append(x.dtype) or forward(self, x, *a, **k))
    losses = {}
    for precision in ("fp32", "bf16"):
        result = aevlp.train(runs.config(f"trainer.precision={precision}"))
        losses[precision] = [row["train/loss"] for row in runs.epoch_rows(result.run_dir)]
        logits = np.load(result.run_dir / "val_scores.npz")["logits"]
        assert logits.dtype == np.float32
        assert np.isfinite(logits).all()
        weights = runs.newest(result.run_dir).weights()
        assert {tensor.dtype for name, tensor in weights.items() if "num_batches" not in name} == {torch.float32}
    assert set(seen) == {torch.float32}
    assert losses["bf16"] != losses["fp32"]  # it was really in effect
    assert losses["bf16"] == pytest.approx(losses["fp32"], abs=0.02)


def test_the_hook_of_a_loss_gets_all_training_rows_in_order_each_epoch(monkeypatch):
    runs.add_components(monkeypatch)
    trainer = trainer_for(RunFolder.create(runs.config("loss=memory", "dataset.num_train=50", "trainer.loss_lr_mult=7")))
    trainer.fit()
    loss = trainer.task.loss
    assert [epoch for epoch, _, _ in loss.seen] == [1, 1, 1, 2, 2, 2]  # 50 rows, 20 at a time
    for epoch in (1, 2):
        assert torch.cat([index for number, index, _ in loss.seen if number == epoch]).tolist() == list(range(50))
    last = torch.cat([probabilities for number, _, probabilities in loss.seen if number == 2])
    trainer.task.eval_model.load_state_dict(runs.newest(trainer.folder.path).weights())  # `fit` ended with the best ones
    assert torch.allclose(last, torch.from_numpy(trainer.predict(trainer.data.train, "again")).sigmoid(), rtol=0, atol=1e-6)
    assert trainer.task.optimizer.param_groups[-1]["lr"] == pytest.approx(7e-3)
    assert not torch.equal(loss.scale.detach(), torch.ones(10))
    saved = runs.newest(trainer.folder.path).state()["task"]["loss"]
    assert torch.equal(saved["memory"], loss.memory)


def test_latest_is_the_newest_run_and_without_one_there_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match="there is no run in"):
        find_run("latest")
    first, second, failed = (RunFolder.create(runs.config()).path for _ in range(3))
    for begun in (first, second):
        (begun / "metrics.jsonl").touch()
    os.utime(failed / "config.yaml", (2e9, 2e9))  # newer, but training was never reached
    os.utime(first / "config.yaml", (1, 1))
    assert find_run("latest") == second
    assert find_run(first.name) == find_run(str(first)) == first
    with pytest.raises(ConfigError, match="'nothing'"):
        find_run("nothing")
    newest = max(first.name, second.name, failed.name)
    with pytest.raises(ConfigError, match=f"did you mean '{newest}'"):
        find_run("digits_gpr")


def test_a_run_locked_by_another_process_is_refused_and_left_alone():
    folder = RunFolder.create(runs.config())
    before = (folder.path / "config.yaml").read_bytes()
    locked, done = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.close(done[1])
        folder.lock()
        os.write(locked[1], b"x")
        os.read(done[0], 1)  # until the other end is closed
        os._exit(0)
    os.read(locked[0], 1)
    try:
        with pytest.raises(CheckpointError, match="another process is running this run"):
            resume(folder.path, epochs=1)
        assert (folder.path / "config.yaml").read_bytes() == before
    finally:
        os.close(done[1])
        os.waitpid(child, 0)
    folder.lock()  # it ended with the process
    folder.unlock()


def test_a_training_split_without_any_known_label_is_refused():
    config = aevlp.load_experiment("digits_an", ["dataset.num_train=4", "dataset.num_val=4", "dataset.num_test=4"]).dataset
    data = registry.build("datasets", config)
    check_data(data)
    data.train.observed[:] = 0
    with pytest.raises(DataError, match="no image of the training split has a known label, so there is nothing to learn"):
        check_data(data)
