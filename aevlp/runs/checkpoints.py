"""Checkpoints: folders written aside and renamed into place, with a manifest of sizes and hashes written last.

    checkpoints/epoch-003/            after epoch 3 and its validation
    checkpoints/epoch-004-step-120/   in mid-epoch, when a signal came
    checkpoints/last, best            links to two of them, or small files with their names where there are no links

Weights are safetensors, the rest is loaded with `weights_only=True`: a checkpoint cannot run code.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from aevlp import files, system
from aevlp.config.errors import CheckpointError, DataError
from aevlp.reading import open_regular, read_json
from aevlp.tensor_file import load_tensors

SCHEMA_VERSION = 2
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Checkpoint:
    """One complete checkpoint on disk."""

    folder: Path
    manifest: dict[str, Any]

    def weights(self, name: str = "model") -> dict[str, Tensor]:
        """Tensors of `<name>.safetensors`; CheckpointError where the file is something else."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        path = self.folder / f"{name}.safetensors"
        try:
            return load_file(path)
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            raise CheckpointError(f"{path}: cannot be read: {error}") from error

    def has(self, name: str) -> bool:
        """Whether there is a `<name>.safetensors`."""
        return f"{name}.safetensors" in self.manifest["files"]

    def state(self) -> dict[str, Any]:
        """Everything else; CheckpointError where the file holds more than plain data."""
        path = self.folder / "state.pt"
        try:
            state = load_tensors(path)
        except Exception as error:  # torch raises a dozen types here; none of them executed anything
            # Not the words of torch, which recommend to switch the check for pickled code off.
            raise CheckpointError(f"{path}: holds more than plain data, so it was not loaded ({type(error).__name__})") from error
        if not isinstance(state, dict):
            raise CheckpointError(f"{path}: holds no state, but {type(state).__name__}")
        return state


class CheckpointStore:
    """The checkpoints of one run. Keeps the last two and the best that each of them knows of, three at most."""

    def __init__(self, folder: Path, notify: Callable[[str], None]):
        self.folder, self.notify = folder, notify

    def save(
        self, name: str, weights: dict[str, dict[str, Tensor]], state: dict[str, Any],
        *, step: int, epochs_done: int, best: str | None,
    ) -> None:  # fmt: skip
        """Write checkpoint `name`, complete or not at all; `best` names the best one so far, possibly this one.

        Raises:
            CheckpointError: the disk is full or the folder not writable; earlier checkpoints are untouched.
        """
        from safetensors.torch import save

        target = self.folder / name
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            contents = {f"{part}.safetensors": save(_contiguous(tensors)) for part, tensors in weights.items()}
            buffer = io.BytesIO()
            torch.save(state, buffer)
            contents["state.pt"] = buffer.getvalue()
            manifest = {
                "schema_version": SCHEMA_VERSION, "step": step, "epochs_done": epochs_done, "best": best,
                "files": {file: {"bytes": len(c), "sha256": hashlib.sha256(c).hexdigest()} for file, c in contents.items()},
            }  # fmt: skip
            with files.replacing(target) as aside:
                aside.mkdir()
                for file, content in contents.items():
                    _write(aside / file, content)
                _write(aside / MANIFEST, json.dumps(manifest, indent=1).encode())
                system.sync_folder(aside)
                before = files.aside(target)
                if target.exists():  # the same position saved twice; or a damaged one, which this replaces
                    os.replace(target, before)
            files.remove(before)
            system.sync_folder(self.folder)
            self._settle(name, best)
        except OSError as error:
            what = "the disk is full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else str(error)
            raise CheckpointError(
                f"{self.folder / name}: cannot save a checkpoint: {what}; earlier ones are untouched"
            ) from error

    def latest(self) -> Checkpoint | None:
        """The newest complete checkpoint, None before the first; damaged ones are passed over, and said so.

        Raises:
            CheckpointError: there are checkpoints, but none is complete.
        """
        for checkpoint in self._newest_first():
            problem = _problem(checkpoint)
            if problem is None:
                return checkpoint
            self.notify(f"checkpoint {checkpoint.folder.name} is ignored: {problem}")
        if any(self.folder.glob("epoch-*")):
            raise CheckpointError(f"{self.folder}: no checkpoint is complete; remove the folder to train from the start")
        return None

    def best(self) -> Checkpoint | None:
        """The best checkpoint that the newest complete one knows of."""
        latest = self.latest()
        if latest is None or latest.manifest["best"] is None:
            return None
        folder = self.folder / latest.manifest["best"]
        if folder == latest.folder:  # whose files have been looked at already
            return latest
        checkpoint = Checkpoint(folder, _read_manifest(folder) or {})
        problem = _problem(checkpoint)
        if problem is not None:
            raise CheckpointError(f"{folder}: the best checkpoint cannot be used: {problem}")
        return checkpoint

    def _newest_first(self) -> list[Checkpoint]:
        found = [Checkpoint(folder, _read_manifest(folder) or {}) for folder in self.folder.glob("epoch-*")]
        # One without a manifest sorts first, so that `latest` tells of it.
        return sorted(
            found, key=lambda c: (not c.manifest, c.manifest.get("step", 0), c.manifest.get("epochs_done", 0)), reverse=True
        )

    def settle(self, latest: Checkpoint) -> None:
        """Do what was left to do when a process was killed just after it saved its newest checkpoint."""
        try:
            self._settle(latest.folder.name, latest.manifest["best"])
        except OSError as error:
            raise CheckpointError(f"{self.folder}: cannot be tidied up: {error.strerror}") from error

    def _settle(self, last: str, best: str | None) -> None:
        system.point(self.folder / "last", last)
        if best is not None:
            system.point(self.folder / "best", best)
        found = self._newest_first()
        recent = [checkpoint for checkpoint in found if checkpoint.manifest][:2]
        # Where the newest turns out to be damaged, the one before takes its place, and needs the best that it knows of. At most
        # three stay all the same: a best that is newer than the one before is the newest.
        kept = {best, *(checkpoint.folder.name for checkpoint in recent), *(checkpoint.manifest["best"] for checkpoint in recent)}
        for old in found:
            if old.folder.name not in kept:
                files.discard(old.folder)


def _contiguous(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    # safetensors refuses channels-last strides, and tensors that share memory.
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}


def _write(path: Path, content: bytes) -> None:
    files.write_content(path, content, sync=True)


def _read_manifest(folder: Path) -> dict[str, Any] | None:
    try:
        manifest = read_json(folder / MANIFEST)
    except (OSError, ValueError):
        return None
    return manifest if isinstance(manifest, dict) and _is_whole(manifest) else None


def _is_whole(manifest: dict[str, Any]) -> bool:
    files, best = manifest.get("files"), manifest.get("best", "")
    return (
        all(type(manifest.get(key)) is int for key in ("schema_version", "step", "epochs_done"))
        and isinstance(files, dict)
        and all(map(_is_name, files if best is None else [best, *files]))
        and all(isinstance(file, dict) and {"bytes", "sha256"} <= file.keys() for file in files.values())
    )


def _is_name(name: Any) -> bool:
    return isinstance(name, str) and name != "" and Path(name).name == name


def _problem(checkpoint: Checkpoint) -> str | None:
    if not checkpoint.manifest:
        return "it has no readable manifest"
    if checkpoint.manifest["schema_version"] != SCHEMA_VERSION:
        return f"it is of layout version {checkpoint.manifest['schema_version']}, this is {SCHEMA_VERSION}"
    for file, expected in checkpoint.manifest["files"].items():
        try:
            with open_regular(checkpoint.folder / file) as content:
                size = os.fstat(content.fileno()).st_size
                if size != expected["bytes"]:
                    return f"{file} has {size} bytes instead of {expected['bytes']}"
                if hashlib.file_digest(content, "sha256").hexdigest() != expected["sha256"]:
                    return f"{file} has changed since it was written"
        except FileNotFoundError:
            return f"{file} is missing"
        except (OSError, DataError) as error:
            return str(error)
    return None
