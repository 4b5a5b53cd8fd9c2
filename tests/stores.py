"""For tests of checkpoints: small ones, and what a folder of them holds."""

from __future__ import annotations

from pathlib import Path

import torch

from aevlp.runs.checkpoints import CheckpointStore

WEIGHTS = {"a": torch.arange(6.0).view(2, 3), "steps": torch.tensor(7)}
STATE = {"progress": {"step": 3, "losses": [(0.5, 16)], "best": None}, "pseudo": torch.ones(2, 3, dtype=torch.int8)}


def save_epoch(store: CheckpointStore, epoch: int, best: int | None = None, state=STATE) -> Path:
    """Save a checkpoint of 10 steps an epoch; `best` is the epoch itself unless given."""
    name = f"epoch-{epoch:03d}"
    store.save(name, {"model": WEIGHTS}, state, step=10 * epoch, epochs_done=epoch, best=f"epoch-{best or epoch:03d}")
    return store.folder / name


def names(store: CheckpointStore) -> list[str]:
    """Names of everything in the folder, sorted."""
    return sorted(path.name for path in store.folder.iterdir())


def contents(folder: Path) -> dict[str, bytes]:
    """Content of each file of a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}
