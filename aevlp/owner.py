"""Who works on what several processes share, a trial or images to encode, and whether that process still lives."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from functools import cache
from pathlib import Path
from typing import Any

import psutil

SEEN_SECONDS = 60.0
"""How often an owner writes down that it lives."""
LOST_SECONDS = 600.0
"""Silence after which an owner on another machine counts as dead."""


def this_process() -> dict[str, Any]:
    """Machine or container, boot, process and its start: a process id alone is soon used by another."""
    return _process(os.getpid())  # a fork is another process


@cache
def _process(number: int) -> dict[str, Any]:
    boot = Path("/proc/sys/kernel/random/boot_id")
    # Containers of one machine may share its name, and each has process ids of its own: to each other they are other machines.
    host = [socket.gethostname()]
    with contextlib.suppress(OSError):  # no Linux
        host.append(os.readlink("/proc/self/ns/pid"))
    return {
        "host": " ".join(host),
        "boot": boot.read_text().strip() if boot.exists() else "",
        "pid": number,
        "started": psutil.Process(number).create_time(),
    }


def is_dead(owner: dict[str, Any], seen: float) -> bool:
    """Whether the process has ended, as far as it can be known from here; `seen` is when it last said that it lives."""
    here = this_process()
    if owner["host"] != here["host"]:
        return time.time() - seen > LOST_SECONDS
    if owner["boot"] != here["boot"]:
        return True
    try:
        process = psutil.Process(owner["pid"])
        return abs(process.create_time() - owner["started"]) > 1 or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
    except psutil.AccessDenied:  # it lives, as somebody else
        return False
