"""How this program was called, as its messages name it."""

from __future__ import annotations

import sys
from pathlib import Path

from aevlp.folders import checkout

_PROGRAM = Path(sys.argv[0])
_CALLS: dict[tuple[str, ...], str] = {("aevlp", "__main__.py"): "python -m aevlp", ("bin", "aevlp"): "aevlp"}

COMMAND = _CALLS.get(_PROGRAM.parts[-2:]) or ("python run.py" if checkout() else "aevlp")
"""What a user types before a verb: `python run.py`, `python -m aevlp` or `aevlp`."""
PROGRAM = COMMAND.replace("python run.py", "run.py")
"""The same as usage lines name it."""
