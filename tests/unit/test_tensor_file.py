"""Checkpoints of strangers: nothing is unpacked that a file does not itself take up on the disk."""

import zipfile

import pytest
import torch

from aevlp.config.errors import CheckpointError
from aevlp.inference.published import read_published
from aevlp.tensor_file import load_tensors


def test_what_torch_writes_is_read(tmp_path):
    torch.save({"a": torch.arange(3), "b": [1, None, "x"]}, tmp_path / "a.pt")
    found = load_tensors(tmp_path / "a.pt")
    assert torch.equal(found["a"], torch.arange(3))
    assert found["b"] == [1, None, "x"]
    torch.save({"a": torch.arange(3)}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    assert torch.equal(load_tensors(tmp_path / "old.pt")["a"], torch.arange(3))


def test_a_packed_file_is_not_unpacked(tmp_path, monkeypatch):
    torch.save({"head.weight": torch.zeros(100_000)}, tmp_path / "a.pt")
    with zipfile.ZipFile(tmp_path / "a.pt") as whole, zipfile.ZipFile(tmp_path / "b.pt", "w", zipfile.ZIP_DEFLATED) as packed:
        for member in whole.infolist():
            packed.writestr(member.filename, whole.read(member))
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("unpacked"))
    with pytest.raises(ValueError, match="unpacks to 400,"):
        load_tensors(tmp_path / "b.pt")
    with pytest.raises(CheckpointError, match=r"b\.pt: was not loaded: it cannot be read"):
        read_published(tmp_path / "b.pt")
