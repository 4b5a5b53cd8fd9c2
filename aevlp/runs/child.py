"""A training run in a process of its own: the ordinary `--resume`, stopped cleanly when the process that began it has died."""

from __future__ import annotations

import json
import os
import re
import runpy
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from aevlp.config import registry
from aevlp.config.errors import WORKER_DIED
from aevlp.folders import python_path
from aevlp.runs.folder import RUN_ID

OUTPUT = "output.log"
SAME_FAILURES = 3
GAVE_UP = f"not begun, as {SAME_FAILURES} runs failed alike"
_began_at: dict[Path, int] = {}
"""Size of the output of each run when this process began it: what stands before is of earlier attempts."""
# What names one run in a message: its folder, or of a study the number of its trial and the fresh seed.
_NAMES_RUN = re.compile(rf"{RUN_ID}|\.t\d{{4,}}(\.s\d+)?")


def start(run: Path, environment: dict[str, str], places: Mapping[str, str | None] | None = None) -> subprocess.Popen[bytes]:
    """Begin or continue the run in `run`, whose terminal output goes to its output.log; `environment` comes on top.

    `places` says where its data lie now, such as {"dataset.root": FOLDER}, where that is not as in its config.yaml.
    """
    _began_at[run] = _size(run / OUTPUT)
    sets = [word for path, place in (places or {}).items() for word in ("--set", f"{path}={json.dumps(place)}")]
    plugins = [word for file in registry.plugin_files for word in ("--plugin", file)]
    with (run / OUTPUT).open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "aevlp.runs.child", str(os.getpid()), *plugins, "--resume", str(run), *sets],
            stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            env=os.environ | environment | {"PYTHONPATH": python_path()},
            start_new_session=True,  # Ctrl-C comes to the parent, which stops the others
        )  # fmt: skip


@dataclass(frozen=True)
class Failure:
    """Why a run ended before its end."""

    reason: str
    may_pass: bool
    """Whether another attempt may come further: it was killed or crashed, instead of failing by what it was told."""


def fail_alike(reasons: Sequence[str | None]) -> bool:
    """Whether the last SAME_FAILURES runs failed for one reason, such as a full disk, which no other run would escape.

    Args:
        reasons: of each run that has ended, whatever it calls that run; None or empty of one that did not fail.
    """
    latest = [_NAMES_RUN.sub("RUN", reason or "") for reason in reasons[-SAME_FAILURES:]]
    return len(latest) == SAME_FAILURES and bool(latest[0]) and len(set(latest)) == 1


def why(code: int, run: Path) -> Failure:
    """What an exit code and the last words of a run mean, those it said since `start`."""
    try:
        lines = (run / OUTPUT).read_bytes()[_began_at.get(run, 0) :].decode(errors="replace").strip().splitlines()
    except OSError:  # the folder was removed
        lines = []
    said = list(takewhile(lambda line: line.startswith("error: "), reversed(lines)))[::-1]
    if code in (1, 2) and said:
        reason = "; ".join(line.removeprefix("error: ") for line in said)
        return Failure(reason, may_pass=reason.startswith(WORKER_DIED))
    if code < 0:
        return Failure(f"ended by {signal.Signals(-code).name}", may_pass=True)
    return Failure(f"exit code {code}: {lines[-1] if lines else 'no output'}"[:300], may_pass=True)


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def main() -> None:
    """Run `--resume` with the words that follow the parent's process id."""
    parent, *words = sys.argv[1:]
    threading.Thread(target=_stop_without, args=(int(parent),), daemon=True).start()
    sys.argv[1:] = words
    runpy.run_module("aevlp", run_name="__main__")


def _stop_without(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
