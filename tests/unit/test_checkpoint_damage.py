"""Damaged, half-written and malicious checkpoints: passed over or refused, never executed."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from stores import names, save_epoch

from aevlp import files
from aevlp.config.errors import CheckpointError
from aevlp.system import pointed


def test_best_is_what_the_newest_whole_checkpoint_says_not_what_a_damaged_one_said(store):
    save_epoch(store, 1)
    save_epoch(store, 2, best=2)
    (store.folder / "epoch-002" / "state.pt").write_bytes(b"")
    assert store.best().folder.name == "epoch-001"


def test_a_damaged_best_is_an_error(store):
    save_epoch(store, 1)
    save_epoch(store, 2, best=1)
    (store.folder / "epoch-001" / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"epoch-001.*model.safetensors is missing"):
        store.best()


@pytest.mark.parametrize("file", ["model.safetensors", "state.pt", "manifest.json"])
def test_a_truncated_file_means_the_previous_one_and_is_said(store, said, file):
    save_epoch(store, 1)
    damaged = save_epoch(store, 2) / file
    damaged.write_bytes(damaged.read_bytes()[:-2])
    assert store.latest().folder.name == "epoch-001"
    assert len(said) == 1
    assert said[0].startswith("checkpoint epoch-002 is ignored: ")
    assert ("manifest" if file == "manifest.json" else f"{file} has ") in said[0]


@pytest.mark.parametrize("file", ["model.safetensors", "state.pt"])
def test_a_changed_byte_means_the_previous_one_and_is_said(store, said, file):
    save_epoch(store, 1)
    path = save_epoch(store, 2) / file
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert store.latest().folder.name == "epoch-001"
    assert said == [f"checkpoint epoch-002 is ignored: {file} has changed since it was written"]


def test_no_changed_byte_of_a_manifest_is_more_than_a_checkpoint_passed_over(store, said):
    save_epoch(store, 1)
    path = save_epoch(store, 2) / "manifest.json"
    content = path.read_bytes()
    for position in range(len(content)):
        for bit in (0x01, 0x04, 0x80):
            path.write_bytes(content[:position] + bytes([content[position] ^ bit]) + content[position + 1 :])
            assert store.latest().folder.name in ("epoch-001", "epoch-002")
    assert said


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema_version": 1}', '"text"', "null"])
def test_a_manifest_of_another_shape_means_the_previous_one(store, said, text):
    save_epoch(store, 1)
    (save_epoch(store, 2) / "manifest.json").write_text(text)
    assert store.latest().folder.name == "epoch-001"
    assert said == ["checkpoint epoch-002 is ignored: it has no readable manifest"]


WRONG = {"best": [3, "", "../epoch-001", "a/b"], "step": ["1", None, 1.5, True], "epochs_done": [None], "schema_version": ["2"],
         "files": [[], {"../state.pt": {"bytes": 1, "sha256": ""}}, {"state.pt": {}}, {"state.pt": 1}]}  # fmt: skip


@pytest.mark.parametrize("key", WRONG)
def test_a_manifest_with_a_part_of_another_type_or_without_it_means_the_previous_one(store, said, key):
    save_epoch(store, 1)
    path = save_epoch(store, 2) / "manifest.json"
    whole = json.loads(path.read_text())
    for changed in [
        {name: value for name, value in whole.items() if name != key},
        *(whole | {key: value} for value in WRONG[key]),
    ]:
        path.write_text(json.dumps(changed))
        assert store.latest().folder.name == "epoch-001"
    assert set(said) == {"checkpoint epoch-002 is ignored: it has no readable manifest"}


@pytest.mark.parametrize("file", ["model.safetensors", "state.pt", "manifest.json"])
def test_a_missing_file_means_the_previous_one_and_is_said(store, said, file):
    save_epoch(store, 1)
    (save_epoch(store, 2) / file).unlink()
    assert store.latest().folder.name == "epoch-001"
    assert len(said) == 1


def test_another_layout_version_is_passed_over_and_said(store, said):
    save_epoch(store, 1)
    path = save_epoch(store, 2) / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema_version": 9}))
    assert store.latest().folder.name == "epoch-001"
    assert "version 9" in said[0]


def test_a_half_written_folder_is_passed_over_in_silence(store, said):
    save_epoch(store, 1)
    half = files.aside(store.folder / "epoch-002")
    half.mkdir()
    (half / "model.safetensors").write_bytes(b"half")
    assert store.latest().folder.name == "epoch-001"
    save_epoch(store, 2)
    assert store.latest().folder.name == "epoch-002"
    assert said == []


def test_what_was_left_to_do_after_a_save_is_done_when_the_run_goes_on(store):
    for number in (1, 2, 3):
        save_epoch(store, number, best=1)
    shutil.copytree(store.folder / "epoch-003", store.folder / "epoch-000")
    (store.folder / "epoch-000" / "manifest.json").unlink()  # killed while it was removed
    for link in ("last", "best"):
        (store.folder / link).unlink()
    store.settle(store.latest())
    assert names(store) == ["best", "epoch-001", "epoch-002", "epoch-003", "last"]
    assert pointed(store.folder / "last").name == "epoch-003"
    assert pointed(store.folder / "best").name == "epoch-001"


class Malicious:
    def __init__(self, canary: Path):
        self.canary = canary

    def __reduce__(self):
        return Path.touch, (self.canary,)


@pytest.mark.parametrize("content", [torch.zeros(2, 2), [1], "state", None])
def test_a_state_that_is_no_mapping_is_refused_with_a_true_manifest(store, content):
    folder = save_epoch(store, 1)
    torch.save(content, buffer := io.BytesIO())
    replace_state(folder, buffer.getvalue())
    with pytest.raises(CheckpointError, match=r"state\.pt: holds no state"):
        store.latest().state()


def replace_state(folder, content):
    """Another state.pt, and a manifest that fits it."""
    (folder / "state.pt").write_bytes(content)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["state.pt"] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize("format", ["torch", "pickle"])
def test_a_malicious_pickle_with_a_true_manifest_is_refused_and_not_executed(store, tmp_path, format):
    canary = tmp_path / "canary"
    folder = save_epoch(store, 1)
    buffer = io.BytesIO()
    (torch.save if format == "torch" else pickle.dump)({"progress": Malicious(canary)}, buffer)
    replace_state(folder, buffer.getvalue())
    with pytest.raises(CheckpointError, match="holds more than plain data, so it was not loaded"):
        store.latest().state()
    assert not canary.exists()
    pickle.loads(pickle.dumps(Malicious(canary)))
    assert canary.exists()  # it would have worked
