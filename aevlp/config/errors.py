"""Errors a user can act on. Each message says what is wrong, where, and what to do next."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

WORKER_DIED = "a loader worker died"  # how the message of a WorkerDiedError begins


class AevlpError(Exception):
    """Base of all errors that the command line prints without a traceback."""

    exit_code = 1
    silent: bool | None = None
    """Whether another rank of the run reports it; None: all ranks have this error, and rank 0 reports it."""


class ConfigError(AevlpError, ValueError):
    """The configuration or the command line is wrong."""

    exit_code = 2


class DataError(AevlpError, ValueError):
    """Images, labels or class names are missing, unreadable or inconsistent."""


class CheckpointError(AevlpError, RuntimeError):
    """A run folder or checkpoint cannot be read or written."""


class UnavailableError(AevlpError, RuntimeError):
    """Weights are neither on this machine nor reachable."""


class WorkerDiedError(AevlpError, RuntimeError):
    """A process that decodes images has died."""


class TrainingError(AevlpError, RuntimeError):
    """Training cannot go on, for example because the loss is not finite."""


def suggest(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'gpr'?`, or the known names where none is near and they are not too many."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=2, cutoff=0.6)
    if near:
        return f"; did you mean {' or '.join(map(repr, near))}?"
    return f"; known: {', '.join(known)}" if 0 < len(known) <= 25 else ""
