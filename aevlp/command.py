"""How this program was called, as its messages name it."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from aevlp.folders import checkout

_CALLS: dict[tuple[str, ...], str] = {("aevlp", "__main__.py"): "python -m aevlp", ("bin", "aevlp"): "aevlp"}


def _call(program: Path, folder: Path | None) -> str:
    known = _CALLS.get(program.parts[-2:])
    if known is not None or folder is None:
        return known or "aevlp"
    is_there = program.resolve() == folder / "run.py"  # it may have been called from another folder
    return f"python {shlex.quote(str(program))}" if is_there else "python run.py"


COMMAND = _call(Path(sys.argv[0]), checkout())
"""What a user types before a verb: `python run.py`, with its folder if need be, `python -m aevlp` or `aevlp`."""
PROGRAM = COMMAND if COMMAND.startswith("python -m ") else COMMAND.removeprefix("python ")
"""The same as usage lines name it."""
