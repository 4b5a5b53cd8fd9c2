"""Optuna's dashboard, on this machine only: it has no password."""

from __future__ import annotations

from aevlp.config.errors import AevlpError, ConfigError
from aevlp.sweeps.study import load_existing


def serve(name: str, storage: str | None, port: int) -> None:
    """Serve the storage of a study on 127.0.0.1 until Ctrl-C."""
    study = load_existing(name, storage, print)
    try:
        from optuna_dashboard import run_server
    except ImportError as error:
        raise ConfigError("sweep dashboard needs a package: pip install 'aevlp[sweeps]'") from error
    print(f"http://127.0.0.1:{port}/ (Ctrl-C ends it)")
    try:
        run_server(study._storage, host="127.0.0.1", port=port)
    except OSError as error:
        raise AevlpError(f"--port {port}: cannot be used: {error.strerror}; choose another") from error
