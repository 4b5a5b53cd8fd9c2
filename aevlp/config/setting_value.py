"""How a path is written in a command that is told."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

from aevlp.config.errors import ConfigError
from aevlp.config.yaml_reading import read_yaml


def setting_value(path: Path | str) -> str:
    """A path for the shell and for `--set`, which would read the folder `2024` as a number."""
    text = str(path)
    try:
        is_read_so = read_yaml(text, "")[0] == text
    except ConfigError:
        is_read_so = False
    return shlex.quote(text if is_read_so else json.dumps(text, ensure_ascii=False))
