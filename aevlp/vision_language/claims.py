"""Which process encodes which images, where several fill one cache: a file for each chunk of images under way.

    claims/<store>/<first row>.<n>      host, boot, process and its start as JSON; touched while the work goes on

To make the file is to claim the chunk: of any number of processes one alone can, on a network disk as well, and no lock is held.
A claim is dead once its process is, where that can be seen from this machine, or after `LOST_SECONDS` of silence. Then the next n
is claimed: who removed a dead claim to make it anew could remove a living one. The worst that can happen is that two encode the
same images and write the same rows: so where no claims can be made, everything is encoded as if nobody else did.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path

from aevlp import files
from aevlp.folders import cache_root
from aevlp.owner import LOST_SECONDS, SEEN_SECONDS, is_dead, this_process
from aevlp.system import give_name


class Claims:
    """Claims of this process on chunks of one list of images, each known by its first row.

    `store` names the list; without one nothing is shared, and every chunk is free.
    """

    def __init__(self, store: str | None):
        self.folder = None if store is None else cache_root() / "claims" / store
        self._held: dict[int, Path] = {}
        self._kept = time.monotonic()

    def take(self, chunk: int) -> bool:
        """Claim a chunk; False where another process that lives has it."""
        if self.folder is None:
            return True
        attempt = 0
        try:
            while not _make(self.folder / f"{chunk}.{attempt}"):
                if not _is_dead(self.folder / f"{chunk}.{attempt}"):
                    return False
                attempt += 1
        except OSError:
            return True
        self._held[chunk] = self.folder / f"{chunk}.{attempt}"
        return True

    def keep(self) -> None:
        """Say now and then that the work goes on; to be called with every batch."""
        if time.monotonic() - self._kept > SEEN_SECONDS / 2:
            self._kept = time.monotonic()
            for path in self._held.values():
                with contextlib.suppress(OSError):
                    os.utime(path)

    def release(self, chunk: int) -> None:
        """Give a chunk back, as it is done or the work ends."""
        path = self._held.pop(chunk, None)
        if path is not None:
            for attempt in range(int(path.suffix[1:]) + 1):  # the dead ones before it as well
                files.remove(path.with_suffix(f".{attempt}"))

    def close(self, done: range) -> None:
        """Give back all that is held. Of chunks among the rows `done`, claims of dead processes are removed as well."""
        for chunk in list(self._held):
            self.release(chunk)
        if self.folder is None:
            return
        with contextlib.suppress(OSError):
            for path in self.folder.iterdir():
                if path.stem.isdecimal() and int(path.stem) in done and _is_dead(path):
                    files.remove(path)
            files.remove_leftovers(self.folder, own=True)
            self.folder.rmdir()  # unless another process has claims here
            self.folder.parent.rmdir()


def _make(path: Path) -> bool:
    """Make a claim, whole from its first moment on: of an empty one nobody could tell whose it is. False where it is there."""
    if path.exists():
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = files.aside(path)
    try:
        aside.write_text(json.dumps(this_process()))
        give_name(aside, path)
    except FileExistsError:
        return False
    finally:
        files.remove(aside)
    return True


def _is_dead(path: Path) -> bool:
    """Whether a claim holds no longer. One that has just gone is not dead: its chunk is done, which a look at the cache shows."""
    try:
        seen, text = path.stat().st_mtime, path.read_text()
    except OSError:
        return False
    if time.time() - seen > LOST_SECONDS:
        return True
    try:
        return is_dead(json.loads(text), seen)
    except (ValueError, KeyError, TypeError):  # cut short by a full disk
        return False
