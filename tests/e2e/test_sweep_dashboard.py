"""Optuna's dashboard on a study: it answers, on this machine alone, and leaves the terminal to its user."""

from __future__ import annotations

import json
import socket
import threading
import urllib.request
from wsgiref import simple_server

import sweep_runs as sweeps

from aevlp.cli import main
from aevlp.sweeps import dashboard


def test_it_serves_the_study_quietly_until_it_is_ended(tmp_path, monkeypatch, capsys):
    assert sweeps.run(sweeps.write(tmp_path), "--trials", "1") == 0
    capsys.readouterr()
    opened, ready = [], threading.Event()

    def make_server(*arguments, **more):
        opened.append(simple_server.make_server(*arguments, **more))
        ready.set()
        return opened[0]

    monkeypatch.setattr(dashboard, "make_server", make_server)
    thread = threading.Thread(target=main, args=(["sweep", "dashboard", "tiny", "--port", "0"],))
    thread.start()
    assert ready.wait(60)
    host, port = opened[0].server_address[:2]
    assert host == "127.0.0.1"
    with urllib.request.urlopen(f"http://{host}:{port}/api/studies", timeout=60) as answer:
        (study,) = json.load(answer)["study_summaries"]
    assert study["study_name"] == "tiny"
    opened[0].shutdown()
    thread.join(60)
    output = capsys.readouterr()
    assert output.out == f"http://127.0.0.1:{port}/dashboard/studies/{study['study_id']} (Ctrl-C ends it)\n"
    assert output.err == ""


def test_a_port_that_is_taken_is_told(tmp_path, capsys):
    assert sweeps.run(sweeps.write(tmp_path), "--trials", "1") == 0
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["sweep", "dashboard", "tiny", "--port", str(port)]) == 1
    assert f"--port {port}: cannot be used: Address already in use; choose another" in capsys.readouterr().err
    assert main(["sweep", "dashboard", "tiny", "--port", "99999"]) == 1
    assert "--port 99999: cannot be used" in capsys.readouterr().err
