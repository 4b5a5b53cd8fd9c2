"""One study on several machines: a real PostgreSQL server, and Optuna's gRPC proxy."""

from __future__ import annotations

import socket

import optuna
import postgresql
import pytest
import sweep_runs as sweeps

from aevlp.cli import main
from aevlp.owner import this_process
from aevlp.sweeps import run, storage, study
from aevlp.sweeps.ledger import LOST_SECONDS, ended_for_good
from aevlp.sweeps.storage import open_storage


def test_two_machines_share_a_study_on_postgresql_and_one_takes_over_from_the_other(tmp_path, monkeypatch, capsys):
    path = sweeps.write(tmp_path)
    with postgresql.server() as url:
        monkeypatch.setenv("AEVLP_RUNS", str(tmp_path / "one"))
        assert sweeps.run(path, "--storage", url, "--trials", "1") == 0
        # The first machine asks for another trial, and is never heard of again.
        lost = sweeps.load(storage=url).ask()
        lost.suggest_float("trainer.learning_rate", 0.0001, 0.01, log=True)
        lost.set_user_attr("owner", {**this_process(), "host": "one"})
        lost.set_user_attr("seen", 0.0)
        assert LOST_SECONDS < 3600
        monkeypatch.setenv("AEVLP_RUNS", str(tmp_path / "two"))
        assert sweeps.run(path, "--storage", url) == 0
        assert "trial 1: its process died" in capsys.readouterr().out
        found = sweeps.load(storage=url)
        assert [trial.state.name for trial in found.trials] == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
        assert len(ended_for_good(found.trials)) == 3
        assert [len(list((tmp_path / name).glob("sweeps/tiny/trials/*"))) for name in ("one", "two")] == [1, 2]
        assert sweeps.run(path, "--storage", url, "--set", "trainer.batch_size=8") == 2
        assert "base.trainer.batch_size: 16 -> 8" in capsys.readouterr().err
        assert main(["sweep", "show", "tiny", "--storage", url]) == 0
        assert "3 trials (3 complete" in capsys.readouterr().out
        # A study of the same name that somebody else has made is left alone.
        optuna.create_study(storage=open_storage(url, print), study_name="theirs").optimize(lambda trial: 1.0, n_trials=1)
        assert sweeps.run(path, "--storage", url, "--name", "theirs") == 2
        assert "was not made by `sweep run`" in capsys.readouterr().err
        assert sweeps.load(storage=url).study_name == "tiny"


@pytest.fixture
def proxy(tmp_path):
    """URL of Optuna's gRPC proxy before a journal, and what ends it."""
    pytest.importorskip("grpc")
    from optuna.storages._grpc.server import make_server

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = make_server(open_storage(tmp_path / "journal.log", print), "127.0.0.1", port)
    server.start()
    yield f"grpc://127.0.0.1:{port}", lambda: server.stop(None).wait()
    server.stop(None).wait()


def test_a_study_runs_through_the_grpc_proxy(proxy, tmp_path, monkeypatch, capsys):
    url, _ = proxy
    assert sweeps.run(sweeps.write(tmp_path), "--storage", url, "--trials", "1") == 0
    assert sweeps.load(storage=url).best_trial.number == 0
    for words in (["show", "tiny"], ["run", sweeps.write(tmp_path), "--in-process"]):
        assert main(["sweep", *words]) == 2
        assert "name its storage by --storage, or in $AEVLP_STORAGE" in capsys.readouterr().err
    monkeypatch.setenv("AEVLP_STORAGE", url)
    assert main(["sweep", "best", "tiny"]) == 0


GOES_AFTER = [
    ("run show best dashboard", storage, "_open_proxy"), ("run", run, "open_study"), ("show best", study, "load_existing"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("action", "module", "call"), [(action, module, call) for actions, module, call in GOES_AFTER for action in actions.split()]
)
def test_a_proxy_that_goes_away_ends_any_action_in_one_line(proxy, tmp_path, monkeypatch, capsys, action, module, call):
    url, stop = proxy
    path = sweeps.write(tmp_path)
    assert sweeps.run(path, "--storage", url, "--trials", "1") == 0
    before = getattr(module, call)

    def call_and_stop(*words, **settings):
        found = before(*words, **settings)
        stop()
        return found

    monkeypatch.setattr(module, call, call_and_stop)
    capsys.readouterr()
    words = [path, "--in-process"] if action == "run" else ["tiny"]
    assert main(["sweep", action, *words, "--storage", url]) == 1
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert error.startswith(f"error: {url}: the study's storage failed: ")
    assert error.endswith("; the same command continues\n")
