"""What a run ran on is told as far as it can be told, and never ends a run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time

import pytest

from aevlp.runs import snapshot

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout of one commit with one uncommitted change; `checkout.git(...)` runs git in it."""
    for name in list(os.environ):
        if name.startswith("GIT_"):
            monkeypatch.delenv(name)

    class Checkout(type(tmp_path)):
        def git(self, *words):
            return subprocess.run(["git", "-C", self, *words], check=True, capture_output=True).stdout.decode().strip()

    folder = Checkout(tmp_path / "checkout")
    folder.mkdir()
    folder.git("init", "-q")
    folder.git("config", "user.name", "somebody")
    folder.git("config", "user.email", "somebody@example.org")
    (folder / "notes.txt").write_bytes(b"% Andr\xe9\n")
    folder.git("add", ".")
    folder.git("commit", "-qm", "first")
    (folder / "notes.txt").write_bytes(b"% \xe4 and more\n")
    return folder


def test_a_change_that_is_not_utf8_is_recorded(checkout):
    found = snapshot._git(checkout)
    assert found["commit"] == checkout.git("rev-parse", "HEAD")
    assert found["dirty"] is True
    assert "-% Andr\N{REPLACEMENT CHARACTER}\n+% \N{REPLACEMENT CHARACTER} and more\n" in found["diff"]
    json.dumps(found)
    checkout.git("checkout", "-q", "--detach")
    checkout.git("checkout", "-q", "notes.txt")
    assert snapshot._git(checkout) == {"commit": found["commit"], "dirty": False, "diff": ""}


@pytest.mark.parametrize(
    "settings",
    [
        {"color.ui": "always", "color.diff": "always"},
        {"diff.external": "false"},
        {"diff.odd.textconv": "false"},
        {"core.pager": "false", "pager.diff": "true"},
        {"core.fsmonitor": "sleep 1000"},
    ],
    ids=" ".join,
)
def test_the_user_s_ways_to_show_a_change_do_not_matter(checkout, settings):
    (checkout / ".git" / "info" / "attributes").write_text("notes.txt diff=odd\n")
    plain = snapshot._git(checkout)
    for key, value in settings.items():
        checkout.git("config", key, value)
    assert snapshot._git(checkout) == plain
    assert plain["diff"].startswith("diff --git")


def test_only_a_checkout_of_its_own_is_told(checkout, tmp_path, monkeypatch):
    inside = checkout / "lib" / "site-packages"
    inside.mkdir(parents=True)
    assert snapshot._git(inside) is None
    assert snapshot._git(tmp_path) is None
    empty = tmp_path / "empty"
    empty.mkdir()
    checkout.git("init", "-q", str(empty))
    assert snapshot._git(empty) is None
    found = snapshot._git(checkout)
    monkeypatch.setenv("GIT_DIR", str(empty / ".git"))  # as in a hook of another repository
    assert snapshot._git(checkout) == found


def test_an_order_of_files_that_is_absent_costs_the_change_and_not_the_commit(checkout):
    checkout.git("config", "diff.orderFile", "absent")
    found = snapshot._git(checkout)
    assert (found["dirty"], found["diff"], len(found["commit"])) == (None, None, 40)


def test_a_large_change_is_cut(checkout, monkeypatch):
    monkeypatch.setattr(snapshot, "MAX_DIFF_BYTES", 1000)
    (checkout / "notes.txt").write_bytes(b"x\n" * 10_000)
    assert len(snapshot._git(checkout)["diff"]) == 1000


@pytest.mark.parametrize("program", ["exit 128", "sleep 1000", "sleep 1000 & wait", None], ids=str)
def test_a_git_that_fails_hangs_or_is_absent_ends_no_run(tmp_path, monkeypatch, program):
    monkeypatch.setattr(snapshot, "GIT_SECONDS", 0.3)
    if program is not None:
        (tmp_path / "git").write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\n{program}\n")
        (tmp_path / "git").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    began = time.monotonic()
    assert snapshot.environment()["git"] is None
    assert time.monotonic() - began < 30
