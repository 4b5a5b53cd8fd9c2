"""Files written aside: whole or not at all, each process by a name of its own, and nothing left behind."""

from __future__ import annotations

import contextlib
import errno
import linecache
import os
import sys
import time
from pathlib import Path

import pytest
from file_effects import Effects, watched

from aevlp import files


def dead_process() -> int:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return child


def left_by(process: int, folder: Path, monkeypatch) -> Path:
    """A file that a process of this machine wrote aside."""
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: process)
        path = files.aside(folder / "file")
    path.write_text("half")
    return path


def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path):
    path = tmp_path / "file"
    files.write(path, b"one")
    files.write(path, b"two", sync=True)
    assert path.read_bytes() == b"two"
    assert list(tmp_path.iterdir()) == [path]


def test_a_name_as_long_as_the_file_system_takes(tmp_path):
    path = tmp_path / ("x" * 255)
    files.write(path, b"content")
    assert list(tmp_path.iterdir()) == [path]


def test_two_writers_of_one_file_do_not_meet_and_the_last_wins(tmp_path):
    path = tmp_path / "file"
    with files.replacing(path) as first, first.open("w") as file:
        with files.replacing(path) as second:
            second.write_text("second")
        assert path.read_text() == "second"
        file.write("first")
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_goes_wrong_leaves_what_was_there(tmp_path, kind):
    target = tmp_path / "target"
    target.write_text("before")

    def fail():
        with files.replacing(target) as path:
            if kind == "folder":
                (path / "deep").mkdir(parents=True)
            else:
                path.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert target.read_text() == "before"
    assert list(tmp_path.iterdir()) == [target]


def test_only_what_nobody_writes_any_more_is_a_leftover(tmp_path, monkeypatch):
    dead = left_by(dead_process(), tmp_path, monkeypatch)
    living = [left_by(os.getppid(), tmp_path, monkeypatch), left_by(os.getpid(), tmp_path, monkeypatch)]
    with monkeypatch.context() as patch:
        patch.setattr(files, "_machine", lambda: "00000000")
        elsewhere = left_by(dead_process(), tmp_path, monkeypatch)
    strangers = [tmp_path / name for name in (".tmp-0123", ".tmp-config.yaml", ".tmp-", "file")]
    for path in strangers:
        path.write_text("")
    assert files.leftovers(tmp_path) == files.leftovers(tmp_path, own=True) == [dead]
    files.remove_leftovers(tmp_path)
    assert set(tmp_path.iterdir()) == {*living, elsewhere, *strangers}
    yesterday = time.time() - 90_000
    for path in tmp_path.iterdir():
        os.utime(path, (yesterday, yesterday))
    assert set(files.leftovers(tmp_path)) == {*living, elsewhere}
    assert set(files.leftovers(tmp_path, own=True)) == {*living, elsewhere, *strangers[:3]}


def test_leftovers_of_a_folder_that_is_not_there_or_closed_are_none(tmp_path):
    assert files.leftovers(tmp_path / "absent") == []


def test_a_folder_that_is_discarded_is_never_seen_in_half(tmp_path):
    folder = tmp_path / "folder"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "file").write_text("")
    with watched(Effects([tmp_path])) as effects:
        files.discard(folder)
        files.discard(folder)
    assert effects.names[0].startswith("replace .tmp-")
    assert list(tmp_path.iterdir()) == []


BEFORE = {"kept": "old", "gone": "old"}
AFTER = {"kept": "new", "added": "new", "last": "new"}


def put_together(folder):
    with files.together(folder, "mark") as put:
        for name in ("kept", "added", "gone", "last"):
            path = put(name)
            if name in AFTER:
                path.write_text(AFTER[name])


def content(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


def begin(folder):
    folder.mkdir()
    for name, text in BEFORE.items():
        (folder / name).write_text(text)


def test_files_take_their_places_together(tmp_path):
    begin(tmp_path / "a")
    put_together(tmp_path / "a")
    assert content(tmp_path / "a") == AFTER
    with files.together(tmp_path / "a") as put:
        put("last")
    assert "last" not in content(tmp_path / "a")
    with files.together(tmp_path / "a", "mark"):
        pass
    assert sorted(content(tmp_path / "a")) == ["added", "kept"]


def count_effects(folder) -> int:
    begin(folder)
    with watched(Effects([folder])) as effects:
        put_together(folder)
    return len(effects.names)


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), KeyboardInterrupt()], ids=["full disk", "Ctrl-C"])
def test_whatever_fails_leaves_all_files_as_they_were_or_all_new(tmp_path, error):
    for number in range(1, count_effects(tmp_path / "count") + 1):
        folder = tmp_path / str(number)
        begin(folder)

        def act(now, name, half, number=number):
            if now == number:
                if half:
                    half()
                raise error

        with watched(Effects([folder], act)), contextlib.suppress(OSError, KeyboardInterrupt):
            put_together(folder)
        found = content(folder)
        # What cannot be removed stays aside; the next that writes there tries again.
        assert {name: text for name, text in found.items() if not name.startswith(".tmp-")} in (BEFORE, AFTER), number


def test_killed_in_between_the_mark_tells_of_files_that_do_not_belong_together(tmp_path):
    for number in range(1, count_effects(tmp_path / "count") + 1):
        folder = tmp_path / str(number)
        begin(folder)
        child = os.fork()
        if child == 0:
            with watched(Effects([folder], lambda now, *_, number=number: os._exit(1) if now == number else None)):
                put_together(folder)
            os._exit(0)
        os.waitpid(child, 0)
        found = {name: text for name, text in content(folder).items() if not name.startswith(".tmp-")}
        assert found in (BEFORE, AFTER) or "mark" in found, number
        assert found["kept"] in ("old", "new"), number  # what is there before and after is never gone
        put_together(folder)
        files.remove_leftovers(folder)
        assert content(folder) == AFTER


@pytest.mark.parametrize("error", [PermissionError(errno.EPERM, "no links here"), NotImplementedError("nor here")])
@pytest.mark.parametrize("fails", [False, True])
def test_where_there_are_no_links_files_take_their_places_all_the_same(tmp_path, monkeypatch, error, fails):
    begin(tmp_path / "a")

    def link(*_, **__):
        raise error

    def act(_, name, half):
        if fails and name == "replace last":
            raise KeyboardInterrupt

    monkeypatch.setattr(os, "link", link)
    with watched(Effects([tmp_path / "a"], act)), contextlib.suppress(KeyboardInterrupt):
        put_together(tmp_path / "a")
    assert content(tmp_path / "a") == (BEFORE if fails else AFTER)


def test_a_link_that_was_there_is_put_back_as_a_link(tmp_path):
    (tmp_path / "elsewhere").write_text("old")
    (tmp_path / "a").mkdir()
    (tmp_path / "a/kept").symlink_to("../elsewhere")

    def act(_, name, half):
        if name == "replace last":
            raise KeyboardInterrupt

    with watched(Effects([tmp_path / "a"], act)), contextlib.suppress(KeyboardInterrupt):
        put_together(tmp_path / "a")
    assert (os.readlink(tmp_path / "a/kept"), content(tmp_path / "a")) == ("../elsewhere", {"kept": "old"})


def test_ctrl_c_at_any_line_leaves_nothing_aside(tmp_path):
    """The interrupt comes between two lines of the helper, as Python delivers signals."""
    lines = 0

    def run(folder, at):
        nonlocal lines
        lines = 0
        begin(folder)

        def trace(frame, event, _):
            nonlocal lines
            if frame.f_code.co_filename != files.__file__ or frame.f_code.co_name == "remove":
                return None
            # At the end of a `with` its line comes again; there Python looks for no signal.
            if event == "line" and not linecache.getline(files.__file__, frame.f_lineno).strip().startswith("with "):
                lines += 1
                if lines == at:
                    sys.settrace(None)
                    raise KeyboardInterrupt
            return trace

        sys.settrace(trace)
        try:
            files.write(folder / "kept", b"new")
            put_together(folder)
        except KeyboardInterrupt:
            return
        finally:
            sys.settrace(None)

    run(tmp_path / "all", -1)
    for at in range(1, lines + 1):
        run(tmp_path / str(at), at)
        assert not [name for name in content(tmp_path / str(at)) if name.startswith(".tmp-")], at
