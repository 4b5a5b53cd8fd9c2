"""A report as one HTML file: template, style, scripts and data in one, and nothing that is fetched."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

from aevlp.output import output_file
from aevlp.reporting.budget import embedded
from aevlp.reporting.report import report_data

ASSETS = Path(__file__).with_name("page")
SCRIPTS = (
    "dom", "charts", "ranking", "curves", "pseudo", "classes", "thresholds", "gallery", "mistakes", "together", "studies",
    "facts", "main",
)  # fmt: skip


def write_report(paths: list[Path], target: Path, baseline: str | None = None) -> int:
    """Write the report of these runs to `target`, complete or not at all; returns its size in bytes.

    Raises:
        ConfigError: there is no run, no such baseline, or `target` is no path for a file.
        DataError: the file cannot be written.
    """
    with output_file(target) as aside:
        content = render(report_data(paths, baseline)).encode()
        aside.write_bytes(content)
    return len(content)


def render(data: dict[str, Any]) -> str:
    """The page. Its content security policy allows its own style and script by hash, images as data, and nothing else."""
    style = (ASSETS / "report.css").read_text(encoding="utf-8")
    scripts = "\n".join((ASSETS / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS)
    script = f'"use strict";\n(() => {{\n{scripts}\n}})();\n'
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    page = (ASSETS / "report.html").read_text(encoding="utf-8")
    parts = {"POLICY": policy, "STYLE": style, "SCRIPT": script, "DATA": embedded(data)}
    before, *rest = page.split("{{")
    pieces = [(name, after) for name, _, after in (piece.partition("}}") for piece in rest)]
    return before + "".join(parts[name] + after for name, after in pieces)


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
