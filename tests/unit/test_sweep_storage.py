"""Where studies are kept: damage is repaired with a copy kept, what is not ours is left alone."""

from __future__ import annotations

import shutil
import socket
import sqlite3
import subprocess
import sys
from types import SimpleNamespace

import optuna
import pytest
from optuna.storages.journal import _file

from aevlp.config.errors import AevlpError, ConfigError
from aevlp.sweeps import storage
from aevlp.sweeps.intact import replaying
from aevlp.sweeps.storage import open_storage, storage_errors


@pytest.fixture
def journal(tmp_path, said):
    """A journal of three trials."""
    path = tmp_path / "journal.log"
    study = optuna.create_study(storage=open_storage(path, said.append), study_name="s")
    for value in (1.0, 2.0, 3.0):
        study.tell(study.ask(), value)
    return path


def trials(path, say):
    return optuna.load_study(storage=open_storage(path, say), study_name="s").trials


@pytest.mark.parametrize("torn", [b'{"op_code":6,"worker_id":"x', b"\x00" * 64, b"\xff\xfe\n\x00\n", b'{"op_code":6}'])
def test_a_torn_tail_is_cut_off_a_copy_kept_and_said_so(journal, said, torn):
    whole = journal.read_bytes()
    journal.write_bytes(whole + torn)
    assert [trial.value for trial in trials(journal, said.append)] == [1.0, 2.0, 3.0]
    assert journal.read_bytes() == whole
    (copy,) = journal.parent.glob("journal.log.damaged-*")
    assert copy.read_bytes() == whole + torn
    assert "damaged lines at its end were removed" in said[0]
    assert copy.name in said[0]


def test_every_length_of_a_torn_last_entry_is_repaired(journal, said):
    lines = journal.read_bytes().splitlines(keepends=True)
    for cut in range(1, len(lines[-1])):
        journal.write_bytes(b"".join(lines[:-1]) + lines[-1][:cut])
        assert len(trials(journal, said.append)) == 3
        assert journal.read_bytes() == b"".join(lines[:-1])


def test_a_whole_journal_is_left_as_it_is(journal, said):
    before = journal.read_bytes()
    assert len(trials(journal, said.append)) == 3
    assert (journal.read_bytes(), said) == (before, [])
    assert [path.name for path in journal.parent.iterdir()] == ["journal.log"]


def test_damage_before_the_end_and_foreign_files_are_refused_and_not_touched(journal, tmp_path, said):
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(lines[0] + b"garbage\n" + b"".join(lines[1:]))
    with pytest.raises(ConfigError, match=r"line 2: damaged, with whole entries after it"):
        open_storage(journal, said.append)
    foreign = tmp_path / "notes.log"
    foreign.write_text("my notes\n")
    with pytest.raises(ConfigError, match="is not the journal of a study; nothing was changed"):
        open_storage(foreign, said.append)
    assert foreign.read_text() == "my notes\n"
    assert not list(tmp_path.glob("*damaged*"))


def test_the_lock_of_a_process_that_was_killed_is_waited_for_and_then_broken(journal, tmp_path, said, monkeypatch):
    monkeypatch.chdir(tmp_path.parent)
    path = journal.relative_to(tmp_path.parent)  # from which a lock that is a link would lead nowhere
    open_storage(path, said.append)._backend._lock.acquire()
    clock = iter(range(0, 1000, 2))
    monkeypatch.setattr(_file, "time", SimpleNamespace(monotonic=lambda: next(clock), sleep=lambda _: None))
    assert len(trials(path, said.append)) == 3


def test_sqlite_serves_and_a_database_with_other_tables_is_refused(tmp_path, said):
    storage = open_storage(f"sqlite:///{tmp_path}/s.db", said.append)
    optuna.create_study(storage=storage, study_name="s")
    with sqlite3.connect(tmp_path / "other.db") as other:
        other.execute("create table customers (name text)")
    before = (tmp_path / "other.db").read_bytes()
    with pytest.raises(ConfigError, match=r"holds tables that are not Optuna's \(customers\)"):
        open_storage(f"sqlite:///{tmp_path}/other.db", said.append)
    assert (tmp_path / "other.db").read_bytes() == before
    shutil.copy(tmp_path / "s.db", tmp_path / "again.db")
    assert open_storage(f"sqlite:///{tmp_path}/again.db", said.append).get_all_studies()[0].study_name == "s"


def test_two_processes_that_begin_on_one_empty_database_both_open_it(tmp_path):
    begin = (
        "import sys, time\nfrom aevlp.sweeps.storage import open_storage\n"
        "import optuna.storages._rdb.models, sqlalchemy\n"
        "print(flush=True); sys.stdin.readline()\n"
        "for n in range(4): open_storage(f'sqlite:///{sys.argv[1]}/{n}.db', print)"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", begin, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                         stderr=subprocess.PIPE)
        for _ in range(2)
    ]  # fmt: skip
    for one in both:
        one.stdout.readline()
    for one in both:
        one.stdin.write("\n")
        one.stdin.flush()
    assert [(one.communicate()[1], one.returncode) for one in both] == [("", 0)] * 2


def test_tables_of_which_another_process_makes_the_rest_are_waited_for(tmp_path, said, monkeypatch):
    optuna.create_study(storage=open_storage(f"sqlite:///{tmp_path}/whole.db", said.append), study_name="s")
    place = tmp_path / "s.db"
    with sqlite3.connect(place) as other:
        other.execute("create table studies (study_id integer)")
    monkeypatch.setattr(storage, "time", SimpleNamespace(sleep=lambda _: shutil.copy(tmp_path / "whole.db", place)))
    assert open_storage(f"sqlite:///{place}", said.append).get_all_studies()[0].study_name == "s"
    place.unlink()
    with sqlite3.connect(place) as other:
        other.execute("create table studies (study_id integer)")
    monkeypatch.setattr(storage, "time", SimpleNamespace(sleep=lambda _: None))
    with pytest.raises(ConfigError, match=r"holds tables that are not Optuna's \(studies\)"):
        open_storage(f"sqlite:///{place}", said.append)


@pytest.mark.parametrize("tables", ["trial_list (n integer)", "alembic_version (n integer)", "customers (name text)"])
def test_a_database_of_others_is_refused_at_once(tmp_path, said, monkeypatch, tables):
    with sqlite3.connect(tmp_path / "other.db") as other:
        other.execute(f"create table {tables}")
    monkeypatch.setattr(storage, "time", None)  # nothing is waited for
    with pytest.raises(ConfigError, match="holds tables that are not Optuna's"):
        open_storage(f"sqlite:///{tmp_path}/other.db", said.append)


def test_a_database_that_is_not_there_is_not_asked_again(said, monkeypatch):
    monkeypatch.setattr(storage, "time", None)
    with pytest.raises(ConfigError, match="cannot be opened"):
        open_storage("sqlite:////no/such/folder/s.db", said.append)


def test_a_proxy_that_is_not_there_is_named_and_not_called_damaged(said, monkeypatch):
    pytest.importorskip("grpc")
    monkeypatch.setattr(storage, "CONNECT_SECONDS", 0.2)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"grpc://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(ConfigError, match="no Optuna server answers there"), replaying(url):
            open_storage(url, said.append)


def gone():
    """What storages raise that cannot be reached, and what is told of it."""
    grpc = pytest.importorskip("grpc")

    class CallError(grpc.RpcError):
        def details(self):
            return "Connection refused\nin many lines"

    lost = optuna.exceptions.StorageInternalError("An exception is raised during the commit.\nThis typically happens ...")
    lost.__cause__ = RuntimeError("server closed the connection\nand said more")
    return [
        (CallError(), "Connection refused"), (grpc.RpcError("no answer"), "no answer"), (lost, "server closed the connection"),
        (OSError(5, "Input/output error"), "Input/output error"), (ConnectionResetError("reset"), "reset"),
    ]  # fmt: skip


@pytest.mark.parametrize("number", range(5))
@pytest.mark.parametrize("reading", [replaying, storage_errors])
def test_a_storage_that_has_gone_is_not_called_damaged(reading, number):
    error, reason = gone()[number]
    with pytest.raises(AevlpError) as refused, reading("grpc://me:secret@host:1"):
        raise error
    assert str(refused.value) == f"grpc://me:***@host:1: the study's storage failed: {reason}; the same command continues"


def test_what_a_damaged_storage_makes_optuna_raise_is_still_called_damage():
    with pytest.raises(AevlpError, match=r"is damaged: KeyError 'trial'; restore it from a copy"), replaying("journal.log"):
        raise KeyError("trial")


@pytest.mark.parametrize("error", [BrokenPipeError(32, "Broken pipe"), OSError(28, "No space left on device")])
def test_where_other_files_are_written_too_their_errors_are_not_the_storages(error):
    with pytest.raises(OSError, match=error.strerror), storage_errors("journal.log", files=False):
        raise error


def test_what_cannot_be_reached_is_named_without_its_password(tmp_path, said):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(ConfigError, match="cannot be opened") as refused:
            open_storage(f"postgresql://me:secret@127.0.0.1:{port}/s", said.append)
    assert "secret" not in str(refused.value)
    assert "postgresql://me:***@127.0.0.1" in str(refused.value)
    for url, message in [("ftp://host/x", "ftp"), ("sqlite:////no/such/folder/s.db", "cannot be opened"), ("nosql", "cannot be")]:
        with pytest.raises(ConfigError, match=message):
            open_storage(url if url != "nosql" else str(tmp_path), said.append)
