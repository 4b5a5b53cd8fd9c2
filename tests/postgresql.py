"""A real PostgreSQL server for the time of a test, never run by root."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

USER = "postgres"  # whose account the server has where the tests are run by root


def _binary(name: str) -> str | None:
    """Debian keeps the server's programs off the path."""
    found = shutil.which(name) or next(map(str, sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)), None)
    return found and str(Path(found).resolve())


@contextmanager
def server() -> Iterator[str]:
    """URL of an empty database; skips the test where PostgreSQL is not installed, unless AEVLP_REQUIRE names it."""
    programs = {name: _binary(name) for name in ("initdb", "pg_ctl")}
    if None in programs.values():
        if "postgresql" in os.environ.get("AEVLP_REQUIRE", "").split(","):
            pytest.fail("AEVLP_REQUIRE asks for PostgreSQL, which is not installed")
        pytest.skip("PostgreSQL is not installed")
    as_user = ["runuser", "-u", USER, "--"] if os.geteuid() == 0 else []
    folder = Path(tempfile.mkdtemp(prefix="aevlp-postgresql-"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def call(program: str, *words: str) -> None:
        command = [*as_user, str(programs[program]), "-D", str(folder / "data"), *words]
        result = subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=60)
        assert result.returncode == 0, result.stderr

    try:
        if as_user:
            shutil.chown(folder, USER)
        call("initdb", "--auth=trust", "--username=aevlp", "--no-sync")
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
        call("pg_ctl", "start", "--wait", f"--log={folder}/log", "-o", options)
        try:
            yield f"postgresql://aevlp@127.0.0.1:{port}/postgres"
        finally:
            call("pg_ctl", "stop", "--mode=immediate")
    finally:
        shutil.rmtree(folder)
