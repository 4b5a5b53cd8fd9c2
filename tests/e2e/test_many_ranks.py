"""A run on two ranks is the run of one process at the same batch; it leaves one folder, stops as one and fails as one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import many_ranks
import plain_model
import pytest
import small_runs as runs
import torch

import aevlp
from aevlp.config import registry
from aevlp.folders import runs_root
from aevlp.training.run import resume
from aevlp.training.signals import RunStopped

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="forked ranks cannot use a GPU")
ROOT = Path(__file__).parents[2]
# 49 images in batches of 16: the last batch has one image, so that one rank has none.
WORDS = ("model=plain_cnn", "dataset.num_train=49", "dataset.num_val=20", "dataset.num_test=20", "trainer.eval_batch_size=7",
         "trainer.log_every=1", "trainer.threads=1")  # fmt: skip
GPR = ("loss=gpr", "loss.regularizer=1", "loss.expected_positives=2.4", "labeler=damp", "labeler.encoder.source=bundled",
       "labeler.encoder.cache=false", "labeler.label_graph.enabled=false", "labeler.grid=2", "labeler.calibrate=40",
       "dataset.flip=true", "trainer.ema_decay=0.8")  # fmt: skip


@pytest.fixture(autouse=True)
def _components(monkeypatch, float64):
    runs.add_components(monkeypatch)
    model = registry.Component("plain_cnn", plain_model.PlainCNNConfig, plain_model.build_plain_cnn)
    monkeypatch.setitem(registry._components["models"], "plain_cnn", model)


def one_process(patch, folder: Path, *words: str) -> dict:
    with patch.context() as alone:
        alone.setenv("AEVLP_RUNS", str(folder))
        return runs.outcome(aevlp.train(runs.config(*WORDS, *words)).run_dir)


def train(*words: str) -> dict:
    result = aevlp.train(runs.config(*WORDS, *words))
    return {"folder": str(result.run_dir), "test_map": result.test_map, "pseudo": torch.from_numpy(result.pseudo_labels)}


def assert_close(found: dict, expected: dict) -> None:
    """Every metric to 1e-5, and the weights."""
    for a, b in zip([*found["rows"], found["summary"]], [*expected["rows"], expected["summary"]], strict=True):
        assert a.keys() == b.keys()
        for name, value in b.items():
            assert a[name] == (pytest.approx(value, rel=1e-5, abs=1e-5) if isinstance(value, float) else value), name
    assert found["weights"].keys() == expected["weights"].keys()
    for part, weights in expected["weights"].items():
        for name, weight in weights.items():
            torch.testing.assert_close(found["weights"][part][name], weight, rtol=1e-3, atol=1e-5)
    assert torch.equal(found["task"]["pseudo"], expected["task"]["pseudo"])
    assert torch.equal(found["arrays"]["pseudo_labels/pseudo"], expected["arrays"]["pseudo_labels/pseudo"])


def test_two_ranks_stopped_and_resumed_are_one_process_at_the_same_batch(monkeypatch, tmp_path, capfd):
    expected = one_process(monkeypatch, tmp_path / "alone", *GPR)

    def stopped() -> int:
        with pytest.MonkeyPatch.context() as patch:
            if os.environ["RANK"] == "1":  # a signal to one rank stops both, and at the same step
                runs.signal_after_step(patch, 6, signal.SIGTERM)
            try:
                train(*GPR)
            except RunStopped as error:
                return error.exit_code
        raise AssertionError("went on")

    capfd.readouterr()
    assert many_ranks.on_ranks(2, tmp_path, stopped, joined=False) == [143, 143]
    run = runs.only_run()
    assert runs.checkpoint_names(run) == ["epoch-001", "epoch-002-step-6"]
    assert capfd.readouterr().out.count("stopped, and saved in epoch 2 after step 6") == 1
    first, second = many_ranks.on_ranks(2, tmp_path, lambda: str(resume(run).run_dir), joined=False)
    assert first == second == str(runs.only_run())
    assert capfd.readouterr().out.count("best val mAP") == 1
    assert_close(runs.outcome(run), expected)


def test_a_loss_with_parameters_memory_and_hook_is_the_same_on_two_ranks(monkeypatch, tmp_path):
    expected = one_process(monkeypatch, tmp_path / "alone", "loss=memory", "trainer.optimizer=sgd")
    first, second = many_ranks.on_ranks(2, tmp_path, lambda: train("loss=memory", "trainer.optimizer=sgd"), joined=False)
    assert first["folder"] == second["folder"] == str(runs.only_run())
    assert first["test_map"] == second["test_map"]
    assert torch.equal(first["pseudo"], second["pseudo"])
    found = runs.outcome(runs.only_run())
    assert_close(found, expected)
    for name in ("scale", "memory"):
        torch.testing.assert_close(found["task"]["loss"][name], expected["task"]["loss"][name], rtol=1e-4, atol=1e-6)
    assert found["task"]["loss"]["hook_calls"] == 2


@pytest.mark.parametrize(
    "words", [("loss=role", "trainer.optimizer=sgd"), ("loss=em_apl", "loss.warmup=1"), ("loss=ll_cp", "trainer.optimizer=sgd")]
)
def test_a_published_loss_with_a_memory_is_the_same_on_two_ranks(monkeypatch, tmp_path, words):
    expected = one_process(monkeypatch, tmp_path / "alone", *words)
    many_ranks.on_ranks(2, tmp_path, lambda: train(*words), joined=False)
    found = runs.outcome(runs.only_run())
    assert_close(found, expected)
    for name, value in expected["task"]["loss"].items():
        assert value.any()
        torch.testing.assert_close(found["task"]["loss"][name], value, rtol=1e-4, atol=1e-5)


def test_outputs_that_the_loss_leaves_alone_stop_no_rank(tmp_path):
    words = [*runs.FAST, "loss=an", "dataset.num_train=32", "trainer.epochs=1", "trainer.threads=1"]

    def of_smile() -> float:
        return aevlp.train(aevlp.load_experiment("digits_smile", words)).test_map

    first, second = many_ranks.on_ranks(2, tmp_path, of_smile, joined=False)
    assert first == second > 0


def test_a_head_on_features_is_the_same_on_two_ranks(monkeypatch, tmp_path):
    words = ("model=probe", "model.encoder.source=bundled", "dataset.flip=true", "trainer.optimizer=sgd")
    expected = one_process(monkeypatch, tmp_path / "alone", *words)
    many_ranks.on_ranks(2, tmp_path, lambda: train(*words), joined=False)
    assert_close(runs.outcome(runs.only_run()), expected)


def test_an_image_that_one_rank_cannot_read_stops_both_with_one_message(tmp_path, capfd):
    from aevlp.data.images import ArrayImages

    def fail() -> str:
        read = ArrayImages.__getitem__

        def broken(self, row):
            if os.environ["RANK"] == "1" and row == 5:
                raise aevlp.config.errors.DataError("photo 5 cannot be read")
            return read(self, row)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ArrayImages, "__getitem__", broken)
            from aevlp.cli import main

            words = [*runs.FAST, "model=small_cnn", "trainer.epochs=3", "dataset.num_train=480"]
            return str(main(["--exp", "digits_gpr", "--set", *words]))

    capfd.readouterr()
    assert many_ranks.on_ranks(2, tmp_path, fail, joined=False) == ["1", "1"]
    assert capfd.readouterr().err == "error: photo 5 cannot be read\n"


def test_under_torchrun_a_rank_that_dies_stops_the_others_with_its_traceback(tmp_path):
    (tmp_path / "dying.py").write_text(f"""
import os, sys
sys.path.insert(0, {str(ROOT / "tests")!r})
import plain_model
from aevlp.training.task import Task
step_of_task = Task.step
def step(self, batch, *, epoch, step):
    if step == 3 and os.environ["RANK"] == "1":
        raise ZeroDivisionError("rank 1 dies here")
    return step_of_task(self, batch, epoch=epoch, step=step)
Task.step = step
""")
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", f"--master_port={many_ranks.free_port()}"]
    words = [*runs.FAST, *WORDS, "trainer.epochs=1000"]
    command = ["--plugin", str(tmp_path / "dying.py"), "--exp", "digits_gpr", "--set", *words]
    began = time.monotonic()
    ended = subprocess.run([*launch, str(ROOT / "run.py"), *command], capture_output=True, text=True, timeout=240, cwd=tmp_path)
    assert ended.returncode == 1
    assert time.monotonic() - began < 200
    assert ended.stderr.count("ZeroDivisionError: rank 1 dies here") == 1
    (run,) = runs_root().iterdir()
    assert (run / "metrics.jsonl").read_text().count("\n") == 3
    assert not list(run.glob("checkpoints/epoch-*"))
