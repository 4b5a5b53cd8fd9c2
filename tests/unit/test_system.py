"""What a system can do is asked in one place; what it cannot do costs no run."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
import without

from aevlp import system
from aevlp.cli import VERBS, main

UNSUPPORTED = (errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.EINVAL)


@pytest.fixture
def groups(tmp_path, monkeypatch):
    """`groups(text of /proc/self/cgroup, {file: content})` lays out control groups on a machine of 64 cores."""

    def lay_out(text, files):
        (tmp_path / "own").write_text(text)
        for name, content in files.items():
            path = tmp_path / "mounts" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)

    monkeypatch.setattr(system, "CGROUP", tmp_path / "own")
    monkeypatch.setattr(system, "CGROUPS", tmp_path / "mounts")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    return lay_out


@pytest.mark.parametrize(
    ("text", "files", "cores"),
    [
        ("0::/\n", {"cpu.max": "max 100000\n"}, 64),
        ("0::/\n", {"cpu.max": "200000 100000\n"}, 2),
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 2),  # rounded up
        ("0::/\n", {"cpu.max": "10000 100000\n"}, 1),
        ("0::/\n", {"cpu.max": "100000000 100000\n"}, 64),  # more than there are
        ("0::/a/b\n", {"cpu.max": "max 100000", "a/cpu.max": "300000 100000", "a/b/cpu.max": "max 100000"}, 3),
        ("0::/a/b\n", {"a/cpu.max": "300000 100000", "a/b/cpu.max": "200000 50000"}, 3),
        ("0::/host/name\n", {"cpu.max": "400000 100000"}, 4),  # the path of the machine, seen from inside a container
        ("0::/../a\n", {"a/cpu.max": "500000 100000"}, 5),
        ("0::/\n", {"cpu.max": "garbage"}, 64),
        ("0::/\n", {}, 64),
        ("", {"cpu.max": "200000 100000\n"}, 64),
        ("2:cpu,io:/a\n0::/\n", {"cpu,io/a/cpu.cfs_quota_us": "200000", "cpu,io/a/cpu.cfs_period_us": "100000"}, 2),
        ("2:cpuacct,cpu:/a\n", {"cpu/cpu.cfs_quota_us": "250000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
        ("1:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 64),
        ("1:memory:/\n0::/a\n", {"unified/a/cpu.max": "600000 100000"}, 6),
        ("1:cpu:/\n", {"cpu/cpu.cfs_quota_us": "100", "cpu/cpu.cfs_period_us": "0"}, 64),
    ],
)  # fmt: skip
def test_a_container_s_share_of_time_counts_as_cores(groups, text, files, cores):
    groups(text, files)
    assert system.usable_cores() == cores


def test_cores_are_counted_without_affinity_and_without_control_groups(groups, monkeypatch):
    without.affinity(monkeypatch)
    monkeypatch.setattr(os, "cpu_count", lambda: 12)
    assert system.usable_cores() == 12
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert system.usable_cores() == 1


def test_loaders_workers_of_a_sweep_and_torch_go_by_the_share(groups, monkeypatch):
    import torch

    import aevlp
    from aevlp.data.loaders import useful_workers
    from aevlp.machine import Machine

    groups("0::/\n", {"cpu.max": "300000 100000"})
    assert useful_workers(16, []) == 3
    told, config = [], aevlp.load_experiment("digits_gpr", ["trainer.threads=null"])
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    assert [Machine(workers).threads(config) for workers in (1, 2, 9)] == [3, 1, 1]
    monkeypatch.setattr(torch, "set_num_threads", told.append)
    system.limit_threads(None)
    system.limit_threads(7)
    assert told == [3, 7]
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)  # as OMP_NUM_THREADS says
    assert [Machine(workers).threads(config) for workers in (1, 2)] == [2, 1]


@pytest.mark.parametrize("verb", [[], ["--exp", "digits_gpr"], *([verb] for verb in VERBS)], ids=" ".join)
def test_windows_is_told_by_one_line_whatever_the_command(monkeypatch, capsys, verb):
    monkeypatch.setattr(system, "fcntl", None)
    assert main(verb) == 2
    assert capsys.readouterr() == ("", f"error: not on this system: {system.SYSTEMS}\n")


def test_nothing_is_imported_before_that_line_which_windows_lacks():
    code = "import sys; sys.modules |= {'fcntl': None, 'resource': None}; from aevlp.cli import main; sys.exit(main(['list']))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert (ended.returncode, ended.stdout, ended.stderr) == (2, "", f"error: not on this system: {system.SYSTEMS}\n")


@pytest.mark.parametrize("code", [errno.EAGAIN, errno.EACCES])
@pytest.mark.parametrize("take", [system.take_lock, system.take_record_lock])
def test_a_lock_of_another_is_no_missing_lock(tmp_path, monkeypatch, capsys, take, code):
    without.locks(monkeypatch, code)
    with (tmp_path / "lock").open("w") as file:
        assert take(file) is False
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("code", [errno.ENOLCK, *UNSUPPORTED])
def test_a_missing_lock_is_said_once(tmp_path, monkeypatch, capsys, code):
    without.locks(monkeypatch, code)
    with (tmp_path / "lock").open("w") as file:
        assert system.take_lock(file, shared=True, wait=True) is None
        assert system.take_record_lock(file) is None
    said = f"note  files cannot be locked here ({os.strerror(code)}): see that no two processes write to one run or table\n"
    assert capsys.readouterr().err == said


@pytest.mark.parametrize("code", [*UNSUPPORTED, errno.EACCES])
def test_a_folder_that_cannot_be_synced_is_left_and_a_full_disk_is_not(tmp_path, monkeypatch, code):
    with monkeypatch.context() as patch:
        without.folder_sync(patch, code)
        system.sync_folder(tmp_path)
    without.folder_sync(monkeypatch, errno.ENOSPC)
    with pytest.raises(OSError, match="No space left"):
        system.sync_folder(tmp_path)


@pytest.mark.parametrize("code", [None, *UNSUPPORTED])
def test_a_link_leads_to_its_neighbour_with_and_without_symbolic_links(tmp_path, monkeypatch, code):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    system.point(tmp_path / "last", "one")
    if code is not None:
        without.symlinks(monkeypatch, code)
    system.point(tmp_path / "last", "two")
    assert system.pointed(tmp_path / "last") == tmp_path / "two"
    assert (tmp_path / "last").is_symlink() == (code is None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["last", "one", "two"]
    (tmp_path / "last").unlink()
    (tmp_path / "last").mkdir()  # as a copy of the folder has it that followed the link
    (tmp_path / "last" / "weights").touch()
    system.point(tmp_path / "last", "one")
    assert system.pointed(tmp_path / "last") == tmp_path / "one"


@pytest.mark.parametrize("code", [None, *UNSUPPORTED])
def test_a_file_gets_a_name_that_is_free_and_never_one_that_is_taken(tmp_path, monkeypatch, code):
    if code is not None:
        without.hard_links(monkeypatch, code)
    aside, name = tmp_path / "aside", tmp_path / "name"
    aside.write_text("mine")
    system.give_name(aside, name)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"name": "mine"}
    aside.write_text("another")
    with pytest.raises(FileExistsError):
        system.give_name(aside, name)
    assert name.read_text() == "mine"


def test_without_hard_links_a_failed_rename_leaves_no_empty_file(tmp_path, monkeypatch):
    without.hard_links(monkeypatch)
    monkeypatch.setattr(os, "replace", without.refuse(errno.EIO))
    (tmp_path / "aside").write_text("mine")
    with pytest.raises(OSError, match="Input/output"):
        system.give_name(tmp_path / "aside", tmp_path / "name")
    assert not (tmp_path / "name").exists()
