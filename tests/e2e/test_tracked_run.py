"""A whole run with Weights & Biases: its own tool reads back what metrics.jsonl holds, and a dead server changes nothing."""

import contextlib
import json
import os
import socket
import subprocess
import sys

import pytest

import aevlp
from aevlp.tracking import read_metrics
from aevlp.tracking import wandb as wandb_module


@contextlib.contextmanager
def refusing():
    with socket.socket() as held:  # bound, but nobody listens
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@contextlib.contextmanager
def silent():
    with socket.socket() as listening:  # accepts, and never answers
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening.getsockname()[1]


@pytest.fixture
def online(monkeypatch, tmp_path):
    for name in os.environ:
        if name.startswith("WANDB_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    monkeypatch.setattr(wandb_module, "PROBE_SECONDS", 1.0)
    yield
    wandb_module._stop_service()


def learned(rows):
    return [{name: value for name, value in row.items() if not name.startswith("perf/")} for row in rows]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("server", [refusing, silent])
def test_a_server_that_does_not_answer_changes_nothing(server, online, small, monkeypatch, capsys):
    expected = aevlp.train(aevlp.load_experiment("digits_an", small))
    capsys.readouterr()
    with server() as port:
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{port}")
        result = aevlp.train(aevlp.load_experiment("digits_an", [*small, "tracking.mode=online"]))
    assert "W&B is offline" in capsys.readouterr().out
    rows = read_metrics(result.run_dir / "metrics.jsonl")
    assert learned(rows) == learned(read_metrics(expected.run_dir / "metrics.jsonl"))
    assert result.test_map == expected.test_map

    (folder,) = (result.run_dir / "wandb").glob("offline-run-*")
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--summary", "--json", str(folder)]
    seen = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    summary = {name: value for name, value in result.summary.items() if value is not None}
    assert (seen["state"], seen["run_id"]) == ("finished", result.run_dir.name)
    assert seen["config"]["loss"] == {"name": "an"}
    assert {name: seen["summary"].get(name) for name in summary} == pytest.approx(summary)
