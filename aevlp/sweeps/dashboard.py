"""Optuna's dashboard, on this machine only: it has no password."""

from __future__ import annotations

from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

from aevlp.config.errors import AevlpError, ConfigError
from aevlp.sweeps.study import load_existing
from aevlp.text import say


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """A page that asks every few seconds would fill the terminal."""


def serve(name: str, storage: str | None, port: int) -> None:
    """Serve the storage of a study on 127.0.0.1 until Ctrl-C."""
    study = load_existing(name, storage, say)
    try:
        from optuna_dashboard import wsgi
    except ImportError as error:
        raise ConfigError("sweep dashboard needs a package: pip install 'aevlp[sweeps]'") from error
    try:
        with make_server("127.0.0.1", port, wsgi(study._storage), handler_class=_Quiet) as server:
            say(f"http://127.0.0.1:{server.server_port}/dashboard/studies/{study._study_id} (Ctrl-C ends it)")
            server.serve_forever()
    except KeyboardInterrupt:
        return
    except (OSError, OverflowError) as error:
        raise AevlpError(f"--port {port}: cannot be used: {getattr(error, 'strerror', error)}; choose another") from error
