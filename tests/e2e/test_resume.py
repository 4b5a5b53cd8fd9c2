"""A run that was stopped and resumed is the run that was never stopped, bit for bit."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import small_runs as runs

import aevlp
from aevlp.cli import main
from aevlp.runs.checkpoints import CheckpointStore
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
def test_more_epochs_extend_a_finished_run(uninterrupted):
    run = aevlp.train(runs.config("trainer.epochs=4")).run_dir
    assert main(["--resume", str(run), "--set", "trainer.epochs=6"]) == 0
    expected = uninterrupted("plain")  # a constant learning rate and a loss without a schedule: the same as from the start
    assert runs.differences(runs.outcome(run), expected) == []
    assert "epochs: 6" in (run / "config.yaml").read_text()


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
