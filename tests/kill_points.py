"""A small run with pseudo-labels whose process is ended at a chosen effect on its files, and what going on comes to.

Everything happens in forks of this process, which has imported all that a run needs: a point takes a second, not ten.
"""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import small_runs as runs
import torch
from file_effects import Effects, watched

import aevlp
from aevlp.training.run import resume

KILLED = 137
SECONDS = 120  # for one fork, on a busy machine
# Four epochs: the best is the first, so that the fourth checkpoint has the second removed.
WORDS = (
    "loss=gpr", "labeler=damp", "labeler.encoder.source=bundled", "labeler.label_graph.enabled=false", "labeler.grid=2",
    "dataset.num_train=16", "dataset.num_val=10", "dataset.num_test=10", "trainer.batch_size=8", "trainer.epochs=4",
    "trainer.threads=1",
)  # fmt: skip
Point = tuple[int, bool]
"""Number of the effect; whether half of its content is written first."""


def begin() -> Path:
    """Train in a new folder."""
    return aevlp.train(runs.config(*WORDS)).run_dir


def go_on() -> Path:
    """What a user does about a run that was killed: resume it; where there is none, begin it."""
    found = list(Path(os.environ["AEVLP_RUNS"]).glob("[!.]*/config.yaml"))
    return resume(found[0].parent).run_dir if found else begin()


def left(root: Path) -> dict[str, Any]:
    """All that may not depend on having been killed: the outcome of the one run, and which files there are."""
    (run,) = [*(root / "runs").iterdir()]
    files = {str(path.relative_to(run)) for path in run.rglob("*")}
    cache = {str(path.relative_to(root)): path.read_bytes() for path in (root / "cache").rglob("*") if path.is_file()}
    return {"files": files, "cache": cache, **runs.outcome(run)}


def uninterrupted(root: Path) -> tuple[dict[str, Any], list[str]]:
    """What a run leaves that nobody ended, and the names of its effects. In this process, so that forks have all imports."""
    threads = torch.get_num_threads()
    root.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch, watched(Effects([root])) as effects:
        patch.setenv("AEVLP_RUNS", str(root / "runs"))
        patch.setenv("AEVLP_CACHE", str(root / "cache"))
        begin()
    torch.set_num_threads(threads)
    return left(root), effects.names


def points(names: list[str]) -> list[Point]:
    """Before each effect, and after half of each that writes content."""
    return [(i + 1, half) for i, name in enumerate(names) for half in ([False, True] if "write" in name.split()[0] else [False])]


def killed_and_gone_on(root: Path, point: Point, expected: dict[str, Any]) -> list[str]:
    """Run, end the process at `point`, go on in another; returns the differences to a run that nobody ended."""
    code, result = forked(root, lambda: _run_until(root, point))
    if code != KILLED:
        return [f"the run was not killed, but ended with {code}: {result}"]

    def run() -> list[str]:
        go_on()
        found = left(root)
        files = [f"{name}: in one of the two" for kind in ("files", "cache") for name in {*found[kind]} ^ {*expected[kind]}]
        return files + runs.differences(found, expected)

    code, result = forked(root, run)
    shutil.rmtree(root)
    return result if code == 0 else [f"going on ended with {code}: {result}"]


def _run_until(root: Path, point: Point) -> None:
    def act(number: int, _: str, half: Callable[[], Any] | None) -> None:
        if number == point[0]:
            if point[1] and half is not None:
                half()
            os._exit(KILLED)

    with watched(Effects([root], act)):
        begin()


def forked(root: Path, do: Callable[[], Any]) -> tuple[int, Any]:
    """Exit code and result of `do()` in a fork whose runs and cache are below `root`; in place of a result, a traceback."""
    root.mkdir(exist_ok=True)
    answer = root.with_name(f"{root.name}.answer")
    answer.unlink(missing_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        _answer(root, do, answer)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code, pickle.loads(answer.read_bytes()) if answer.exists() else f"ended with {code}"


def _answer(root: Path, do: Callable[[], Any], answer: Path) -> None:
    """The rest of the life of a fork."""
    code = 1
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(SECONDS)
        os.environ.update(AEVLP_RUNS=str(root / "runs"), AEVLP_CACHE=str(root / "cache"))
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        torch.set_num_threads(1)  # the threads of the process this was forked from are not here
        try:
            result, code = do(), 0
        except BaseException:
            result = traceback.format_exc()
        answer.write_bytes(pickle.dumps(result))
    finally:
        os._exit(code)
