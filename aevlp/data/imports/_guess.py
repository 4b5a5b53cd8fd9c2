"""Which kind of export a file or folder is, as far as its names and first bytes tell."""

from __future__ import annotations

import shlex
from pathlib import Path

from aevlp.command import COMMAND
from aevlp.config import registry
from aevlp.config.errors import ConfigError
from aevlp.data.imports._base import ImportConfig
from aevlp.data.locate import is_photo, look_below
from aevlp.data.table import TABLES

_IMPORT = f"{COMMAND} import"


def kinds_like(source: Path) -> list[str]:
    """Names of the converters that take a source for theirs."""
    configs = {name: registry.get("imports", name).config for name in registry.names("imports")}
    files = look_below(source).files if source.is_dir() else []
    return [name for name, config in configs.items() if issubclass(config, ImportConfig) and config.recognises(source, files)]


def guess(source: Path) -> str:
    """The one kind that a source looks like; ConfigError where that is none, or several."""
    kinds = kinds_like(source)
    if len(kinds) == 1:
        return kinds[0]
    tables = [name for name in TABLES if not kinds and (source / name).is_file() and kinds_like(source / name)]
    if tables:
        table, root = (shlex.quote(str(path)) for path in (source / tables[0], source))
        folders = any("/" in name for name in look_below(source).files if is_photo(name))
        classes = "; or, if its folders are classes: --from imagefolder" if folders else ""
        how = f"import that: {_IMPORT} {table} --root {root}{classes}"
        raise ConfigError(f"{source}: looks like no export, but holds {tables[0]}; {how}")
    what = f"looks like {' and like '.join(kinds)}" if kinds else "looks like no export that is known"
    raise ConfigError(f"{source}: {what}; say which: --from {'|'.join(kinds or registry.names('imports'))}")


def import_command(root: Path) -> str | None:
    """What to type for a folder of photos that has no table, but annotations of another form; None where it has none."""
    kinds = kinds_like(root)
    if not kinds:
        return None
    which = f" --from {'|'.join(kinds)}" if len(kinds) > 1 else ""
    return f"{_IMPORT} {shlex.quote(str(root))}{which}"
