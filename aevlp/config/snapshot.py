"""What a run ran on: versions, machine, git commit and uncommitted changes. No environment variables, and no secrets."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from aevlp.masking import mask_known, mask_words

PACKAGES = (
    "torch", "torchvision", "transformers", "accelerate", "timm", "wandb", "optuna",
    "numpy", "scikit-learn", "pillow", "pydantic", "safetensors",
)  # fmt: skip
MAX_DIFF_CHARACTERS = 500_000


def environment() -> dict[str, Any]:
    """Plain data for environment.json. Values that cannot be told are None."""
    return {
        "command": [Path(sys.argv[0]).name, *mask_words(sys.argv[1:])],
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(),
        "cpu_count": os.cpu_count(),
        "packages": {name: _version(name) for name in ("aevlp", *PACKAGES)},
        "git": _git(Path(__file__).resolve().parents[2]),
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str | None:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), None)


def _git(root: Path) -> dict[str, Any] | None:
    def ask(*words: str) -> str:
        return subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=True, timeout=10).stdout

    try:
        commit = ask("rev-parse", "HEAD").strip()
        diff = ask("diff", "HEAD")
    except (OSError, subprocess.SubprocessError):
        return None  # not a git checkout, or no git: an installed package is told by its version
    return {"commit": commit, "dirty": bool(diff), "diff": mask_known(diff[:MAX_DIFF_CHARACTERS])}
