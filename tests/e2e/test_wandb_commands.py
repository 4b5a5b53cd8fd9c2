"""`sync` and `watch`: all fragments of a run go up as one run, and W&B writes nothing outside the run folder."""

import os
import shutil
import subprocess
import sys

import pytest

from aevlp.cli import main
from aevlp.config.schema import TrackingConfig
from aevlp.tracking import RunInfo, WandbTracker, wandb_commands
from aevlp.tracking import wandb as wandb_module


@pytest.fixture
def home(tmp_path, monkeypatch):
    for name in os.environ:
        if name.startswith("WANDB_"):
            monkeypatch.delenv(name)
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NETRC", str(tmp_path / "home" / ".netrc"))
    monkeypatch.chdir(tmp_path)
    yield tmp_path / "home"
    wandb_module._stop_service()


@pytest.fixture
def run_dir(tmp_path):
    folder = tmp_path / "runs" / "digits-1"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("name: digits\n")
    return folder


def fragment(run_dir, stamp, kind="offline-run"):
    folder = run_dir / "wandb" / f"{kind}-{stamp}-digits-1"
    folder.mkdir(parents=True)
    (folder / "run-digits-1.wandb").touch()
    return folder


def test_fragments_of_a_resumed_run_go_up_together_oldest_first(run_dir):
    late, early = fragment(run_dir, "20260102_000000"), fragment(run_dir, "20260101_000000")
    (command,) = wandb_commands.sync_commands(run_dir)
    assert command == [sys.executable, "-m", "wandb", "sync", "--id", "digits-1", str(early), str(late)]
    online = fragment(run_dir, "20260101_120000", "run")
    assert wandb_commands.sync_commands(run_dir)[0][4:] == [
        "--include-online",
        "--id",
        "digits-1",
        str(early),
        str(online),
        str(late),
    ]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_wandb_takes_the_fragments_of_one_run_and_asks_for_a_login(home, run_dir, capfd):
    for resumed_step in (None, 10):
        tracker = WandbTracker(TrackingConfig(mode="offline"))
        tracker.start(RunInfo("digits-1", "digits", run_dir, {}, 2, 5, resumed_step, ["a"]))
        tracker.log({"trainer/step": 5, "trainer/epoch": 1, "train/loss": 0.5})
        tracker.finish("finished", {"test/mAP": 1.0})
    wandb_module._stop_service()
    capfd.readouterr()
    assert main(["sync", str(run_dir), "--dry-run"]) == 0
    assert capfd.readouterr().err.count("run-digits-1.wandb") == 2
    assert main(["sync", str(run_dir)]) == 1
    assert capfd.readouterr().err == "error: runs/digits-1: nobody is logged in to W&B: `wandb login`; what is here stays here\n"
    assert list(home.iterdir()) == []
    assert sorted(path.name for path in run_dir.parent.parent.iterdir()) == ["home", "runs"]


def test_watch_opens_the_newest_fragment_and_hands_on_the_exit_code(home, run_dir, monkeypatch, capsys):
    fragment(run_dir, "20260101_000000")
    newest = fragment(run_dir, "20260102_000000")
    calls = []

    def call(command, env):
        calls.append((command, env["WANDB_CONFIG_DIR"]))
        return subprocess.CompletedProcess(command, 7)

    monkeypatch.setattr(subprocess, "run", call)
    assert main(["watch", str(run_dir)]) == 2
    assert "this is none" in capsys.readouterr().err
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert main(["watch", str(run_dir)]) == 7
    assert calls == [([sys.executable, "-m", "wandb", "leet", "run", str(newest)], str(run_dir / "wandb" / "config"))]


@pytest.mark.parametrize("verb", ["sync", "watch"])
def test_a_run_without_tracking_is_said_so(run_dir, capsys, verb):
    assert main([verb, str(run_dir)]) == 2
    assert "holds nothing of W&B; it was run with --tracking off" in capsys.readouterr().err
    assert main([verb, "nowhere"]) == 2


def test_a_study_goes_up_with_its_trials_each_under_its_own_id(run_dir, monkeypatch, capsys):
    study = run_dir.parent / "sweeps" / "tiny"
    for folder, run_id in ((study / "trials" / "tiny.t0000-a", "tiny.t0000-a"), (study, "tiny-4f2a1b")):
        (folder / "wandb" / f"offline-run-20260101_000000-{run_id}").mkdir(parents=True)
    (study / "trials" / "tiny.t0001-b").mkdir()  # run without tracking
    (study / "study.yaml").write_text("base: digits_gpr\n")
    calls = []
    monkeypatch.setenv("AEVLP_RUNS", str(run_dir.parent))
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setattr(subprocess, "run", lambda command, **_: calls.append(command) or subprocess.CompletedProcess(command, 0))
    for name in (str(study), "tiny"):
        assert main(["sync", name]) == 0
    assert [command[command.index("--id") + 1] for command in calls] == ["tiny-4f2a1b", "tiny.t0000-a"] * 2
    for folder in study.glob("**/wandb"):
        shutil.rmtree(folder)
    assert main(["sync", "tiny"]) == 2
    assert "holds nothing of W&B" in capsys.readouterr().err


def test_the_tables_of_a_suite_go_up_from_its_folder_each_under_its_own_id(run_dir, monkeypatch, capsys):
    suite = run_dir.parent / "suites" / "table1-digits"
    parts = [
        suite / "wandb" / f"offline-run-2026010{day}_000000-table1-digits-{name}" for day, name in ((1, "a"), (2, "b"), (3, "a"))
    ]
    for part in parts:
        part.mkdir(parents=True)
    calls, codes = [], iter([1, 0])
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)

    def call(command, **_):
        calls.append(command[command.index("--id") + 1 :])
        return subprocess.CompletedProcess(command, next(codes))

    monkeypatch.setattr(subprocess, "run", call)
    assert main(["sync", str(suite)]) == 1  # the first does not, and the second goes up all the same
    assert calls == [["table1-digits-a", str(parts[0]), str(parts[2])], ["table1-digits-b", str(parts[1])]]
    assert "W&B could not upload everything" in capsys.readouterr().err


def test_runs_that_do_not_go_up_stop_no_others_and_are_named_at_the_end(run_dir, monkeypatch, capsys):
    study = run_dir.parent / "sweeps" / "tiny"
    names = [f"tiny.t000{number}-a" for number in range(4)]
    for name in names:
        (study / "trials" / name / "wandb" / f"offline-run-20260101_000000-{name}").mkdir(parents=True)
    (study / "study.yaml").write_text("base: digits_gpr\n")
    fragment(run_dir, "20260101_000000")
    untracked = run_dir.parent / "digits-2"
    untracked.mkdir()
    (untracked / "config.yaml").write_text("name: digits\n")
    torn, calls = {names[0], names[2]}, []

    def call(command, **_):
        calls.append(command[command.index("--id") + 1])
        return subprocess.CompletedProcess(command, int(calls[-1] in torn))

    monkeypatch.setattr(subprocess, "run", call)
    monkeypatch.setenv("AEVLP_RUNS", str(run_dir.parent))
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    assert main(["sync", "tiny"]) == 1
    assert calls == names
    lines = capsys.readouterr().err.splitlines()
    assert [name for line in lines for name in names if f"{name}: W&B could not upload everything" in line] == sorted(torn)
    calls.clear()
    assert main(["sync", str(untracked), "tiny", str(run_dir)]) == 1  # neither does one that holds nothing of W&B
    assert calls == [*names, "digits-1"]
    error = capsys.readouterr().err
    assert [line.startswith("error: ") for line in error.splitlines()] == [True] * 3
    assert "digits-2: holds nothing of W&B" in error
    monkeypatch.setattr(wandb_commands, "_may_have_login", lambda: False)
    calls.clear()
    assert main(["sync", "tiny", str(run_dir)]) == 1
    assert (calls, capsys.readouterr().err.count("nobody is logged in")) == ([], 1)
