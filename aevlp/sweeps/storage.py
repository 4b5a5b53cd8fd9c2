"""Where a study is kept: a journal file in its folder, or any Optuna storage that machines share."""

from __future__ import annotations

import contextlib
import datetime
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aevlp.config.errors import AevlpError, ConfigError, DataError
from aevlp.folders import user_path
from aevlp.masking import mask
from aevlp.reading import parse_json, read_bytes
from aevlp.system import sync

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

JOURNAL = "journal.log"
CONNECT_SECONDS = 10
TRIES, PAUSE_SECONDS = 10, 0.5  # of a database whose tables another process makes at this moment
MAX_JOURNAL_BYTES = 1_000_000_000  # 10,000 trials of 100 epochs are a fifth of it
_OWN_TABLES = {"studies", "trials", "version_info"}


def open_storage(place: str | Path, notify: Callable[[str], None]) -> BaseStorage:
    """Open a journal file (by path) or an Optuna URL: postgresql://, mysql://, sqlite:///FILE, grpc://HOST:PORT.

    Raises:
        ConfigError: it cannot be reached, or holds something that is not Optuna's; nothing was written.
    """
    if isinstance(place, Path) or "://" not in place:
        return _open_journal(user_path(place), notify)
    try:
        if place.startswith("grpc://"):
            return _open_proxy(place)
        return _open_database(place)
    except ImportError as error:
        raise ConfigError(f"--storage {mask(str(place))}: needs the package {error.name}: pip install {error.name}") from error


@contextlib.contextmanager
def storage_errors(place: str | Path, *, files: bool = True) -> Iterator[None]:
    """Say where and why a storage failed in the middle of a study; runs under way stop and save by themselves.

    Args:
        place: the storage.
        files: whether an OSError is of a journal; not where a command also writes files of the user's, and to stdout.
    """
    try:
        yield
    except failures() as error:
        if isinstance(error, OSError) and not files:
            raise
        reason = error.strerror if isinstance(error, OSError) else _details(error)
        reason = (reason or str(error.__cause__ or error)).split("\n")[0]
        raise AevlpError(f"{mask(str(place))}: the study's storage failed: {mask(reason)}; the same command continues") from error


def failures() -> tuple[type[Exception], ...]:
    """What a storage raises that has gone: a file, a database, and a gRPC server where that is in use."""
    from optuna.exceptions import StorageInternalError

    grpc = sys.modules.get("grpc")
    return (OSError, StorageInternalError) if grpc is None else (OSError, StorageInternalError, grpc.RpcError)


def _details(error: Exception) -> str | None:
    """What gRPC says of a call that failed, whose text has a line for each part of it."""
    told = getattr(error, "details", None)
    return told() if callable(told) else None


def _open_journal(path: Path, notify: Callable[[str], None]) -> BaseStorage:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    # Not the other kind, a symbolic link: some file systems have none, and from a relative path it leads nowhere, so that the
    # lock of a process that was killed would be waited for without end instead of 30 s.
    lock = JournalFileOpenLock(str(path))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            with contextlib.ExitStack() as stack:
                lock.acquire()
                stack.callback(lock.release)
                repair(path, notify)
        return JournalStorage(JournalFileBackend(str(path), lock))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be opened: {error.strerror}") from error
    except DataError as error:
        raise ConfigError(str(error)) from error


def repair(path: Path, notify: Callable[[str], None]) -> None:
    """Cut off what a crash or a full disk left of the journal's last entries; the damaged file is kept beside it.

    Raises:
        ConfigError: the file is no journal, or is damaged before its end.
    """
    content = read_bytes(path, MAX_JOURNAL_BYTES)
    whole, problem, number = 0, None, 0
    for number, line in enumerate(content.splitlines(keepends=True), start=1):
        if _is_entry(line):
            if problem is not None:
                raise ConfigError(f"{path}, line {problem}: damaged, with whole entries after it; restore it from a copy")
            whole += len(line)
        else:
            problem = problem or number
    if problem is None:
        return
    if problem == 1:
        raise ConfigError(f"{path}: is not the journal of a study; nothing was changed")
    stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    backup = path.with_name(f"{path.name}.damaged-{stamp}")
    shutil.copy2(path, backup)
    with path.open("r+b") as file:
        file.truncate(whole)
        sync(file.fileno())
    count = number - problem + 1
    notify(f"{path}: {count} damaged lines at its end were removed; the file as it was is {backup.name}")


def _is_entry(line: bytes) -> bool:
    try:
        entry = parse_json(line)
    except ValueError:
        return False
    return line.endswith(b"\n") and isinstance(entry, dict) and "op_code" in entry


def _open_database(url: str) -> BaseStorage:
    import sqlalchemy
    from optuna.storages import RDBStorage

    try:
        parsed = sqlalchemy.make_url(url)
        if parsed.drivername == "postgresql":
            parsed = parsed.set(drivername="postgresql+psycopg")
        waits = {"connect_timeout": CONNECT_SECONDS} if not parsed.drivername.startswith("sqlite") else {"timeout": 60}
        options: dict[str, Any] = {"connect_args": waits, "pool_pre_ping": True}
        engine = sqlalchemy.create_engine(parsed, poolclass=sqlalchemy.NullPool, **options)
    except sqlalchemy.exc.NoSuchModuleError as error:
        raise ConfigError(f"--storage {mask(url)}: {error}") from error
    except (sqlalchemy.exc.ArgumentError, ValueError) as error:
        raise ConfigError(f"--storage {mask(url)}: is no database URL such as postgresql://user@host/name") from error
    for tries_left in reversed(range(TRIES)):
        tables = None
        try:
            tables = set(sqlalchemy.inspect(engine).get_table_names())
            if not tables or tables >= _OWN_TABLES:
                return RDBStorage(parsed.render_as_string(hide_password=False), engine_kwargs=options)
            if not (tables & _OWN_TABLES and tries_left):
                some = ", ".join(sorted(tables)[:3])
                raise ConfigError(f"--storage {mask(url)}: holds tables that are not Optuna's ({some}); name an empty database")
        except sqlalchemy.exc.DatabaseError as error:
            if tables is None or not tries_left:  # else another process makes the same tables at this moment
                reason = str(error.orig or error).strip().splitlines()[0]
                raise ConfigError(f"--storage {mask(url)}: cannot be opened: {mask(reason)}") from error
        time.sleep(PAUSE_SECONDS)
    raise AssertionError("the last try ends in one way or the other")


def _open_proxy(url: str) -> BaseStorage:
    from urllib.parse import urlsplit

    import grpc
    from optuna.storages import GrpcStorageProxy

    try:
        parsed = urlsplit(url)
        storage = GrpcStorageProxy(host=parsed.hostname or "localhost", port=parsed.port or 13000)
        storage.wait_server_ready(timeout=CONNECT_SECONDS)
    except (grpc.RpcError, grpc.FutureTimeoutError, ConnectionError, ValueError, RuntimeError) as error:
        raise ConfigError(f"--storage {mask(url)}: no Optuna server answers there within {CONNECT_SECONDS} s") from error
    return storage
