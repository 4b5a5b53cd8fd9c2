"""What fails for a reason that no other run would escape is begun three times, in a study and in a suite."""

from __future__ import annotations

import json

import pytest
import suite_runs as suites
import sweep_runs as sweeps

from aevlp.config.errors import TrainingError
from aevlp.runs import child
from aevlp.suites import tune


@pytest.mark.parametrize("fault", ["no value", "no space"])
def test_a_study_whose_trials_fail_alike_ends_after_three_though_each_names_its_own_run(tmp_path, monkeypatch, capsys, fault):
    def fail(path, trackers=(), places=None):
        if fault == "no space":
            raise TrainingError(f"{path}: cannot be written: No space left on device")
        (path / "summary.json").write_text(json.dumps({"best/val_mAP": None}))

    monkeypatch.setattr("aevlp.training.run.resume", fail)
    assert sweeps.run(sweeps.write(tmp_path), "--trials", "9") == 1
    error = capsys.readouterr().err
    assert "the last 3 trials failed alike: " in error
    assert "tiny.t0002-" in error
    assert sweeps.states() == ["FAIL"] * 3


def test_a_suite_whose_runs_fail_alike_tunes_none_of_its_rows(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tune, "run_study", lambda *_, **__: pytest.fail("a study was begun"))
    processes = suites.InThisProcess(monkeypatch, fails=["digits_"])
    path = suites.write(tmp_path)
    assert suites.run(path, "--tune", "2") == 1
    assert len(processes.began) == child.SAME_FAILURES
    error = capsys.readouterr().err
    assert "12 failed: " in error  # 8 runs, and the tuning of 4 rows
    assert "AEVLP (tuning)" in error
    processes.began.clear()  # also where the last three are all there are, and none is left that was not begun
    assert suites.run(path, "--rows", "AN", "AEVLP", "Full labels", "--tune", "2", "--set", "trainer.epochs=1", seeds=1) == 1
    assert len(processes.began) == child.SAME_FAILURES
    processes.fails = ["digits_an"]  # one run that fails by itself leaves the others to be tuned
    begun = []
    monkeypatch.setattr(tune, "run_study", lambda file, *, name, **_: begun.append(name))
    assert suites.run(path, "--rows", "AN", "AEVLP", "--tune", "2", seeds=1) == 1
    assert len(begun) == 2
