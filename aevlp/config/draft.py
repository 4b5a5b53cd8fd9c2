"""A configuration on its way: plain values, and where each of them came from."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

from aevlp.config import registry


@dataclass
class Draft:
    """Values by section, and the origin (file and line, or `--set ...`) of every dotted path that was set."""

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    files: int = 0
    """How many files were read for it."""

    def merge(self, section: str, new: Any, origins: dict[str, str]) -> None:
        """Merge `new` into `section`; `origins` holds the origin of each dotted path in `new`."""
        old = self.values.get(section)
        if not (isinstance(old, dict) and isinstance(new, dict)) or (
            section in registry.SECTIONS and new.get("name", old.get("name")) != old.get("name")
        ):
            if old is not None:
                self.forget(section)
            old = None
        self.values[section] = _merged(old, new)
        self.origins |= origins

    def forget(self, path: str) -> None:
        """Drop the origins of `path` and of everything in it."""
        inside = (f"{path}.", f"{path}[")
        self.origins = {p: origin for p, origin in self.origins.items() if p != path and not p.startswith(inside)}


def is_another(key: str, old: Any, new: Any) -> bool:
    """Whether the values of `key` are parts, such as encoders, of different names: then no value of the old one stays."""
    if key not in registry.PARTS or not (isinstance(old, dict) and isinstance(new, dict)):
        return False
    name = old.get("name", registry.PARTS[key][1])
    return bool(new.get("name", name) != name)


def _merged(old: Any, new: Any) -> Any:
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return copy.deepcopy(new)
    return old | {
        key: _merged(None if is_another(key, old.get(key), value) else old.get(key), value) for key, value in new.items()
    }
