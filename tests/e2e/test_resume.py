"""A run that was stopped and resumed is the run that was never stopped, bit for bit."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import small_runs as runs
import torch

import aevlp
from aevlp import system
from aevlp.cli import main
from aevlp.config import registry
from aevlp.config.errors import ConfigError
from aevlp.labelers import Labeler
from aevlp.runs.checkpoints import CheckpointStore
from aevlp.runs.folder import RunFolder
from aevlp.tracking import jsonl
from aevlp.training.run import resume
from aevlp.training.signals import RunStopped
from aevlp.training.trainer import Trainer

ROOT = Path(__file__).parents[2]
VARIANTS = {
    "plain": (),
    "two workers": ("trainer.num_workers=2", "dataset.flip=true"),
    "average": ("trainer.ema_decay=0.8", "trainer.schedule=one_cycle", "trainer.optimizer=sgd", "trainer.head_lr_mult=3"),
    "dropout and a loss with memory": ("model=dropout_cnn", "loss=memory"),
    "soft negatives": ("loss=em_apl", "loss.warmup=2"),
    "dropout and pseudo-labels": ("model=dropout_cnn", "loss=gpr", "labeler=damp", "labeler.encoder.source=bundled",
                                  "labeler.label_graph.enabled=false", "labeler.grid=2", "labeler.calibrate=20",
                                  "dataset.flip=true"),
}  # fmt: skip


def crash_in_epoch_4(patch):
    runs.after_step(patch, 11, runs.crash)  # a row of step 10 is already written


def stop_in_mid_epoch(patch):
    runs.signal_after_step(patch, 7)  # between two looks at the loss


def stop_in_validation(patch):
    predict = Trainer.predict

    def predict_and_stop(self, split, stage):
        if stage == "validate" and self.progress.step == 9:
            signal.raise_signal(signal.SIGINT)
        return predict(self, split, stage)

    patch.setattr(Trainer, "predict", predict_and_stop)


STOPS = {crash_in_epoch_4: (runs.Crash, "epoch-003"), stop_in_mid_epoch: (RunStopped, "epoch-003-step-7"),
         stop_in_validation: (RunStopped, "epoch-003-step-9")}  # fmt: skip


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """Outcome of the 6-epoch run of each variant, trained once."""
    outcomes = {}

    def of(variant: str) -> dict:
        if variant not in outcomes:
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("AEVLP_RUNS", str(tmp_path_factory.mktemp("uninterrupted")))
                runs.add_components(patch)
                outcomes[variant] = runs.outcome(aevlp.train(runs.config("trainer.epochs=6", *VARIANTS[variant])).run_dir)
        return outcomes[variant]

    return of


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("stop", STOPS)
def test_stopped_and_resumed_equals_uninterrupted(uninterrupted, monkeypatch, variant, stop):
    expected = uninterrupted(variant)
    runs.add_components(monkeypatch)
    error, checkpoint = STOPS[stop]
    with pytest.MonkeyPatch.context() as patch:
        stop(patch)
        with pytest.raises(error):
            aevlp.train(runs.config("trainer.epochs=6", *VARIANTS[variant]))
    run = runs.only_run()
    assert runs.newest(run).folder.name == checkpoint
    resume(run)
    assert runs.differences(runs.outcome(run), expected) == []
    assert len(runs.epoch_rows(run)) == 6
    if variant.startswith("dropout and a loss"):
        assert runs.newest(run).state()["task"]["loss"]["hook_calls"] == 6


def test_the_comparison_sees_another_seed(uninterrupted):
    other = runs.outcome(aevlp.train(runs.config("trainer.epochs=6", "seed=1")).run_dir)
    found = runs.differences(other, uninterrupted("plain"))
    assert {".summary.seed", ".weights.model.head.weight", ".progress.best_map", ".task.random"} <= set(found)


@pytest.mark.processor
def test_workers_do_not_change_the_result(uninterrupted):
    words = [word for word in VARIANTS["two workers"] if "workers" not in word]
    alone = runs.outcome(aevlp.train(runs.config("trainer.epochs=6", *words)).run_dir)
    assert runs.differences(alone, uninterrupted("two workers")) == []


def test_stopped_four_times_equals_uninterrupted(uninterrupted):
    def stopped_at(step, run):
        with pytest.MonkeyPatch.context() as patch:
            runs.signal_after_step(patch, step)
            with pytest.raises(RunStopped):
                run()

    stopped_at(1, lambda: aevlp.train(runs.config("trainer.epochs=6")))
    for step in (2, 3, 10):  # between two looks at the loss, at the end of an epoch, in mid-epoch
        stopped_at(step, lambda: resume(runs.only_run()))
    resume(runs.only_run())
    assert runs.differences(runs.outcome(runs.only_run()), uninterrupted("plain")) == []


@pytest.mark.processor
def test_more_epochs_extend_a_finished_run(uninterrupted, capsys):
    run = aevlp.train(runs.config("trainer.epochs=4")).run_dir
    assert main(["--resume", str(run), "--set", "trainer.epochs=6"]) == 0
    expected = uninterrupted("plain")  # a constant learning rate and a loss without a schedule: the same as from the start
    # But a schedule would have taken the four for the whole: such a run counts as no repetition of one of six.
    assert runs.differences(runs.outcome(run), expected) == [".summary.config_hash"]
    config = RunFolder(run).read_config()
    assert (config.trainer.epochs, config.trainer.earlier_epochs) == (6, (4,))
    assert "planned for 4 epochs, now for 6: it does not count as a repetition of runs planned for 6" in capsys.readouterr().out
    assert config.planned_at_once().hash == expected["summary"]["config_hash"]


def test_a_run_that_has_made_no_step_may_still_take_other_epochs():
    run = RunFolder.create(runs.config("trainer.epochs=4")).path
    resume(run, epochs=1)
    assert RunFolder(run).read_config().hash == runs.config("trainer.epochs=1").hash


def test_epochs_that_were_changed_and_changed_back_without_a_step_leave_no_trace(monkeypatch):
    run = aevlp.train(runs.config()).run_dir
    before = (run / "config.yaml").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "fit", lambda self: runs.crash())
        with pytest.raises(runs.Crash):
            resume(run, epochs=3)
    assert RunFolder(run).read_config().trainer.earlier_epochs == (2,)
    resume(run, epochs=2)
    assert (run / "config.yaml").read_bytes() == before
    for epochs, earlier in ((3, (2,)), (4, (2, 3))):
        resume(run, epochs=epochs)
        assert RunFolder(run).read_config().trainer.earlier_epochs == earlier


def test_a_new_run_with_the_settings_of_an_extended_one_has_its_epochs_planned_at_once():
    extended = runs.config("trainer.earlier_epochs=[4]")
    assert RunFolder.create(extended).read_config().hash == runs.config().hash
    assert aevlp.train(extended).summary["config_hash"] == runs.config().hash


def test_a_labeler_draws_in_a_resumed_run_what_it_drew_before(monkeypatch):
    class Drawing(Labeler):
        def prepare(self, dataset, progress=None):
            self.table = (torch.rand(len(dataset), 10) > 0.8).to(torch.int8)

        def label(self, index, observed, *, epoch, images=None):
            return self.table[index] * (observed == 0)

    runs.add_components(monkeypatch)
    drawing = registry.Component("drawing", runs.PlainConfig, lambda config, **_: Drawing())
    monkeypatch.setitem(registry._components["labelers"], "drawing", drawing)
    config = runs.config("labeler=drawing", "loss=gpr", "model=dropout_cnn")
    expected = aevlp.train(config)
    with monkeypatch.context() as patch:
        runs.signal_after_step(patch, 4)
        with pytest.raises(RunStopped):
            aevlp.train(config)
    (run,) = (path.parent for path in expected.run_dir.parent.glob("*/config.yaml") if path.parent != expected.run_dir)
    resume(run)
    assert runs.differences(runs.outcome(run), runs.outcome(expected.run_dir)) == []


def test_scores_and_pseudo_labels_are_of_epochs_that_are_kept(monkeypatch):
    words = ("selection.epoch=last", "trainer.pseudo_as_observed=true", "labeler=damp", "labeler.encoder.source=bundled",
             "labeler.label_graph.enabled=false", "labeler.grid=2")  # fmt: skip
    expected = runs.outcome(aevlp.train(runs.config(*words, "trainer.epochs=1")).run_dir)
    shutil.rmtree(runs.only_run())
    save = CheckpointStore.save

    def killed(self, name, *rest, **more):
        if name == "epoch-002":
            raise runs.Crash
        save(self, name, *rest, **more)

    with monkeypatch.context() as patch:
        patch.setattr(CheckpointStore, "save", killed)
        with pytest.raises(runs.Crash):
            aevlp.train(runs.config(*words))
    run = runs.only_run()
    assert np.load(run / "val_scores.npz")["epoch"] == np.load(run / "pseudo_labels.npz")["epoch"] == 2
    resume(run, epochs=1)
    left = runs.outcome(run)
    assert runs.differences(left["arrays"], expected["arrays"]) == []
    assert left["per_class"] == expected["per_class"]
    (run / "val_scores.npz").write_bytes(b"x")
    (run / "pseudo_labels.npz").unlink()
    resume(run)
    assert runs.differences(runs.outcome(run)["arrays"], expected["arrays"]) == []


def test_a_run_ends_at_no_epoch_behind_the_one_it_has_begun(monkeypatch):
    with monkeypatch.context() as patch:
        runs.signal_after_step(patch, 4)
        with pytest.raises(RunStopped):
            aevlp.train(runs.config("trainer.epochs=4"))
    run = runs.only_run()
    with pytest.raises(ConfigError, match=r"trainer\.epochs=1: digits_gpr-\S+ has begun epoch 2; end it with trainer\.epochs=2"):
        resume(run, epochs=1)
    assert resume(run, epochs=2).summary["trainer/epoch"] == 2


def test_settings_edited_after_steps_were_made_with_others_are_refused_by_name(capsys):
    run = aevlp.train(runs.config("trainer.epochs=1")).run_dir
    path = run / "config.yaml"
    before = path.read_text()
    path.write_text(before.replace("learning_rate: 0.001", "learning_rate: 1.0e-09"))
    assert main(["--resume", str(run), "--set", "trainer.epochs=2"]) == 1
    told = "does not fit the run's config.yaml: it was edited: trainer.learning_rate was 0.001 and is 1e-09"
    assert told in capsys.readouterr().err
    path.write_text(before.replace("log_every: 2", "log_every: 3").replace("answers: null", f"answers: {path.parent}/moved.csv"))
    assert main(["--resume", str(run), "--set", "trainer.epochs=2"]) == 1
    assert "moved.csv: no such file" in capsys.readouterr().err  # files may lie elsewhere; whether they are there is told apart
    path.write_text(before.replace("log_every: 2", "log_every: 3"))  # changes no result
    assert main(["--resume", str(run), "--set", "trainer.epochs=2"]) == 0


def test_rows_of_an_epoch_and_files_are_on_the_disk_before_a_checkpoint_that_relies_on_them(monkeypatch):
    done, save = [], CheckpointStore.save
    monkeypatch.setattr(jsonl, "sync", lambda _: done.append("row"))
    monkeypatch.setattr(system, "sync", lambda _: done.append("file"))
    monkeypatch.setattr(CheckpointStore, "save", lambda *words, **more: (done.append("checkpoint"), save(*words, **more)))
    RunFolder.create(runs.config())
    assert done == ["file", "file", "file"]  # two files, and the folder they are in
    done.clear()
    aevlp.train(runs.config("trainer.epochs=1"))
    assert done.count("row") == 2  # that of the epoch, and the end
    assert done[done.index("row") : done.index("row") + 2] == ["row", "checkpoint"]
    assert "file" in done[3 : done.index("row")]


def test_a_killed_process_is_resumed_to_the_same_end(uninterrupted, tmp_path):
    """One real process, with workers, killed in the middle of a checkpoint; its orphans must not hold the run's lock."""
    program = f"""
import os, signal, sys
sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "tests")!r}]
import aevlp, small_runs
from aevlp.runs import checkpoints
write, written = checkpoints._write, []
def write_and_die(path, content):
    write(path, content)
    written.append(path.name)
    if written.count("state.pt") == 4:
        os.kill(os.getpid(), signal.SIGKILL)
checkpoints._write = write_and_die
aevlp.train(small_runs.config("trainer.epochs=6", *{VARIANTS["two workers"]!r}))
"""
    with (tmp_path / "output").open("w") as output:  # not a pipe, whose end would wait for the orphans
        ended = subprocess.run([sys.executable, "-c", program], stdout=output, stderr=output, timeout=120)
    assert ended.returncode == -signal.SIGKILL, (tmp_path / "output").read_text()
    run = runs.only_run()
    said: list[str] = []
    assert CheckpointStore(run / "checkpoints", said.append).latest().folder.name == "epoch-003"
    assert said == []
    assert len(list(run.glob("checkpoints/.tmp-*"))) == 1
    resume(run)
    assert not list(run.glob("checkpoints/.tmp-*"))
    assert runs.differences(runs.outcome(run), uninterrupted("two workers")) == []
