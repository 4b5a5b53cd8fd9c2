"""Tables of text: on the terminal, as Markdown, as LaTeX. And the forms that numbers take in them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

NONE = "–"  # noqa: RUF001


@dataclass(frozen=True)
class Sheet:
    """A table of text. All columns but the first are numbers, if `numeric`; `text` names the columns that are not."""

    title: str
    header: list[str]
    rows: list[list[str]]
    numeric: bool = True
    text: tuple[str, ...] = ()

    def is_number(self, column: int) -> bool:
        """Whether a column, counted from 0, is aligned to the right."""
        return self.numeric and column > 0 and self.header[column] not in self.text


def value(summary: dict[str, Any] | None, sign: str = "") -> str:
    """Mean and half interval of a metric, as "96.9 ± 1.1"."""
    if summary is None:
        return NONE
    mean = f"{summary['mean']:{sign}.1f}"
    return mean if summary["half"] is None else f"{mean} ± {summary['half']:.1f}"


def console_for_tables(form: str | None = None) -> Console:
    """Where tables and what is said beside them go; with a `form`, stdout is left to it and nothing else."""
    console = Console(stderr=form is not None, highlight=False)
    if not console.is_terminal:
        console.width = 160  # a file or a pipe has no width to respect
    return console


def print_sheet(console: Console, sheet: Sheet) -> None:
    """Print title and table."""
    if sheet.title:
        console.print(f"\n{printable(sheet.title)}", style="bold", markup=False, soft_wrap=True)
    table = Table(box=None, pad_edge=bool(sheet.title))
    for i, title in enumerate(sheet.header):
        justify = "right" if sheet.is_number(i) else "left"
        table.add_column(Text(printable(title)), justify=justify, no_wrap=sheet.is_number(i) or i == 0)  # type: ignore[arg-type]
    for row in sheet.rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    console.print(table)


def printable(text: str) -> str:
    """Text as one harmless line: names come from files, and a control character would rewrite the terminal."""
    return "".join(letter if letter.isprintable() else "�" for letter in text)


def as_json(data: dict[str, Any]) -> str:
    """JSON text of a comparison."""
    return json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def neutral(cell: str) -> str:
    """Text that no spreadsheet takes for a formula: an apostrophe before = + - @, a tab or a line break."""
    return f"'{cell}" if cell[:1] in ("=", "+", "-", "@", "\t", "\r", "\n") else cell


def markdown(sheet: Sheet) -> str:
    """A table of GitHub's Markdown."""

    def line(cells: list[str]) -> str:
        return "| " + " | ".join(re.sub(r"([\\|`*_<>\[\]])", r"\\\1", printable(cell)) for cell in cells) + " |\n"

    rule = "|" + "|".join("---:" if sheet.is_number(i) else "---" for i in range(len(sheet.header))) + "|\n"
    title = f"\n{printable(sheet.title)}\n\n" if sheet.title else ""
    return title + line(sheet.header) + rule + "".join(map(line, sheet.rows))


def latex(sheet: Sheet) -> str:
    """A booktabs table, without the title."""
    lines = [" & ".join(map(_latex_cell, row)) + r" \\" for row in [sheet.header, *sheet.rows]]
    columns = "".join("r" if sheet.is_number(i) else "l" for i in range(len(sheet.header)))
    body = "\n".join([lines[0], r"\midrule", *lines[1:]])
    return f"\\begin{{tabular}}{{{columns}}}\n\\toprule\n{body}\n\\bottomrule\n\\end{{tabular}}\n"


def _latex_cell(cell: str) -> str:
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", NONE: "--"}
    return "".join(special.get(letter, f"\\{letter}" if letter in "&%$#_{}" else letter) for letter in printable(cell))
