"""Which signals stop a run, and what is left alone."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
import small_runs as runs

import aevlp
from aevlp.config.errors import ConfigError
from aevlp.training.signals import RunStopped, StopFlag

ROOT = Path(__file__).parents[2]
ALL = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


@pytest.mark.parametrize("number", ALL)
def test_each_is_caught_and_told_by_its_exit_code(number):
    before = [signal.getsignal(which) for which in ALL]
    with StopFlag() as stop:
        signal.raise_signal(number)
        with pytest.raises(RunStopped) as stopped:
            stop.check()
    assert stopped.value.exit_code == 128 + number
    assert [signal.getsignal(which) for which in ALL] == before


def test_the_setting_says_which_of_them():
    before = signal.getsignal(signal.SIGHUP)
    with StopFlag(runs.config("trainer.stop_signals=[USR1]").trainer.stop_signals):
        assert signal.getsignal(signal.SIGHUP) == before
        assert signal.getsignal(signal.SIGUSR1) != signal.SIG_DFL
    with pytest.raises(ConfigError, match=r"trainer\.stop_signals\[0\]: input should be 'HUP', 'USR1' or 'USR2' \(got 'KILL'\)"):
        runs.config("trainer.stop_signals=[KILL]")


def test_one_that_was_ignored_at_the_start_stays_ignored_as_nohup_wants(monkeypatch):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopFlag() as stop:
            signal.raise_signal(signal.SIGHUP)
            stop.check()
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_only_a_second_ctrl_c_or_sigterm_ends_at_once(monkeypatch):
    ended, clock = [], [0.0]
    monkeypatch.setattr(os, "_exit", ended.append)
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    with StopFlag() as stop:
        for number in (signal.SIGHUP, signal.SIGHUP, signal.SIGUSR1, signal.SIGTERM):
            signal.raise_signal(number)
        clock[0] += 1
        signal.raise_signal(signal.SIGTERM)  # by torchrun, which got it as well
        assert ended == []
        assert stop.signal_number == signal.SIGHUP
        signal.raise_signal(signal.SIGINT)
        clock[0] += 5
        signal.raise_signal(signal.SIGTERM)
        assert ended == [130, 143]


def test_a_run_of_before_there_was_the_setting_counts_as_the_same():
    values = runs.config().to_dict()
    old = {**values, "trainer": {key: value for key, value in values["trainer"].items() if key != "stop_signals"}}
    from aevlp.config.loading import from_dict

    assert from_dict(old, "config.yaml").hash == aevlp.load_experiment("digits_gpr", runs.FAST).hash
    assert runs.config("trainer.stop_signals=[]").hash == runs.config().hash


def test_the_slurm_example_of_the_manual_requeues_what_was_stopped_and_resumes_it(tmp_path):
    (script,) = re.findall(r"```bash\n(#!/bin/bash\n#SBATCH.*?)```", (ROOT / "docs/performance.md").read_text(), re.DOTALL)
    for name, body in {
        "srun": 'echo "$@" >> words; mkdir -p $AEVLP_RUNS/a; touch $AEVLP_RUNS/a/metrics.jsonl; exit $(cat code)',
        "scontrol": 'echo "$@" >> words',
    }.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{body}\n")
        (tmp_path / name).chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_JOB_ID": "7"}
    for code, told in ((138, 0), (138, 0), (0, 0), (1, 1)):
        (tmp_path / "code").write_text(str(code))
        ended = subprocess.run(["bash", "-c", script], cwd=tmp_path, env=environment, check=False)
        assert ended.returncode == told
    assert (tmp_path / "words").read_text().splitlines() == [
        "python run.py --exp coco_gpr", "requeue 7", "python run.py --resume latest", "requeue 7",
        "python run.py --resume latest", "python run.py --resume latest",
    ]  # fmt: skip
