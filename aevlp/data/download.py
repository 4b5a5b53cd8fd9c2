"""One file over HTTP, continued after a break, and never mixed with another version of it."""

from __future__ import annotations

import contextlib
import http.client
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from aevlp.config.errors import DataError, UnavailableError

TIMEOUT_SECONDS = 30.0
"""Of silence, after which a connection counts as broken."""
TRIES, PAUSE_SECONDS = 4, 2.0
"""Tries in a row that bring nothing new, and the first pause between two, which doubles."""
_CHUNK = 2**20  # bytes


def fetch(url: str, size: int, part: Path, file: IO[bytes], report: Callable[[int], None]) -> None:
    """Bring `file`, which appends to `part`, to `size` bytes, continued where it ends; `report` is told of bytes that are there.

    Beside it, `part`.etag keeps what the server calls the version that the bytes are of.

    Raises:
        UnavailableError: the server breaks off again and again, has no such file or one of another length; what has come is kept.
        DataError: this disk takes no more.
    """
    furthest, fruitless, problem = _end(file), 0, ""
    while _end(file) != size:
        if fruitless == TRIES:
            raise UnavailableError(f"{url}: {problem}, {furthest:,} of {size:,} bytes are there; the same command continues")
        if fruitless:
            time.sleep(PAUSE_SECONDS * 2 ** (fruitless - 1))
        try:
            _go_on(url, size, part, file, report)
            problem = "broke off"
        except urllib.error.HTTPError as error:
            problem = f"the server answers {error.code} {' '.join(str(error.reason).split())}"
            error.close()
            if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
                _write(part, lambda: file.truncate(0))
            elif error.code < 500 and error.code not in (http.client.REQUEST_TIMEOUT, http.client.TOO_MANY_REQUESTS):
                raise UnavailableError(f"{url}: {problem}") from error
        except (OSError, http.client.HTTPException) as error:
            problem = f"broke off ({getattr(error, 'reason', None) or error or type(error).__name__})"
        fruitless = fruitless + 1 if _end(file) <= furthest else 0
        furthest = max(furthest, _end(file))


def _go_on(url: str, size: int, part: Path, file: IO[bytes], report: Callable[[int], None]) -> None:
    """One connection; OSError or an early end where it breaks."""
    there, version = _end(file), part.with_name(f"{part.name}.etag")
    request = urllib.request.Request(url, headers={"User-Agent": "aevlp"})  # noqa: S310, the addresses are this package's
    if there:
        request.add_header("Range", f"bytes={there}-")
        with contextlib.suppress(OSError):
            known = version.read_text(encoding="latin-1")
            if known.isprintable():
                request.add_header("If-Range", known)
    with _open(request) as answer:
        begin, total = _range(answer)
        if total not in (None, size):
            raise UnavailableError(f"{url}: the server has another file there, of {total:,} bytes instead of {size:,}")
        if begin not in (0, there):
            _write(part, lambda: file.truncate(0))
            return
        if begin == 0:
            _write(part, lambda: file.truncate(0))
            tag = answer.headers.get("ETag", "")
            known = answer.headers.get("Last-Modified", "") if not tag or tag.startswith("W/") else tag
            if known:
                _write(part, lambda: version.write_text(known, encoding="latin-1"))
            else:
                version.unlink(missing_ok=True)
        while chunk := answer.read1(_CHUNK):  # what is there: a slow server loses nothing at a break
            if _end(file) + len(chunk) > size:
                _write(part, lambda: file.truncate(0))
                raise UnavailableError(
                    f"{url}: the server sends more than the {size:,} bytes of this file, so it has another one"
                )
            _write(part, lambda chunk=chunk: file.write(chunk))  # type: ignore[misc]
            report(_end(file))


def _open(request: urllib.request.Request) -> Any:
    try:
        return urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)  # noqa: S310
    except ValueError as error:  # it redirects to what is no address
        raise OSError(f"{error}") from error


def _range(answer: Any) -> tuple[int | None, int | None]:
    """Where an answer begins, and how long the whole file is; None for what it does not tell."""
    if answer.status != http.client.PARTIAL_CONTENT:
        length = re.fullmatch(r"\d{1,19}", answer.headers.get("Content-Length", ""), re.ASCII)
        return 0, None if length is None else int(length[0])
    found = re.fullmatch(r"bytes (\d{1,19})-\d+/(\d{1,19}|\*)", answer.headers.get("Content-Range", ""), re.ASCII)
    if found is None:
        return None, None
    return int(found[1]), None if found[2] == "*" else int(found[2])


def _end(file: IO[bytes]) -> int:
    return file.seek(0, 2)


def _write(part: Path, act: Callable[[], object]) -> None:
    """Errors of this disk are no errors of the network, though both are OSError."""
    try:
        act()
    except OSError as error:
        raise DataError(f"{part}: cannot be written: {error.strerror}; the same command continues") from error
