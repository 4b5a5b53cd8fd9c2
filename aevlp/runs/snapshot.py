"""What a run ran on: versions, machine, git commit and uncommitted changes. No environment variables, and no secrets."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from aevlp.folders import checkout
from aevlp.masking import mask_known, mask_words

PACKAGES = (
    "torch", "torchvision", "transformers", "accelerate", "timm", "wandb", "optuna",
    "numpy", "scikit-learn", "pillow", "pydantic", "safetensors",
)  # fmt: skip
MAX_DIFF_BYTES = 500_000
GIT_SECONDS = 10.0


def environment() -> dict[str, Any]:
    """Plain data for environment.json. Values that cannot be told are None."""
    return {
        "command": [Path(sys.argv[0]).name, *mask_words(sys.argv[1:])],
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(),
        "cpu_count": os.cpu_count(),
        "packages": {name: _version(name) for name in ("aevlp", *PACKAGES)},
        "git": _git(root) if (root := checkout()) is not None else None,
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
    """The commit, and what was changed since (None where git does not say); None where `root` is no checkout of its own."""
    top, _, commit = (_ask_git(root, "rev-parse", "--show-toplevel", "HEAD") or b"").strip().rpartition(b"\n")
    if not top or Path(os.fsdecode(top)).resolve() != root.resolve():
        return None
    # The user's colours, own diff program and converters would change what is recorded, or fail.
    diff = _ask_git(root, "diff", "--no-color", "--no-ext-diff", "--no-textconv", "HEAD")
    return {
        "commit": commit.decode(), "dirty": None if diff is None else bool(diff),
        "diff": None if diff is None else mask_known(diff.decode(errors="replace")),
    }  # fmt: skip


def _ask_git(root: Path, *words: str) -> bytes | None:
    """The first MAX_DIFF_BYTES of what git prints; None where it fails, is absent or takes too long."""
    # In a hook these name another repository. Those of the configuration may be what makes this one readable.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_") or k.startswith("GIT_CONFIG")}
    command = ["git", "--no-pager", "--no-optional-locks", "-c", "core.fsmonitor=false", "-C", str(root), *words]
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment,
            start_new_session=True,  # to end it with the programs it started
        )  # fmt: skip
    except OSError:
        return None
    assert process.stdout is not None

    def end() -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    late = threading.Timer(GIT_SECONDS, end)
    late.start()
    with process:
        try:
            text = process.stdout.read(MAX_DIFF_BYTES + 1)
            if len(text) > MAX_DIFF_BYTES:
                end()
                return text[:MAX_DIFF_BYTES]
            return text if process.wait() == 0 else None
        finally:
            late.cancel()
