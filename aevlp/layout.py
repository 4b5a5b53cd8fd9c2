"""Tables of text, laid out for the width there is: nothing is ever cut, and no word broken.

A row is one line where that fits, and always where there is no width to respect. Else titles and prose go on below their own
place, and what is longer than its column has a line of its own, the rest of the row below it: whatever takes the fewest lines.
Where that does not fit either, numbers are divided over several tables, or each row becomes a block of lines. Only a word
longer than the whole width runs over it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from rich.cells import cell_len

from aevlp.masking import mask
from aevlp.text import printable

NONE = "–"  # noqa: RUF001
GAP = 2  # spaces between columns
NARROW = 2  # letters that remain of a column whose cells have lines of their own
PROSE = 24  # letters that a column of prose keeps, for less cannot be read
SAMPLE = 200  # rows by which a layout is chosen

Line = tuple[str, str]
"""A line and its style."""


@dataclass(frozen=True)
class Sheet:
    """A table of text. All columns but the first are numbers, if `numeric`; `text` names the columns that are not."""

    title: str
    header: list[str]
    """Empty titles throughout: none is shown."""
    rows: list[list[str]]
    numeric: bool = True
    text: tuple[str, ...] = ()
    wraps: Mapping[int, str] = field(default_factory=dict)
    """Columns, counted from 0, whose cells may go on in the next line, and after what: a space, or ", " in lists."""
    alike: bool = False
    """All columns but the first hold the same kind of value: as a block of lines, titles of equal values stand together."""
    indent: int = 0
    """Spaces before each line."""

    def is_number(self, column: int) -> bool:
        """Whether a column, counted from 0, is aligned to the right."""
        return self.numeric and column > 0 and self.header[column] not in self.text


def wrap(text: str, width: int, after: str = " ") -> list[str]:
    """Lines of at most `width` letters, broken after `after` alone; a piece that is longer is a line of its own."""
    lines = [""]
    for number, piece in enumerate(text.split(after)):
        kept = after if number else ""
        if number and cell_len((lines[-1] + kept + piece).rstrip()) > width:
            lines[-1] += kept.rstrip()
            lines.append(piece)
        else:
            lines[-1] += kept + piece
    return lines


def lay_out(sheet: Sheet, width: int | None) -> Iterator[Line]:
    """The lines of a table; None is no width to respect."""
    if sheet.title:
        title = _clean(sheet.title)
        yield "", ""
        yield from ((line, "bold") for line in (wrap(title, width) if width else [title]))
    clean = replace(sheet, header=list(map(_clean, sheet.header)), rows=[list(map(_clean, row)) for row in sheet.rows])
    for line, style in _body(clean, width and width - sheet.indent):
        yield indented(line, sheet.indent, width), style


def indented(line: str, indent: int, width: int | None) -> str:
    """The line after spaces; after fewer where a long word needs them."""
    indent = indent if width is None else max(0, min(indent, width - cell_len(line)))
    return (" " * indent + line).rstrip()


def _clean(cell: str) -> str:
    return printable(mask(cell))


def _body(sheet: Sheet, width: int | None) -> Iterator[Line]:
    widths = _widths(sheet, width)
    if widths is not None:
        yield from _columns(sheet, widths, width)
        return
    assert width is not None
    parts = [] if sheet.alike else _parts(sheet, width)
    for number, part in enumerate(parts):
        if number:
            yield "", ""
        yield from _columns(part, _widths(part, width) or [], width)
    for number, row in enumerate([] if parts else sheet.rows):
        if number:
            yield "", ""
        yield from _block(sheet, row, width)


def _widths(sheet: Sheet, width: int | None) -> list[int] | None:
    """A width for each column, so that rows take the fewest lines; None where the table does not fit."""
    columns = list(range(len(sheet.header)))
    longest = [max((cell_len(row[i]) for row in sheet.rows), default=0) for i in columns]
    widths = [max(cell_len(sheet.header[i]), longest[i]) for i in columns]
    if width is None or _total(widths) <= width:
        return widths
    most = max(len(title.split(" ")) for title in sheet.header)
    stacked = [[max(longest[i], _stacked(sheet.header[i], lines)) for i in columns] for lines in range(1, most + 1)]
    tries = [tried for broken in stacked for tried in _narrowed(sheet, broken)]
    found = [fitting for tried in tries if (fitting := _shrunk(sheet, tried, width)) is not None]
    sample = replace(sheet, rows=sheet.rows[:SAMPLE])
    return min(found, key=lambda tried: sum(1 for _ in _columns(sample, tried, width)), default=None)


def _stacked(title: str, lines: int) -> int:
    """The least width of a title in so many lines."""
    least, full = max(map(cell_len, title.split(" "))), cell_len(title)
    return next((width for width in range(least, full) if len(wrap(title, width)) <= lines), full)


def _narrowed(sheet: Sheet, widths: list[int]) -> Iterator[list[int]]:
    """The widths as they are; one column so narrow that its longest cells do not fit; all columns as narrow as can be."""
    yield widths
    if sheet.alike:
        return
    texts = [i for i in range(len(widths)) if not sheet.is_number(i) and i not in sheet.wraps]
    for i in texts:
        for narrow in sorted({min(widths[i], cell_len(row[i])) for row in sheet.rows} | {NARROW}, reverse=True):
            yield [min(narrow, width) if j == i else width for j, width in enumerate(widths)]
    yield [min(NARROW, width) if j in texts else width for j, width in enumerate(widths)]


def _shrunk(sheet: Sheet, widths: list[int], width: int) -> list[int] | None:
    """The widths with less for prose, as far as it takes; None where that is not enough."""
    widths = list(widths)
    while _total(widths) > width:
        widest = max((i for i in sheet.wraps if widths[i] > PROSE), key=lambda i: widths[i], default=None)
        if widest is None:
            return None
        widths[widest] -= 1
    return widths


def _total(widths: list[int]) -> int:
    return sum(widths) + GAP * (len(widths) - 1)


def _columns(sheet: Sheet, widths: list[int], width: int | None) -> Iterator[Line]:
    everywhere = dict.fromkeys(range(len(widths)), " ")
    if any(sheet.header):
        yield from ((line, "bold") for line in _row(sheet, sheet.header, widths, width, everywhere))
    for row in sheet.rows:
        yield from ((line, "") for line in _row(sheet, row, widths, width, sheet.wraps))


def _row(sheet: Sheet, cells: list[str], widths: list[int], width: int | None, wraps: Mapping[int, str]) -> list[str]:
    """The lines of one row; a cell stands beside the one before it, or below where that is longer than its column."""
    block, top, start = [""], 0, 0
    for i, cell in enumerate(cells):
        lines = wrap(cell, widths[i], wraps[i]) if i in wraps else [cell]
        if width is not None:  # what may not be broken is, between words, where the whole line is too short for it
            lines = [part for line in lines for part in wrap(line, widths[i] if i in wraps else width)]
        if sheet.is_number(i):
            lines = [" " * (widths[i] - cell_len(line)) + line for line in lines]
        at = start if width is None else max(0, min(start, width - max(map(cell_len, lines))))
        if at < start:
            top = len(block) if block[-1] else len(block) - 1
        while cell and any(
            block[top + k] and cell_len(block[top + k]) + GAP > at for k in range(len(lines)) if top + k < len(block)
        ):
            top += 1
        block += [""] * (top + len(lines) - len(block))
        for k, line in enumerate(lines):
            if line:
                block[top + k] += " " * (at - cell_len(block[top + k])) + line
        start += widths[i] + GAP
    return block


def _parts(sheet: Sheet, width: int) -> list[Sheet]:
    """The table as several, each with the columns before the first number and as many numbers as fit; none where none fits."""
    columns = range(len(sheet.header))
    first = [i for i in columns if not any(map(sheet.is_number, columns[: i + 1]))]
    parts: list[list[int]] = []
    for i in columns[len(first) :]:
        if parts and _widths(_taken(sheet, [*parts[-1], i]), width) is not None:
            parts[-1].append(i)
        elif _widths(_taken(sheet, [*first, i]), width) is not None:
            parts.append([*first, i])
        else:
            return []
    return [_taken(sheet, part) for part in parts]


def _taken(sheet: Sheet, columns: list[int]) -> Sheet:
    """The table with these columns alone."""
    wraps = {columns.index(i): after for i, after in sheet.wraps.items() if i in columns}
    rows = [[row[i] for i in columns] for row in sheet.rows]
    return replace(sheet, header=[sheet.header[i] for i in columns], rows=rows, wraps=wraps)


def _block(sheet: Sheet, row: list[str], width: int) -> Iterator[Line]:
    """A row as its first cell and, below, a line each of the others; those that say nothing are left out."""
    yield from ((line, "bold") for line in wrap(f"{sheet.header[0]}  {row[0]}".strip(), width))
    told = [(title, cell) for title, cell in zip(sheet.header[1:], row[1:], strict=True) if cell not in ("", NONE)]
    pairs = [list(pair) for pair in told]
    if sheet.alike:
        titles = {cell: [title for title, other in told if other == cell] for _, cell in told}
        pairs = [[cell, "  ".join(found)] for cell, found in titles.items()]
    block = Sheet("", ["", ""], pairs, numeric=False, wraps={1: "  " if sheet.alike else " "})
    widths = _widths(block, width - GAP) or [NARROW, PROSE]
    yield from ((indented(line, GAP, width), style) for line, style in _columns(block, widths, width - GAP))
