"""Errors a user can act on. Each message says what is wrong, where, and what to do next."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

WORKER_DIED = "a loader worker died"  # how the message of a WorkerDiedError begins
GPU_FULL = "the GPU ran out of memory; free some, or set {} to a smaller number"
MAX_KNOWN = 1000  # names that a word is compared with, and letters of it that are compared: both cost more than their number
MAX_LETTERS = 100


class AevlpError(Exception):
    """Base of all errors that the command line prints without a traceback."""

    exit_code = 1
    """Of the command that ends with it."""
    silent: bool | None = None
    """Whether another rank of the run reports it; None: all ranks have this error, and rank 0 reports it."""


class ConfigError(AevlpError, ValueError):
    """The configuration or the command line is wrong."""

    exit_code = 2
    """Wrong usage or configuration."""


class NoFullLabelsError(ConfigError):
    """Full labels are asked for, and the data do not tell them."""


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


def initials(name: str) -> str:
    """Those of a name of several words, as `lr` of `learning_rate`; else nothing."""
    return "".join(part[:1] for part in name.split("_")) if "_" in name else ""


def nearest(name: str, known: Iterable[str]) -> list[str]:
    """At most two of the known names that are like this one, or have it for their initials."""
    known, name = sorted(known), name[:MAX_LETTERS]
    if len(known) > MAX_KNOWN:
        known = [other for other in known if other[:2] == name[:2]][:MAX_KNOWN]
    same = [other for other in known if initials(other) == name]
    return (same or difflib.get_close_matches(name, known, n=2, cutoff=0.6))[:2]


def suggest(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'gpr'?`, or the known names where none is near and they are not too many."""
    known = sorted(known)
    near = nearest(name, known)
    if near:
        return f"; did you mean {' or '.join(map(repr, near))}?"
    return f"; known: {', '.join(known)}" if 0 < len(known) <= 25 else ""


def in_one_line(error: Exception) -> str:
    """The message as part of a line: its own lines joined by `; `."""
    return "; ".join(str(error).splitlines())


def shortened(text: str, most: int = 300) -> str:
    """Text of at most `most` letters, such as a value that an error repeats."""
    return text if len(text) <= most else f"{text[:most]}..."
