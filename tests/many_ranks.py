"""Run a function on several ranks: forked processes that talk over gloo, so that torch is not imported again."""

from __future__ import annotations

import multiprocessing
import os
import socket
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from aevlp import ranks


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def environment(rank: int, world: int, port: int) -> dict[str, str]:
    names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "LOCAL_WORLD_SIZE": world, "MASTER_PORT": port}
    return {"MASTER_ADDR": "127.0.0.1", "OMP_NUM_THREADS": "1"} | {name: str(value) for name, value in names.items()}


def on_ranks(world: int, folder: Path, function: Callable[[], Any], *, joined: bool = True) -> list[Any]:
    """What `function()` returned on each rank: tensors, numbers, strings. A rank that raised gives its traceback as a str.

    With `joined=False` the function has to join by itself.
    """
    port = free_port()

    def run(rank: int) -> None:
        os.environ |= environment(rank, world, port)
        torch.set_num_threads(1)
        try:
            if joined:
                with ranks.join(world):
                    result = function()
            else:
                result = function()
        except BaseException:
            result = traceback.format_exc()
        torch.save(result, folder / f"rank-{rank}.pt")
        os._exit(0)

    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=run, args=(rank,)) for rank in range(world)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(90)
        assert process.exitcode == 0, f"a rank hangs or was killed: {process.exitcode}"
    return [torch.load(folder / f"rank-{rank}.pt", weights_only=True) for rank in range(world)]
