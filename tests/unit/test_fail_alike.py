"""Runs fail alike where their messages differ by what names the run alone."""

from __future__ import annotations

import errno

import pytest
import small_runs as runs

from aevlp import files
from aevlp.config.errors import CheckpointError
from aevlp.runs import child
from aevlp.runs.child import GAVE_UP, SAME_FAILURES, fail_alike
from aevlp.runs.folder import RunFolder

NAMES = {
    "trials": [f"tiny.t{number:04d}" for number in range(3)],
    "many trials": [f"tiny.t{number}" for number in (9999, 10000, 123456)],
    "fresh seeds": ["tiny.t0003.s100", "tiny.t0003.s101", "tiny.t0007.s100"],
    "rows of a suite": ["digits_an", "digits_gpr", "voc_an.smile-2_x"],
    "seeds": ["digits_an"] * 3,
}


@pytest.fixture(params=NAMES)
def folders(request, tmp_path):
    """Three run folders as a study or a suite calls them."""
    return [RunFolder.create(runs.config(f"name={name}"), root=tmp_path / "runs") for name in NAMES[request.param]]


@pytest.mark.parametrize("message", ["{id} has no value for best/val_mAP", "{path}: another process is running this run",
                                     "{path}/summary.json: cannot be read; {id} is damaged"])  # fmt: skip
def test_what_names_a_run_makes_no_difference(folders, message):
    reasons = [message.format(id=folder.path.name, path=folder.path) for folder in folders]
    assert len(set(reasons)) == SAME_FAILURES
    assert fail_alike(reasons)
    assert fail_alike(["", "something else", *reasons])
    assert not fail_alike(reasons[1:])
    assert not fail_alike([*reasons, ""])
    assert not fail_alike([*reasons[1:], reasons[0] + " twice"])


def test_a_full_disk_fails_all_runs_alike_as_they_write_and_as_they_are_made(folders, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files, "write", full)
    monkeypatch.setattr(files, "replacing", full)
    for fail in (lambda folder: folder.write("metrics.jsonl", b""),
                 lambda folder: RunFolder.create(folder.read_config(), root=tmp_path / "runs")):  # fmt: skip
        reasons = []
        for folder in folders:
            with pytest.raises(CheckpointError) as error:
                fail(folder)
            reasons.append(str(error.value))
        assert "No space left" in reasons[0]
        assert fail_alike(reasons)


def test_what_differs_otherwise_is_not_alike():
    for reasons in (["step 1", "step 2", "step 3"], ["loss.rho: 0.5", "loss.rho: 0.6", "loss.rho: 0.7"], [None] * 3, [""] * 3):
        assert not fail_alike(reasons)
    assert str(SAME_FAILURES) in GAVE_UP


def test_a_failure_is_told_by_the_words_of_the_last_attempt(tmp_path, monkeypatch):
    monkeypatch.setattr(child.subprocess, "Popen", lambda *_, stdout, **more: stdout.write(b"error: its data have changed\n"))
    (tmp_path / child.OUTPUT).write_text("error: a loader worker died, most likely because memory ran out\n")
    child.start(tmp_path, {})
    assert child.why(2, tmp_path) == child.Failure("its data have changed", may_pass=False)
    begun = []
    monkeypatch.setattr(child.subprocess, "Popen", lambda words, **more: begun.append(words))
    child.start(tmp_path, {}, {"dataset.root": "/2024", "dataset.arrays": None})
    assert begun[0][-6:] == ["--resume", str(tmp_path), "--set", 'dataset.root="/2024"', "--set", "dataset.arrays=null"]
    assert child.why(1, tmp_path).reason == "exit code 1: no output"
