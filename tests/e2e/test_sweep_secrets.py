"""A study whose storage has a password: no file of a run, a study or W&B, and no line on the terminal, repeats it."""

from __future__ import annotations

import re
import sys

import optuna
import postgresql
import pytest
import sweep_runs as sweeps

from aevlp.cli import main
from aevlp.sweeps.study import study_folder

PASSWORD = "correct-horse-2"


def command(monkeypatch, *words):
    """A command as the shell would give it, so that whoever looks at sys.argv sees it too."""
    monkeypatch.setattr(sys, "argv", ["run.py", *words])
    return main(words)


def holders(folder, word):
    """Files that hold a word, in their content or their name."""
    return [path for path in folder.rglob("*") if word in path.name or (path.is_file() and word.encode() in path.read_bytes())]


def test_a_path_in_a_storage_url_is_told_to_nobody(tmp_path, monkeypatch, capfd):
    url = f"sqlite:///{tmp_path}/hunter2.db"
    study = sweeps.write(tmp_path)
    words = ("sweep", "run", study, "--in-process", "--trials", "1", "--tracking", "offline")
    assert command(monkeypatch, *words, "--storage", url) == 0
    folder = study_folder("tiny")
    assert holders(folder, "hunter2") == []
    assert list(folder.rglob("*.wandb"))
    assert "sqlite://***" in next(folder.glob("trials/*/environment.json")).read_text()
    assert f"sweep show tiny --storage {url} --html" in capfd.readouterr().out  # typed by the user, and without a password
    monkeypatch.setenv("AEVLP_STORAGE", url)
    assert command(monkeypatch, *words) == 0
    assert holders(folder, "hunter2") == []
    assert "hunter2" not in "".join(capfd.readouterr())
    assert command(monkeypatch, "sweep", "best", "tiny", "--save", str(tmp_path / "best.yaml")) == 0
    assert "hunter2" not in (tmp_path / "best.yaml").read_text()
    assert command(monkeypatch, "report", str(folder), str(folder / "trials"), "-o", str(tmp_path / "page.html")) == 0
    assert "hunter2" not in (tmp_path / "page.html").read_text()


def test_a_password_is_repeated_nowhere(tmp_path, monkeypatch, capfd):
    study = sweeps.write(tmp_path)
    with postgresql.server() as url:  # which takes any password
        secret = re.sub(r"(?<=aevlp)@", f":{PASSWORD}@", url)
        for words in (("--trials", "1"), ("--set", "trainer.batch_size=8")):  # the second is another study, and refused
            command(monkeypatch, "sweep", "run", study, "--in-process", "--storage", secret, *words)
        out, err = capfd.readouterr()
        assert 'sweep show tiny --storage "$AEVLP_STORAGE"' in out
        assert "base.trainer.batch_size: 16 -> 8" in err
        optuna.delete_study(study_name="tiny", storage=secret.replace("postgresql:", "postgresql+psycopg:"))
        assert command(monkeypatch, "sweep", "show", "tiny", "--storage", secret) == 2
    assert command(monkeypatch, "sweep", "show", "tiny", "--storage", secret) == 2
    told = out + err + "".join(capfd.readouterr())
    assert "postgresql://aevlp:***@127.0.0.1" in told
    assert PASSWORD not in told
    assert holders(study_folder("tiny"), PASSWORD) == []


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://me:{PASSWORD}@127.0.0.1:1/x",
        f"postgresql://127.0.0.1:1/x?password={PASSWORD}",
        f"postgresql://me:{PASSWORD}@127.0.0.1:port/x",
        f"nosuch://me:{PASSWORD}@host/x",
        f"grpc://me:{PASSWORD}@127.0.0.1:x",
    ],
)
def test_an_error_has_no_password_in_it_even_in_the_drivers_own_words(tmp_path, monkeypatch, capfd, url):
    pytest.importorskip("psycopg")
    pytest.importorskip("grpc")
    assert command(monkeypatch, "sweep", "run", sweeps.write(tmp_path), "--storage", url) == 2
    out, err = capfd.readouterr()
    assert err.startswith("error: --storage ")
    assert "Traceback" not in err
    assert PASSWORD not in out + err
