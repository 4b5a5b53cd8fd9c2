"""Suites by the command: the table, what is not run again, what fails, what is refused."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import suite_runs as suites

from aevlp.cli import main
from aevlp.config.errors import TrainingError
from aevlp.folders import runs_root
from aevlp.runs import child
from aevlp.runs.lock import RunLock
from aevlp.suites import runner, tune
from aevlp.training.trainer import Trainer

ROOT = Path(__file__).parents[2]
SUITES = sorted(path.stem for path in (ROOT / "experiments/suites").glob("*.yaml"))


@pytest.fixture
def suite(tmp_path):
    """Path of a suite of three methods and an adapted one."""
    return suites.write(tmp_path)


def folders():
    return sorted(path.parent.name for path in runs_root().glob("*/config.yaml"))


def test_a_suite_prints_one_table_and_runs_nothing_twice(suite, monkeypatch, capsys):
    processes = suites.InThisProcess(monkeypatch)
    assert main(["--exp", "digits_an", "--seed", "1", "--set", *suites.SMALL, "tracking.mode=off"]) == 0  # counts as well
    capsys.readouterr()
    assert suites.run(suite) == 0
    output = capsys.readouterr().out
    first = ["digits_bce", "digits_an", "digits_gpr", "digits_smile"]
    assert processes.began == [*first, "digits_bce", "digits_gpr", "digits_smile"]
    assert "1 of 8 runs have finished before" in output
    assert "tiny on digits" in output
    assert "SMILE, adapted: no image recipe is public; " in output
    assert "2 seeds: nothing is claimed of AEVLP against AN; take --seeds 5" in output
    assert "published: somewhere" in output
    before = folders()
    assert suites.run(suite, "--json") == 0
    assert folders() == before
    data = json.loads(capsys.readouterr().out)
    rows = {row["title"]: row for row in data["rows"]}
    for row in rows.values():
        assert row["seeds"] == [0, 1]
        values = [json.loads((runs_root() / run / "summary.json").read_text())["test/mAP"] for run in row["runs"]]
        assert row["metrics"]["test/mAP"]["mean"] == pytest.approx(sum(values) / 2, abs=1e-12)
    assert rows["Full labels"]["rank"] is None
    assert rows["SMILE"]["rank"] is None
    assert {rows["AN"]["rank"], rows["AEVLP"]["rank"]} == {1, 2}
    assert rows["AN"]["published"] == 12.5
    assert rows["AN"]["difference"] is None
    assert rows["AEVLP"]["difference"]["seeds"] == [0, 1]


def test_the_table_comes_in_every_form_without_running_anything(suite, monkeypatch, capsys):
    suites.InThisProcess(monkeypatch)
    assert suites.run(suite, "--table") == 2
    assert "no run of this suite has finished" in capsys.readouterr().err
    assert folders() == []
    assert suites.run(suite, "--rows", "AN", "gpr", seeds=1) == 0
    capsys.readouterr()
    for form, first in (("--markdown", "| AN |"), ("--latex", "\\begin{tabular}"), ("--csv", "rank,method,adapted")):
        assert suites.run(suite, "--table", form, seeds=1) == 0
        assert first in capsys.readouterr().out
    assert suites.run(suite, "--table", "--csv", seeds=1) == 0
    rows = {row["method"]: row for row in csv.DictReader(io.StringIO(capsys.readouterr().out))}
    assert rows["AN"]["seeds"] == "0"
    assert rows["Full labels"]["test/mAP mean"] == ""


def test_a_failed_row_stops_no_other_and_is_tried_again(suite, monkeypatch, capsys):
    processes = suites.InThisProcess(monkeypatch, fails=["digits_an"])
    assert suites.run(suite, "--rows", "AN", "AEVLP", seeds=1) == 1
    output = capsys.readouterr()
    assert processes.began == ["digits_an", "digits_gpr"]
    assert "AN, seed 0: failed: the loss is not finite at step 2" in output.out
    assert "1 failed: AN (seed 0); the same command tries again" in output.err
    assert "AEVLP" in output.out
    before = folders()
    processes.fails = ()
    assert suites.run(suite, "--rows", "AN", "AEVLP", seeds=1) == 0
    assert processes.began[2:] == ["digits_an"]
    assert folders() == before  # gone on in its folder


@pytest.fixture
def studies(monkeypatch):
    """Studies run in this process; names put into it fail."""
    run, failing = tune.run_study, []

    def run_in_process(file, *, name, **more):
        if any(word in name for word in failing):
            raise TrainingError("no trial came to its end")
        with contextlib.redirect_stdout(io.StringIO()):  # of the runs, which a process of their own would keep to itself
            run(file, name=name, in_process=True, **more)

    monkeypatch.setattr(tune, "run_study", run_in_process)
    return failing


def test_every_row_is_tuned_by_the_same_number_of_trials_and_stands_beside_itself(suite, studies, monkeypatch, capsys):
    suites.InThisProcess(monkeypatch)
    words = ("--rows", "AN", "AEVLP", "--tune", "2")
    assert suites.run(suite, *words, "--json", seeds=1) == 0
    rows = {row["title"]: row for row in json.loads(capsys.readouterr().out)["rows"]}  # and nothing else is on stdout
    assert rows["AN"]["tuned"] is not None
    assert rows["AEVLP"]["tuned"] is not None
    files = sorted((runs_root() / "suites" / "tiny-digits").glob("*.yaml"))
    assert len(files) == 2
    assert all("float: [7.5e-05, 0.0012]\n    log: true" in file.read_text() for file in files)
    # Two trials each, and both again on three fresh seeds, of which one may not need all.
    trained = [sorted((runs_root() / "sweeps" / file.stem / "trials").iterdir()) for file in files]
    assert all(sum(".s10" not in run.name for run in runs) == 2 for runs in trained)
    assert all(4 <= sum(".s10" in run.name for run in runs) <= 6 for runs in trained)
    before = folders()
    assert suites.run(suite, *words, "--table", "--json", seeds=1) == 0
    assert {row["title"]: row["tuned"] for row in json.loads(capsys.readouterr().out)["rows"]}["AN"] == rows["AN"]["tuned"]
    assert folders() == before


def test_a_row_that_cannot_be_tuned_stops_no_other(suite, studies, monkeypatch, capsys):
    suites.InThisProcess(monkeypatch)
    studies.append("-an-")
    assert suites.run(suite, "--rows", "AN", "AEVLP", "--tune", "1", seeds=1) == 1
    output = capsys.readouterr()
    assert "AN: not tuned: no trial came to its end" in output.out
    assert "1 failed: AN (tuning); the same command tries again" in output.err
    assert "tuned" in output.out


def test_a_row_whose_study_another_process_has_the_rest_of_is_not_tuned_yet(suite, studies, monkeypatch, capsys):
    suites.InThisProcess(monkeypatch)
    run = tune.run_study
    words = ("--rows", "AN", "--tune", "2")
    assert suites.run(suite, *words[:2], seeds=1) == 0
    capsys.readouterr()
    assert suites.run(suite, *words, "--table", seeds=1) == 1
    output = capsys.readouterr()
    assert "AN: not tuned: its study has not been begun yet" in output.out
    assert "1 failed: AN (tuning); the same command without --table tries again" in output.err
    monkeypatch.setattr(tune, "run_study", lambda file, *, trials, **more: run(file, trials=1, **more))
    for more in ((), ("--table",)):
        assert suites.run(suite, *words, *more, seeds=1) == 1
        assert "AN: not tuned: its study is not at its end" in capsys.readouterr().out
    monkeypatch.setattr(tune, "run_study", run)
    assert suites.run(suite, *words, seeds=1) == 0


def test_a_run_that_another_suite_began_at_the_same_moment_is_waited_for(suite, monkeypatch, capsys):
    """The other's process was the first to take the lock: the one that was begun here ends with an error."""
    processes = suites.InThisProcess(monkeypatch, fails=["digits_an"])
    start, locks = processes.start, []

    def come_second(path, *rest):
        locks.append(RunLock(path))
        assert locks[0].take()
        return start(path, *rest)

    def finish_the_other(seconds):
        if locks and seconds == runner.WAIT_SECONDS:
            (path,) = runs_root().glob("digits_an-*")
            locks.pop().release("finished")
            processes.fails = ()
            start(path, {})

    monkeypatch.setattr(child, "start", come_second)
    monkeypatch.setattr(runner, "time", SimpleNamespace(sleep=finish_the_other, monotonic=time.monotonic))
    assert suites.run(suite, "--rows", "AN", seeds=1) == 0
    assert len(folders()) == 1
    assert "failed" not in capsys.readouterr().out


def test_runs_that_fail_alike_are_not_all_begun(suite, monkeypatch, capsys):
    processes = suites.InThisProcess(monkeypatch, fails=["digits_"])
    assert suites.run(suite) == 1
    assert len(processes.began) == 3
    assert "8 failed" in capsys.readouterr().err


def test_a_run_folder_that_is_removed_meanwhile_is_made_again(suite, monkeypatch, capsys):
    processes = suites.InThisProcess(monkeypatch, fails=["digits_an"])
    assert suites.run(suite, "--rows", "AN", seeds=1) == 1
    processes.fails = ()
    start = processes.start

    def remove_the_other_first(path, *rest):
        for other in runs_root().glob("digits_an-*"):
            shutil.rmtree(other, ignore_errors=path != other)
        return start(path, *rest)

    monkeypatch.setattr(child, "start", remove_the_other_first)
    assert suites.run(suite, "--rows", "AEVLP", "AN", seeds=1) == 1  # its own folder has gone: told, no traceback
    assert "AN, seed 0: failed" in capsys.readouterr().out
    monkeypatch.setattr(child, "start", start)
    assert suites.run(suite, "--rows", "AEVLP", "AN", seeds=1) == 0


def test_own_stop_rules_replace_the_one_for_all(tmp_path, monkeypatch, capsys):
    text = suites.SUITE.replace("published: {digits: 12.5}", "own_stop_rule: [trainer.patience=null, trainer.max_drop=3]")
    path = suites.write(tmp_path, text)
    suites.InThisProcess(monkeypatch)
    assert suites.run(path, "--rows", "AN", "--own-stop-rules", seeds=1) == 0
    assert suites.run(path, "--rows", "AN", seeds=1) == 0
    configs = [(runs_root() / name / "config.yaml").read_text() for name in folders()]
    rules = {("patience: null" in text, "max_drop: 3.0" in text) for text in configs}
    assert len(configs) == 2
    assert rules == {(True, True), (False, False)}


@pytest.mark.parametrize(
    ("text", "words", "message"),
    [
        ("", ["--dataset", "imagenet"], "--dataset imagenet: there is no experiment of 'imagenet'; known: coco"),
        ("rows: {X: ann}", [], "rows.X: unknown method 'ann'; did you mean 'an"),
        ("rows: {A: an, X: an_pl}", ["--dataset", "coco"], "rows.X: method an_pl has no values for coco, only for digits"),
        ("rows: {X: {method: an, set: [loss=mime]}}", [], "rows.X: loss mime needs the model outputs latent_mean"),
        ("rows: {X: {method: gpr, set: [dataset.train_labels=full]}}", [], "leaves nothing to pseudo-label"),
        ("rows: {X: {method: gpr, set: [loss.rhoo=1]}}", [], "did you mean 'rho'"),
        ("rows: {X: an}\nours: Y", [], "ours: there is no row 'Y'"),
        ("rows: {X: {methd: an}}", [], "rows.X.methd: unknown key; did you mean 'method'?"),
        ("rows: {X: {method: an, sett: []}}", [], "rows.X.sett: unknown key; did you mean 'set'?"),
        ("rows: {}", [], "rows"),
        ("", ["--rows", "GPRR"], "--rows GPRR: the suite has no such row"),
        ("rows: {A: an, B: {method: an, set: [loss=an]}}", [], "rows.B: runs the same as 'A'; leave one of them out"),
        ("rows: {A: {method: an, only: [dgits]}}", [], "rows.A: there is no experiment of 'dgits'; did you mean 'digits'?"),
        ("rows: {A: {method: an, only: [coco]}}", [], "none of these rows is for digits"),
        ("", ["--rows", "AN", "--tune", "1", "--set", "loss=wan", "trainer.learning_rate=99"], "learning_rate"),
        ("", ["--seeds", "0"], "--seeds 0: must be above 0"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(tmp_path, text, words, message, capsys):
    path = suites.write(tmp_path, text or suites.SUITE)
    assert main(["suite", path, "--dataset", "digits", *words]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert "Traceback" not in said
    assert not runs_root().exists()


def test_unknown_suites_are_named_and_those_there_are_listed(capsys):
    assert main(["suite", "table2", "--dataset", "digits"]) == 2
    assert "unknown suite 'table2'; did you mean 'table1'?" in capsys.readouterr().err
    assert main(["list", "suites"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]] == SUITES
    assert {"table1", "components", "grids", "labelers", "losses", "few_epochs"} <= set(SUITES)


def test_ctrl_c_stops_the_runs_with_a_save_and_the_same_command_goes_on(tmp_path, monkeypatch):
    """Real processes, which wait after the first epoch until the signal comes; they go on in this one."""
    path, go_on = suites.write(tmp_path, "rows: {AN: an, WAN: wan}\n"), tmp_path / "go on"
    (tmp_path / "waits.py").write_text(f"""
import pathlib, time
from aevlp.training import trainer
train_epoch = trainer.Trainer.train_epoch
def wait_and_train_epoch(self, *words, **settings):  # after the first, until the signal comes
    while self.progress.epochs_done and not self.stop.signal_number and not pathlib.Path({str(go_on)!r}).exists():
        time.sleep(0.01)
    return train_epoch(self, *words, **settings)
trainer.Trainer.train_epoch = wait_and_train_epoch
""")
    sets = [*suites.SMALL, "trainer.epochs=3", "trainer.patience=null", "trainer.max_drop=null"]
    words = ["--plugin", str(tmp_path / "waits.py"), "--dataset", "digits", "--seeds", "1", "--workers", "2", "--tracking", "off",
             "--set", *sets]  # fmt: skip
    process = subprocess.Popen([sys.executable, "run.py", "suite", path, *words], cwd=ROOT, env=dict(os.environ))
    until = time.monotonic() + 120
    while time.monotonic() < until and len({path.parents[2] for path in runs_root().glob("*/checkpoints/*/manifest.json")}) < 2:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    began = folders()
    assert len(began) == 2
    assert not list(runs_root().glob("*/summary.json"))
    go_on.touch()
    monkeypatch.setattr(Trainer, "train_epoch", Trainer.train_epoch)  # what the plugin does to it here is not for the next
    processes = suites.InThisProcess(monkeypatch)
    assert main(["suite", path, *words]) == 0
    assert len(processes.began) == 2
    assert folders() == began
    rows = [(runs_root() / name / "metrics.jsonl").read_text().count('"train/loss"') for name in began]
    assert rows == [3, 3]
