"""What an official release says, read from its own layout: the input of `run.py prepare`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from aevlp.command import COMMAND
from aevlp.config.errors import DataError
from aevlp.input import read_text


@dataclass(frozen=True)
class OfficialSplit:
    """Image names (N,) relative to the image folder, and labels (N,C) in {0,1}, rows and dtype as the community has them."""

    names: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Official:
    """Both official parts: `train`, and `val`, which this literature tests on."""

    class_names: list[str]
    train: OfficialSplit
    val: OfficialSplit
    images: Path
    """Folder that the image names are relative to."""
    published_sizes: tuple[int, int] | None = None
    """Images of train and val in the published protocol; None where there is none."""
    notes: list[str] = field(default_factory=list)


def require_layout(name: str, root: Path, needed: Sequence[str | Path], layout: str) -> None:
    """Raise DataError, showing the expected tree and the command, unless all `needed` paths are below `root`."""
    absent = [str(path) for path in needed if not os.path.exists(root / path)]
    if absent:
        found = "there is no such folder" if not os.path.isdir(root) else f"{absent[0]} is not in it, or may not be read"
        raise DataError(
            f"{root}: not the root of {name}: {found}. Expected:\n{layout.strip(chr(10))}\n"
            f"  and then: {COMMAND} prepare {name} --root FOLDER"
        )


def read_lines(path: Path) -> list[str]:
    """Non-blank lines of a text file; DataError where it cannot be read."""
    try:
        return [line for line in read_text(path).splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
