"""The processes of one run, its ranks. In a single process everything here is the identity.

Under torchrun each rank runs the whole program on its share of every batch; rank 0, the main one, writes the run folder and
speaks. Functions marked *collective* exchange data: every rank has to call them at the same place.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from aevlp.config.errors import AevlpError, ConfigError, TrainingError
from aevlp.folders import checkout

# torch is imported where it is used: commands that only look for a run ask for their rank as well.
if TYPE_CHECKING:
    from torch import Tensor

# A rank that ends is noticed at once; this is how long the others wait for one that hangs.
TIMEOUT = datetime.timedelta(minutes=30)

_COMPANIONS = ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
_PROGRAM = "run.py" if checkout() else "-m aevlp"
_LAUNCH = f"start with `torchrun --nproc_per_node=N {_PROGRAM} ...`, which sets them, or unset WORLD_SIZE for a single process"


def count() -> int:
    """Number of ranks."""
    dist = sys.modules.get("torch.distributed")  # a process without it has joined no others
    return dist.get_world_size() if dist is not None and dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Number of this rank, from 0."""
    return sys.modules["torch.distributed"].get_rank() if count() > 1 else 0


def is_main() -> bool:
    """Whether this is the rank that writes and speaks."""
    return rank() == 0


def announced() -> int:
    """Number of ranks that the environment speaks of.

    Raises:
        ConfigError: variables are missing, or are no numbers.
    """
    text = os.environ.get("WORLD_SIZE", "1")
    if text == "1":
        return 1
    missing = [name for name in _COMPANIONS if not os.environ.get(name)]
    if missing:
        raise ConfigError(f"WORLD_SIZE={text} is set, but not {', '.join(missing)}; {_LAUNCH}")
    for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK", "MASTER_PORT"):
        if not os.environ[name].isdecimal():
            raise ConfigError(f"{name}={os.environ[name]} must be a number; {_LAUNCH}")
    if not int(os.environ["RANK"]) < int(text):
        raise ConfigError(f"RANK={os.environ['RANK']} must be below WORLD_SIZE={text}; {_LAUNCH}")
    return int(text)


def require(*, many: bool) -> None:
    """ConfigError where several ranks are announced to a command that is of one process; alone, LOCAL_RANK says nothing.

    accelerate would begin a process group for LOCAL_RANK alone, which torchrun sets for one process as well.
    """
    if announced() == 1:
        os.environ.pop("LOCAL_RANK", None)
    elif not many:
        raise ConfigError("this command is of one process: start it without torchrun, or unset WORLD_SIZE")


@contextlib.contextmanager
def join(batch_size: int) -> Iterator[None]:
    """Take part in the run that the environment (RANK, WORLD_SIZE and so on) describes; leaves it at the end.

    Of errors that several ranks raise, the first is reported; `AevlpError.silent` is set on the others.

    Raises:
        ConfigError: the environment is incomplete, or the batch is smaller than the number of ranks.
        TrainingError: the other ranks cannot be reached, or one of them has ended.
    """
    world = announced()
    if batch_size < world:
        raise ConfigError(f"trainer.batch_size: {batch_size} images cannot be shared by {world} ranks; raise it or use fewer")
    import torch.distributed as dist

    if world == 1 or dist.is_initialized():
        yield
        return
    store = _connect()
    try:
        yield
    except AevlpError as error:
        error.silent = not _first_to_fail(store)
        raise
    except RuntimeError as error:
        first = _first_to_fail(store)
        if not (isinstance(error, dist.DistError) or "gloo" in str(error).lower()):
            raise
        lost = TrainingError(f"rank {rank()}: another rank has ended or does not answer; its own message says why")
        lost.silent = not first
        raise lost from error
    except BaseException:
        _first_to_fail(store)  # Python prints its traceback
        raise
    dist.destroy_process_group()


def _connect() -> Any:
    import torch
    import torch.distributed as dist

    local, gpus = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if gpus and local >= gpus:
        raise ConfigError(f"LOCAL_RANK={local}: this machine has {gpus} GPUs; start at most so many processes on it")
    if gpus:
        torch.cuda.set_device(local)
    try:
        store, number, world = next(dist.rendezvous("env://", timeout=TIMEOUT))
        # What is exchanged between steps stays on the host, so that it does not wait for the GPU.
        backend = "cpu:gloo,cuda:nccl" if gpus else "gloo"
        dist.init_process_group(backend, store=store, rank=number, world_size=world, timeout=TIMEOUT)
    except RuntimeError as error:
        where = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        raise TrainingError(
            f"rank {os.environ['RANK']}: no connection with the others over {where}: {_first_line(error)}"
        ) from error
    # Accelerate would count cores, which fails in some containers, and speak about it on every rank.
    os.environ.setdefault("OMP_NUM_THREADS", str(torch.get_num_threads()))
    return store


def _first_to_fail(store: Any) -> bool:
    try:
        return store.add("aevlp/failed", 1) == 1
    except RuntimeError:  # the rank that keeps the store has ended
        return True


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


def share(size: int, of_rank: int | None = None) -> slice:
    """The contiguous part of `size` things in a row that belongs to a rank; shares differ by one at most."""
    number, world = rank() if of_rank is None else of_rank, count()
    return slice(size * number // world, size * (number + 1) // world)


def add_up(tensor: Tensor) -> Tensor:
    """Collective. The sum over ranks, in place."""
    if count() > 1:
        import torch.distributed as dist

        dist.all_reduce(tensor)
    return tensor


def largest(number: int) -> int:
    """Collective. The largest of the ranks' numbers."""
    if count() == 1:
        return number
    import torch
    import torch.distributed as dist

    tensor = torch.tensor(number)
    dist.all_reduce(tensor, op=dist.ReduceOp.MAX)
    return int(tensor)


def from_main(value: Any) -> Any:
    """Collective. Rank 0's value."""
    if count() == 1:
        return value
    import torch.distributed as dist

    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def assemble(own: Tensor, rows: slice | Tensor, total: int) -> Tensor:
    """Collective. A table (total, ...) whose `rows` come from this rank's `own`, the others from the other ranks."""
    if count() == 1 and len(own) == total:
        return own
    import torch

    table = torch.zeros(total, *own.shape[1:], dtype=torch.uint8 if own.dtype is torch.bool else own.dtype, device=own.device)
    table[rows] = own.to(table.dtype)
    return add_up(table).to(own.dtype)
