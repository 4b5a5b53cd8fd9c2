"""What reaches the terminal, on its way there: one harmless line at a time, without secrets.

Names come from files and servers of others; a control character in one would rewrite the terminal, or hide what is said.
Nothing else in this program prints, but `aevlp.terminal` where colours and tables are wanted.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Sequence

from aevlp.masking import mask

_KEPT = "\u00a0\u3000\u200c\u200d"  # spaces and joiners of other scripts: not printable to Python, but part of names
HARMFUL = re.compile(r"[^\n\x20-\x7e]")  # or not: what is beyond ASCII is looked at one by one


def counted(number: int, one: str, form: str = "") -> str:
    """A number and what it counts, as "1 photo" or, with the form ",", "3,000 photos"; words that add an s, or es after an s."""
    return f"{number:{form}} {one}" + ("" if number == 1 else "es" if one.endswith("s") else "s")


def are(number: int) -> str:
    """The verb after `counted`."""
    return "is" if number == 1 else "are"


def duration(seconds: float) -> str:
    """Return seconds as m:ss, or h:mm:ss from an hour on."""
    minutes, seconds = divmod(max(round(seconds), 0), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


def listed(words: Sequence[str], most: int, count: int | None = None, between: str = ", ") -> str:
    """The first words, and how many of `count`, by default of the words, there are beyond them."""
    shown = words[:most]
    more = (len(words) if count is None else count) - len(shown)
    return between.join(shown) + (f" and {more:,} more" if more > 0 else "")


def printable(text: str) -> str:
    """Text as one line: each control character, line break, escape or change of direction becomes `�`."""
    return without_controls(text).replace("\n", "�")


def without_controls(text: str) -> str:
    """The same for text of several lines, which stay lines."""
    return HARMFUL.sub(lambda found: found[0] if found[0].isprintable() or found[0] in _KEPT else "�", text)


def say(*lines: str, error: bool = False) -> None:
    """Print lines on stdout, or on stderr; each argument is one line, whatever is in it."""
    print("\n".join(printable(mask(line)) for line in lines), file=sys.stderr if error else sys.stdout, flush=True)


def write_out(text: str) -> None:
    """Write a report as data to stdout, such as a table as CSV, for another program as much as for the eye."""
    write_exactly(mask(text))


def write_exactly(text: str) -> None:
    """Write a user's own data to stdout: all but control characters as it is, since a name may look like a secret."""
    sys.stdout.write(without_controls(text))


class SayHandler(logging.Handler):
    """Shows what is logged as one line on stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print the message."""
        say(record.getMessage(), error=True)
