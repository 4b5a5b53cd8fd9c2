"""Files of `torch.save` that anybody may have written: plain data only, and no larger in memory than on disk."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import torch


def load_tensors(path: Path) -> Any:
    """What the file holds, on the CPU.

    Raises:
        ValueError: it declares more bytes than it has; torch itself packs nothing, so this is no file of its making.
        Exception: whatever torch raises, a dozen types, for a file that is damaged or holds more than plain data.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            declared = sum(member.file_size for member in archive.infolist())
        if declared > path.stat().st_size:
            raise ValueError(f"unpacks to {declared:,} bytes")
    return torch.load(path, map_location="cpu", weights_only=True)
