"""Tables of text as Markdown and as LaTeX, and the forms that numbers take in tables."""

from __future__ import annotations

import json
import re
from typing import Any

from aevlp.layout import NONE, Sheet
from aevlp.text import HARMFUL, printable


def value(summary: dict[str, Any] | None, metric: str = "", sign: str = "") -> str:
    """Mean and half interval of a metric, as "96.9 ± 1.1"; of a count as whole numbers."""
    if summary is None:
        return NONE
    digits = 0 if metric.endswith("/count") else 1
    mean = f"{summary['mean']:{sign}.{digits}f}"
    return mean if summary["half"] is None else f"{mean} ± {summary['half']:.{digits}f}"


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
        return "| " + " | ".join(map(escaped, cells)) + " |\n"

    rule = "|" + "|".join("---:" if sheet.is_number(i) else "---" for i in range(len(sheet.header))) + "|\n"
    title = f"\n{escaped(sheet.title)}\n\n" if sheet.title else ""
    return title + line(sheet.header) + rule + "".join(map(line, sheet.rows))


def escaped(text: str) -> str:
    """Text in which Markdown finds no markup."""
    return re.sub(r"([\\|`*_<>\[\]])", r"\\\1", printable(text))


def latex(sheet: Sheet) -> str:
    """A booktabs table, without the title."""
    rows = [" & ".join(map(_latex_cell, row)) + r" \\" for row in [sheet.header, *sheet.rows]]
    lines = ["{}" + row if row[:1] in ("[", "*") else row for row in rows]  # no option of the \\ or \midrule before it
    columns = "".join("r" if sheet.is_number(i) else "l" for i in range(len(sheet.header)))
    body = "\n".join([lines[0], r"\midrule", *lines[1:]])
    return f"\\begin{{tabular}}{{{columns}}}\n\\toprule\n{body}\n\\bottomrule\n\\end{{tabular}}\n"


def _latex_cell(cell: str) -> str:
    special = {
        "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", NONE: "--",
        "<": "$<$", ">": "$>$", "|": r"\textbar{}",  # which LaTeX's default font has other signs for
    }  # fmt: skip
    return "".join(special.get(letter, f"\\{letter}" if letter in "&%$#_{}" else letter) for letter in printable(cell))
