"""The console of tables, colours and bars: what comes from files and servers cannot act on the terminal through it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.markup import escape
from rich.segment import Segment
from rich.text import Text

from aevlp.masking import mask
from aevlp.text import printable, without_controls

NO_WIDTH = 160  # columns, where a file or a pipe has no width to respect


class Terminal(Console):
    """A rich console that takes text for text: no markup unless asked for, no control characters, no secrets."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"highlight": False, "markup": False, "emoji": False, **options})

    def say(self, text: str, style: str = "") -> None:
        """A line that is never broken, whatever is in it."""
        self.print(printable(text), style=style, soft_wrap=True)

    def note(self, text: str) -> None:
        """Something the user should know, beside what was asked for."""
        self.print(f"[yellow]note[/yellow]  {escape(printable(text))}", markup=True)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Everything that is shown goes through here; rich adds its own colours and cursor movements later, or as controls."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(without_controls(segment.text), segment.style)

    def render_str(self, text: str, **options: Any) -> Text:
        """Text of a line or a cell."""
        return super().render_str(mask(text), **options)


def terminal_for_tables(**options: Any) -> Terminal:
    """A terminal for tables: wide where it is a file or a pipe."""
    terminal = Terminal(**options)
    if not terminal.is_terminal:
        terminal.width = NO_WIDTH
    return terminal
