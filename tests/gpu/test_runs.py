"""Runs on a GPU: in every precision, resumed, and on two cards over NCCL."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import many_ranks
import numpy as np
import pytest
import small_runs
import torch

import aevlp
from aevlp.training.run import resume
from aevlp.training.signals import RunStopped

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16", "auto"])
def test_digits_are_learnt_in_every_precision(small, precision):
    if precision == "bf16" and not torch.cuda.is_bf16_supported():
        pytest.skip("this card has no bf16")
    words = [*small, "dataset.num_train=400", "trainer.epochs=4", f"trainer.precision={precision}", "trainer.channels_last=true"]
    result = aevlp.train(aevlp.load_experiment("digits_gpr", words))
    rows = small_runs.epoch_rows(result.run_dir)
    assert all(np.isfinite(row["train/loss"]) for row in rows)
    assert rows[-1]["train/loss"] < rows[0]["train/loss"]
    assert (result.pseudo_labels != 0).any()


def test_a_run_that_is_stopped_goes_on_to_the_same_weights(monkeypatch):
    """To 1e-4: atomic additions of cuDNN's backward passes have no fixed order."""
    words = ("trainer.threads=1",)
    whole = small_runs.outcome(aevlp.train(small_runs.config(*words)).run_dir)
    with monkeypatch.context() as patch:
        small_runs.signal_after_step(patch, 2)
        with pytest.raises(RunStopped) as stopped:
            aevlp.train(small_runs.config(*words))
    assert stopped.value.exit_code == 143
    latest = max(Path(os.environ["AEVLP_RUNS"]).glob("*/config.yaml"), key=lambda path: path.stat().st_mtime).parent
    again = small_runs.outcome(resume(latest).run_dir)
    for name, weight in whole["weights"]["model"].items():
        torch.testing.assert_close(again["weights"]["model"][name], weight, rtol=1e-2, atol=1e-4)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="fewer than two CUDA devices")
def test_two_cards_over_nccl_train_one_model(small, tmp_path):
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", f"--master_port={many_ranks.free_port()}",
        "run.py", "--exp", "digits_gpr", "--set", *small, "model=small_cnn", "trainer.sync_batch_norm=true",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    (run,) = (path.parent for path in Path(os.environ["AEVLP_RUNS"]).glob("*/config.yaml"))
    summary = json.loads((run / "summary.json").read_text())
    assert summary["state"] == "finished"
    assert np.isfinite(summary["train/loss"])
