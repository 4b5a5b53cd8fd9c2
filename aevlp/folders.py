"""Where things that outlive a run are kept."""

from __future__ import annotations

import os
from pathlib import Path


def cache_root() -> Path:
    """$AEVLP_CACHE, else ~/.cache/aevlp: embeddings and decoded images, all of which can be computed again."""
    return Path(os.environ.get("AEVLP_CACHE") or "~/.cache/aevlp").expanduser()
