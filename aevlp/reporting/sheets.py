"""Tables of text: on the terminal, as Markdown, as LaTeX. And the forms that numbers take in them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from aevlp.terminal import Terminal, terminal_for_tables
from aevlp.text import HARMFUL, printable

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


def console_for_tables(form: str | None = None) -> Terminal:
    """Where tables and what is said beside them go; with a `form`, stdout is left to it and nothing else."""
    return terminal_for_tables(stderr=form is not None)


def print_sheet(console: Terminal, sheet: Sheet) -> None:
    """Print title and table."""
    if sheet.title:
        console.print()
        console.say(sheet.title, style="bold")
    table = Table(box=None, pad_edge=bool(sheet.title))
    for i, title in enumerate(sheet.header):
        justify = "right" if sheet.is_number(i) else "left"
        table.add_column(printable(title), justify=justify, no_wrap=sheet.is_number(i) or i == 0)  # type: ignore[arg-type]
    for row in sheet.rows:
        table.add_row(*map(printable, row))
    console.print(table)


def as_json(data: dict[str, Any]) -> str:
    """JSON text of a comparison."""
    text = json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    return HARMFUL.sub(lambda found: found[0] if found[0].isprintable() else json.dumps(found[0])[1:-1], text)


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
