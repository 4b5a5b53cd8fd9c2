"""What a page of limited size can hold: parts are counted as they will stand in it, and what is left out is said."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def embedded(data: Any) -> str:
    """JSON that can stand in a script element: ASCII only, and no character that could end the element."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def finite(value: Any) -> Any:
    """Plain data in which numbers that JSON has no word for are None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): finite(part) for key, part in value.items()}
    return [finite(part) for part in value] if isinstance(value, list | tuple) else value


class Budget:
    """Bytes of a page that are not yet spoken for, and how many parts of a kind there may be."""

    def __init__(self, size: int, most: Mapping[str, int]):
        self.left, self.most = size, most
        self._added: Counter[str] = Counter()
        self._left_out: Counter[str] = Counter()
        self._first: dict[str, str] = {}

    def add(self, kind: str, of: str, make: Callable[[], Any]) -> Any:
        """What `make` makes, finite, if it fits; None where it does not, or is None itself.

        Once a part did not fit, no further one of its kind is made: what comes first is highest in the ranking.
        """
        if kind not in self._left_out and self._added[kind] < self.most.get(kind, math.inf):
            part = finite(make())
            size = 0 if part is None else len(embedded(part)) + 1
            if size <= self.left:
                self.left -= size
                self._added[kind] += part is not None
                return part
        self.leave_out(kind, of)
        return None

    def leave_out(self, kind: str, of: str) -> None:
        """Note that this kind of part is missing of a run or experiment."""
        self._left_out[kind] += 1
        self._first.setdefault(kind, of)

    def notes(self, why: str) -> list[str]:
        """A line for each kind of part that was left out."""
        return [f"{kind} left out {count:,} times, first of {self._first[kind]}: {why}" for kind, count in self._left_out.items()]


def first_of(lines: Sequence[str], limit: int) -> list[str]:
    """The first lines, and how many there are beyond them."""
    return [*lines[:limit], *([f"and {len(lines) - limit:,} more"] if len(lines) > limit else [])]
