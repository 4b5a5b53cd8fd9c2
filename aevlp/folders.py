"""Where things that outlive a run are kept."""

from __future__ import annotations

import os
from pathlib import Path


def cache_root() -> Path:
    """$AEVLP_CACHE, else ~/.cache/aevlp: embeddings and decoded images, all of which can be computed again."""
    return expanded(os.environ.get("AEVLP_CACHE") or "~/.cache/aevlp")


def expanded(path: str | Path) -> Path:
    """The path with `~` as the home folder; that of an unknown user stays as it is, to be missed like any other path."""
    return Path(os.path.expanduser(path))
