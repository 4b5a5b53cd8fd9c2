"""The console of tables, colours and bars: what comes from files and servers cannot act on the terminal through it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.markup import escape
from rich.segment import Segment
from rich.text import Text

from aevlp.layout import Sheet, indented, lay_out, wrap
from aevlp.masking import mask
from aevlp.text import printable, without_controls


class Terminal(Console):
    """A rich console that takes text for text: no markup unless asked for, no control characters, no secrets."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"highlight": False, "markup": False, "emoji": False, **options})

    @property
    def room(self) -> int | None:
        """Letters in a line; None for a file or a pipe, which another program may read: there a row is one line."""
        return self.width if self.is_terminal else None

    def say(self, text: str, style: str = "") -> None:
        """A line that is never broken, whatever is in it: for what may be copied, such as a command."""
        self.print(printable(text), style=style, soft_wrap=True)

    def tell(self, text: str, style: str = "", indent: int = 0) -> None:
        """A sentence, broken between words where the terminal ends; what follows the first line is indented."""
        for line in self._lines(text, indent):
            self.say(line, style)

    def note(self, text: str) -> None:
        """Something the user should know, beside what was asked for."""
        first, *others = self._lines(f"note  {text}", indent=6)
        self.print(f"[yellow]note[/yellow]{escape(first.removeprefix('note'))}", markup=True, soft_wrap=True)
        for line in others:
            self.say(line)

    def _lines(self, text: str, indent: int) -> list[str]:
        text = printable(mask(text))
        first, *others = [text] if self.room is None else wrap(text, self.room - indent)
        return [first, *(indented(line, indent, self.room) for line in others)]

    def table(self, sheet: Sheet) -> None:
        """A table, for the width of the terminal; where there is none, a line a row."""
        for line, style in lay_out(sheet, self.room):
            self.say(line, style)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Everything that is shown goes through here; rich adds its own colours and cursor movements later, or as controls."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(without_controls(segment.text), segment.style)

    def render_str(self, text: str, **options: Any) -> Text:
        """Text of a line or a cell."""
        return super().render_str(mask(text), **options)
