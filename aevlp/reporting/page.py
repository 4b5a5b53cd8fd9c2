"""A report as one HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aevlp.output import output_file
from aevlp.reporting.html import html_page, require_page
from aevlp.reporting.report import report_data

SCRIPTS = (
    "dom", "experiments", "charts", "ranking", "by_setting", "curves", "pseudo", "classes", "thresholds", "gallery", "mistakes",
    "together", "studies", "facts", "theme", "main",
)  # fmt: skip


def write_report(paths: list[Path], target: Path, baseline: str | None = None) -> int:
    """Write the report of these runs to `target`, complete or not at all; returns its size in bytes.

    Raises:
        ConfigError: there is no run, no such baseline, or `target` is no path for a page, or holds something else.
        DataError: the file cannot be written.
    """
    require_page(target, "report")
    with output_file(target) as aside:
        content = render(report_data(paths, baseline)).encode()
        aside.write_bytes(content)
    return len(content)


def render(data: dict[str, Any]) -> str:
    """The page about what `report_data` gives."""
    return html_page(data, "report", SCRIPTS, ("report",))
