"""A part of the work of many jobs: shard i of n holds neighbouring images, and all shards together each image once."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from typing import Any

from aevlp.config.errors import ConfigError

ROWS = 64
"""Images that are read, claimed and encoded together; no shard divides them."""


def chunks_of(rows: range) -> list[range]:
    """Rows, `ROWS` at a time."""
    return [range(first, min(first + ROWS, rows.stop)) for first in range(rows.start, rows.stop, ROWS)]


@dataclass(frozen=True)
class Shard:
    """Part `number` of `of`, counted from 0."""

    number: int = 0
    of: int = 1

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read `i/n`; ConfigError unless 0 <= i < n."""
        found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text)
        if found is None:
            raise ConfigError(f"--shard {text}: give a part and the number of parts, such as 0/8")
        number, of = map(int, found.groups())
        if number >= of:
            last = f"its parts are 0/{of} to {of - 1}/{of}" if of else "there must be one part at least"
            raise ConfigError(f"--shard {text}: {last}")
        return cls(number, of)

    def rows(self, count: int) -> range:
        """Its rows of `count` images, in whole chunks of `ROWS`; none where there are fewer chunks than shards."""
        chunks = -(-count // ROWS)
        first, end = (chunks * part // self.of for part in (self.number, self.number + 1))
        return range(first * ROWS, min(end * ROWS, count))

    def __str__(self) -> str:
        """As it was given."""
        return f"{self.number}/{self.of}"


WHOLE = Shard()
"""All there is."""


def wanted_rows(labeler: Any, shard: Shard, count: int) -> dict[str, range]:
    """`rows` for a labeler's `encode` and `count_missing`; nothing for the whole, which those of plugins may know alone.

    Raises:
        ConfigError: the labeler cannot take a part.
    """
    if shard == WHOLE:
        return {}
    if not all("rows" in inspect.signature(method).parameters for method in (labeler.encode, labeler.count_missing)):
        raise ConfigError(
            f"--shard {shard}: labeler {type(labeler).__name__} takes no part of the images, as its encode and count_missing "
            "have no argument rows; leave --shard out"
        )
    return {"rows": shard.rows(count)}
