"""One short try before a download, so that a machine without a network gets an answer in seconds, not minutes."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request

from aevlp.config.errors import UnavailableError

TIMEOUT_SECONDS = 6.0  # with 7 s to import torchvision, the answer still comes within 15 s


def require_reachable(url: str, what: str, instead: str) -> None:
    """Raise UnavailableError, saying what to do instead, unless the server of `url` answers within TIMEOUT_SECONDS."""
    outcome: list[str | None] = [f"no answer within {TIMEOUT_SECONDS:.0f} s"]

    def ask() -> None:
        try:
            request = urllib.request.Request(url, method="HEAD")  # noqa: S310, as addresses come from libraries or settings
            urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS).close()  # noqa: S310
            outcome[0] = None
        except urllib.error.HTTPError:
            outcome[0] = None  # it answered; whether it has the file, the download will tell
        except (OSError, ValueError) as error:
            outcome[0] = str(getattr(error, "reason", error))

    # In a thread, because looking up a host name has no timeout of its own.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(TIMEOUT_SECONDS + 1)
    if outcome[0] is not None:
        raise UnavailableError(f"{what} is not on this machine and {url} cannot be reached ({outcome[0]}); {instead}")
