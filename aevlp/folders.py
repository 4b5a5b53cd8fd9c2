"""Where things are kept, and paths as their users mean them."""

from __future__ import annotations

import os
import re
from pathlib import Path

from aevlp.config.errors import ConfigError

_PACKAGE = Path(__file__).resolve().parent
SHIPPED = _PACKAGE / "shipped"
"""configs/, experiments/ and sweeps/ as package data: links to them in a checkout, copies in an installed package."""


def checkout() -> Path | None:
    """The folder of run.py; None where the package was installed from a wheel."""
    # Where there are no symbolic links, git writes small files in their stead.
    copied = (SHIPPED / "configs").is_dir() and not (SHIPPED / "configs").is_symlink()
    return None if copied else _PACKAGE.parent


def python_path() -> str:
    """PYTHONPATH of a process of one's own, which finds the package of this checkout from any folder."""
    return os.pathsep.join(str(path) for path in (checkout(), os.environ.get("PYTHONPATH")) if path)


def user_path(path: str | Path, where: str = "") -> Path:
    """The path with `~` and `~name` as home folders; ConfigError, naming `where` it was given, for one that is not known."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        prefix = f"{where}: " if where else ""
        raise ConfigError(f"{prefix}{path}: no home folder is known for {Path(path).parts[0]}; write the path in full") from error


def cache_root() -> Path:
    """$AEVLP_CACHE, else ~/.cache/aevlp: embeddings and decoded images, all of which can be computed again."""
    return user_path(os.environ.get("AEVLP_CACHE") or "~/.cache/aevlp", "AEVLP_CACHE")


def runs_root() -> Path:
    """$AEVLP_RUNS, or runs/ in the working folder."""
    return user_path(os.environ.get("AEVLP_RUNS") or "runs", "AEVLP_RUNS")


def data_root() -> Path | None:
    """$AEVLP_DATA, the folder above those of the datasets; None where it is not set."""
    given = os.environ.get("AEVLP_DATA")
    return user_path(given, "AEVLP_DATA") if given else None


def leads_outside(name: str) -> bool:
    """Whether a file name is absolute or climbs out of its folder, on any system."""
    parts = name.replace("\\", "/").split("/")
    is_home = len(parts) > 1 and parts[0].startswith("~")
    return ".." in parts or name.startswith(("/", "\\")) or is_home or re.match("[A-Za-z]:", name) is not None
