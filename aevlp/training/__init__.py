"""Training: the loop, its schedules, checkpoints and signals."""

from aevlp.system import require_posix

require_posix()
