"""The script that runs tests as other processors would: what it starts, what it leaves out, and how it ends."""

from __future__ import annotations

import subprocess
import sys

import processors
import pytest


@pytest.fixture
def started(monkeypatch):
    """(arguments of pytest, what bounds it) of each start; avx2 fails."""
    found = []

    def run(command, *, env, **_):
        assert command[:3] == [sys.executable, "-m", "pytest"]
        found.append((command[3:], [env.get(name) for name in ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "OMP_NUM_THREADS")]))
        return subprocess.CompletedProcess(command, int(env.get("ATEN_CPU_CAPABILITY") == "avx2"))

    monkeypatch.delenv("ATEN_CPU_CAPABILITY", raising=False)
    monkeypatch.setattr(subprocess, "run", run)
    return found


def test_each_set_of_instructions_runs_on_one_and_two_threads_and_one_failure_is_a_failure(monkeypatch, started, capsys):
    monkeypatch.setattr(processors, "capability", lambda: "AVX512")
    assert processors.main([]) == 1
    sets = [["default", "SSE41"], ["avx2", "AVX2"], ["avx512", "AVX512_CORE"], [None, "DEFAULT"]]
    assert started == [(["-m", "processor"], [*bounds, threads]) for bounds in sets for threads in ("1", "2")]
    last = capsys.readouterr().out.splitlines()[-8:]
    assert [line.split(maxsplit=1) for line in last[1:4]] == [
        ["default-2", "passed"], ["avx2-1", "FAILED, exit code 1"], ["avx2-2", "FAILED, exit code 1"],
    ]  # fmt: skip


def test_what_the_processor_lacks_is_left_out_and_named(monkeypatch, started, capsys):
    monkeypatch.setattr(processors, "capability", lambda: "AVX2")
    assert processors.main(["--on", "default-2", "--on", "avx512-1", "-x", "tests/unit"]) == 0
    assert started == [(["-x", "tests/unit"], ["default", "SSE41", "2"])]
    assert capsys.readouterr().out.splitlines()[-2:] == ["default-2  passed", "avx512-1   skipped, this processor has AVX2"]
