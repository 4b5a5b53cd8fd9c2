"""The processes that decode images: how they begin, which signals reach them, and what is told when one of them dies."""

from __future__ import annotations

import contextlib
import multiprocessing
import pickle
import re
import signal
import tempfile
import threading
import warnings
from collections.abc import Iterator
from multiprocessing.connection import Listener, arbitrary_address  # type: ignore[attr-defined]
from types import FrameType
from typing import Any

import psutil
import torch
from torch.utils.data import DataLoader

from aevlp.config import registry
from aevlp.config.errors import WORKER_DIED, ConfigError, DataError, WorkerDiedError

# Ctrl-C, a lost terminal, torchrun and Slurm signal whole groups of processes; the main one saves first, then ends the others.
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
_NOT_READY = f"{WORKER_DIED} before it was ready; it may have said why above, and trainer.num_workers=0 does without"


def check_sockets() -> None:
    """Refuse a temporary folder in which workers could not open the sockets through which batches come; they would hang.

    Raises:
        ConfigError: its path is too long, or nothing can be made there.
    """
    # Names of Python's sockets are 32 bytes longer than the folder's; those of torch 34, where it uses them.
    longer = "--" if torch.multiprocessing.get_sharing_strategy() == "file_system" else ""
    try:
        Listener(arbitrary_address("AF_UNIX") + longer).close()
    except OSError as error:
        folder = tempfile.gettempdir()
        raise ConfigError(
            f"TMPDIR={folder}: workers can open no sockets in a folder whose name has {len(folder)} characters ({error}); "
            "set TMPDIR to a short one, such as /tmp, or trainer.num_workers=0"
        ) from error


def refuse_in_worker() -> None:
    """ConfigError in a process that only imports the main program, where that has no main guard."""
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise ConfigError(
            'a worker process runs this program again: put what it does under `if __name__ == "__main__":`, '
            "or set trainer.num_workers=0"
        )


def start(loader: DataLoader) -> Iterator[Any]:
    """Begin an epoch of a loader, and its workers where they do not run yet.

    Raises:
        DataError: the dataset cannot be sent to workers.
        WorkerDiedError: a worker died before it was told what to do.
    """
    if not loader.num_workers:
        return iter(loader)
    multiprocessing.set_forkserver_preload(["torch"])  # once, and not by each worker
    # What is blocked stays so in new processes: in workers until they have their own handlers, which is seconds after their
    # start where they are not forked, and in the helpers of multiprocessing for good.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        with warnings.catch_warnings(), _deaths_end_the_start():
            warnings.filterwarnings("ignore", "Got pickle error")  # which is told below
            return iter(loader)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise DataError(
            f"the dataset cannot be sent to worker processes ({error}): its classes must not be nested in functions, nor hold "
            "open files or lambdas; or set trainer.num_workers=0"
        ) from error
    except (BrokenPipeError, EOFError) as error:
        raise WorkerDiedError(_NOT_READY) from error
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _deaths_end_the_start() -> Iterator[None]:
    """While processes are spawned: Python would write to one that has died for ever, as it holds the pipe's other end itself."""
    if multiprocessing.get_start_method() != "spawn" or threading.current_thread() is not threading.main_thread():
        yield
        return
    this, starting, before = psutil.Process(), True, signal.getsignal(signal.SIGCHLD)
    others = this.children()

    def handler(number: int, frame: FrameType | None) -> None:
        if callable(before):
            before(number, frame)
        new = set(this.children()) - set(others) if starting else set()
        if any(child.is_running() and child.status() == psutil.STATUS_ZOMBIE for child in new):
            raise WorkerDiedError(_NOT_READY)

    signal.signal(signal.SIGCHLD, handler)
    try:
        yield
    finally:
        starting = False
        if signal.getsignal(signal.SIGCHLD) is handler:  # else torch has put its own before it
            signal.signal(signal.SIGCHLD, before)


def leave_signals_to_main(_: int) -> None:
    """What a worker does first. One that the main process does not speak to any more ends by an alarm."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(60))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)


class Plugins:
    """Pickled before what a plugin defines, it loads the files of --plugin wherever that is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _load_plugins, (tuple(registry.plugin_files),)


def _load_plugins(files: tuple[str, ...]) -> Plugins:
    for file in files:
        if file not in registry.plugin_files:
            registry.load_plugin(file)
    return Plugins()


@contextlib.contextmanager
def deaths_told() -> Iterator[None]:
    """While this lasts, the death of a worker is a WorkerDiedError; torch raises it wherever the main thread is."""
    try:
        yield
    except RuntimeError as error:
        found = re.match(r"DataLoader worker \(pid[^)]*\) (.*)", str(error), re.DOTALL)
        if found is None:
            raise
        raise WorkerDiedError(_advice(found[1])) from error


def _advice(end: str) -> str:
    if "Bus error" in end:
        return f"{WORKER_DIED}: /dev/shm is full; make it larger (docker run --shm-size=2g), or trainer.num_workers smaller"
    code = re.search(r"exit code (\d+)", end)
    if code:
        return f"{WORKER_DIED}: it ended with exit code {code[1]}; trainer.num_workers=0 shows why"
    return (
        f"{WORKER_DIED}, most likely because memory ran out: make trainer.num_workers, trainer.batch_size or "
        "trainer.image_cache_mb smaller"
    )
