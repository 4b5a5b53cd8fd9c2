"""The checkpoint store alone: complete or not at all."""

from __future__ import annotations

import errno
import itertools
import json
import os
import resource
import shutil
import stat
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from stores import STATE, WEIGHTS, contents, names, save_epoch

from aevlp.config.errors import CheckpointError
from aevlp.runs.checkpoints import CheckpointStore


def test_what_was_saved_comes_back(store, said):
    save_epoch(store, 1)
    checkpoint = store.latest()
    assert checkpoint.weights().keys() == WEIGHTS.keys()
    assert all(torch.equal(checkpoint.weights()[name], WEIGHTS[name]) for name in WEIGHTS)
    assert checkpoint.state()["progress"] == STATE["progress"]
    assert torch.equal(checkpoint.state()["pseudo"], STATE["pseudo"])
    assert checkpoint.has("model")
    assert not checkpoint.has("ema")
    assert said == []


def test_an_empty_or_absent_folder_has_no_checkpoint(store, said):
    assert store.latest() is None
    assert store.best() is None
    store.folder.mkdir()
    assert store.latest() is None
    assert said == []


def test_latest_goes_by_step_and_mid_epoch_comes_before_the_end_of_its_epoch(store):
    save_epoch(store, 2, best=1)
    store.save("epoch-003-step-25", {"model": WEIGHTS}, STATE, step=25, epochs_done=2, best=None)
    assert store.latest().folder.name == "epoch-003-step-25"
    store.save("epoch-003-step-30", {"model": WEIGHTS}, STATE, step=30, epochs_done=2, best=None)  # a stop in validation
    save_epoch(store, 3)
    assert store.latest().folder.name == "epoch-003"


def test_the_best_and_the_last_two_are_kept_and_linked(store):
    for epoch, best in ((1, 1), (2, 2), (3, 2), (4, 2), (5, 2)):
        save_epoch(store, epoch, best)
    assert names(store) == ["best", "epoch-002", "epoch-004", "epoch-005", "last"]
    assert os.readlink(store.folder / "best") == "epoch-002"
    assert os.readlink(store.folder / "last") == "epoch-005"
    assert store.best().folder.name == "epoch-002"


@pytest.mark.parametrize("damaged", ["state.pt", "model.safetensors", "manifest.json"])
def test_where_the_newest_is_damaged_the_one_before_has_its_best(store, damaged):
    for epoch, best in ((1, 1), (2, 2), (3, 2), (4, 2), (5, 5)):
        save_epoch(store, epoch, best)
    (store.folder / "epoch-005" / damaged).write_bytes(b"")
    assert store.latest().folder.name == "epoch-004"
    assert store.best().folder.name == "epoch-002"
    store.settle(store.latest())
    assert os.readlink(store.folder / "best") == "epoch-002"
    assert store.best().folder.name == "epoch-002"


def test_at_most_three_are_kept_whichever_are_best(store):
    for better in itertools.product((False, True), repeat=5):
        shutil.rmtree(store.folder, ignore_errors=True)
        best = 0
        for epoch, is_best in enumerate((True, *better), 1):
            best = epoch if is_best else best
            save_epoch(store, epoch, best)
            kept = [name for name in names(store) if name.startswith("epoch-")]
            assert len(kept) <= 3
            assert {f"epoch-{best:03d}", f"epoch-{epoch:03d}"} <= set(kept)


def test_saving_the_same_position_again_replaces_it(store):
    save_epoch(store, 1)
    folder = save_epoch(store, 1, state={"second": True})
    assert store.latest().folder == folder
    assert store.latest().state() == {"second": True}


def full_disk_at_call(number: int, real):
    calls = iter(range(1, 1000))

    def fail(*arguments, **options):
        if next(calls) == number:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(*arguments, **options)

    return fail


@pytest.mark.parametrize("number", range(1, 6))  # two files, the manifest, the new folder, the folder above
def test_a_disk_full_at_any_sync_is_an_error_and_the_earlier_one_stays(store, said, monkeypatch, number):
    earlier = contents(save_epoch(store, 1))
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full_disk_at_call(number, os.fsync))
        with pytest.raises(CheckpointError, match=r"epoch-002: cannot save .* the disk is full; earlier ones are untouched"):
            save_epoch(store, 2)
    assert contents(store.folder / "epoch-001") == earlier
    assert not list(store.folder.glob(".tmp-*"))
    assert store.latest().folder.name in (["epoch-001"] if number < 5 else ["epoch-002"])
    assert said == []
    save_epoch(store, 2)
    assert store.latest().folder.name == "epoch-002"


@pytest.mark.parametrize("number", range(1, 4))
def test_a_disk_full_when_a_file_is_opened_is_an_error_and_the_earlier_one_stays(store, monkeypatch, number):
    earlier = contents(save_epoch(store, 1))
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", full_disk_at_call(number, Path.open))
        with pytest.raises(CheckpointError, match="the disk is full"):
            save_epoch(store, 2)
    assert names(store) == ["best", "epoch-001", "last"]
    assert contents(store.folder / "epoch-001") == earlier


def test_a_disk_that_is_full_before_the_first_checkpoint_leaves_nothing(store, monkeypatch):
    monkeypatch.setattr(os, "fsync", full_disk_at_call(1, os.fsync))
    with pytest.raises(CheckpointError, match="the disk is full"):
        save_epoch(store, 1)
    assert names(store) == []


def test_a_file_size_limit_is_an_error_and_the_earlier_one_stays(store):
    """The kernel itself refuses, in a child: the limit cannot be lifted again by everyone."""
    save_epoch(store, 1)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
            save_epoch(store, 2)
        except CheckpointError as error:
            code = 42 if "File too large" in str(error) else 2
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 42
    assert names(store) == ["best", "epoch-001", "last"]
    assert store.latest().folder.name == "epoch-001"


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="cannot save a checkpoint"):
        save_epoch(CheckpointStore(tmp_path / "file" / "checkpoints", print), 1)


def test_every_file_is_json_safetensors_or_loads_with_weights_only(store):
    folder = save_epoch(store, 1)
    assert sorted(path.name for path in folder.iterdir()) == ["manifest.json", "model.safetensors", "state.pt"]
    assert json.loads((folder / "manifest.json").read_text())["step"] == 10
    assert load_file(folder / "model.safetensors").keys() == WEIGHTS.keys()
    assert torch.load(folder / "state.pt", weights_only=True).keys() == STATE.keys()


@pytest.mark.parametrize(("umask", "file_mode", "folder_mode"), [(0o022, 0o644, 0o755), (0o077, 0o600, 0o700)])
def test_modes_follow_the_umask(store, umask, file_mode, folder_mode):
    before = os.umask(umask)
    try:
        folder = save_epoch(store, 1)
    finally:
        os.umask(before)
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {file_mode}
    assert stat.S_IMODE(folder.stat().st_mode) == stat.S_IMODE(store.folder.stat().st_mode) == folder_mode


def test_channels_last_tied_and_sliced_tensors_come_back(store):
    image = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
    tied = torch.randn(4, 4)
    weights = {"image": image, "first": tied, "second": tied, "row": tied[1], "turned": tied.t(), "half": tied.bfloat16()}
    store.save("epoch-001", {"model": weights}, {}, step=1, epochs_done=1, best=None)
    loaded = store.latest().weights()
    assert loaded.keys() == weights.keys()
    assert all(loaded[name].dtype == weights[name].dtype and torch.equal(loaded[name], weights[name]) for name in weights)
