"""The process of one training run of a trial: the ordinary `--resume`, stopped cleanly when the study's process has died."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time


def main() -> int:
    """Run `--resume` with the words that follow the parent's process id."""
    parent, *words = sys.argv[1:]
    threading.Thread(target=_stop_without, args=(int(parent),), daemon=True).start()
    from aevlp.cli import main as command_line

    return command_line(words)


def _stop_without(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    raise SystemExit(main())
