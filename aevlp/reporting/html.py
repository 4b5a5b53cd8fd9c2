"""One HTML file of a template, styles, scripts and data, in which nothing is fetched."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aevlp.config.errors import ConfigError
from aevlp.output import marked, require_own
from aevlp.reporting.budget import embedded

ASSETS = Path(__file__).with_name("page")


def html_page(data: dict[str, Any], template: str, scripts: Sequence[str], styles: Sequence[str]) -> str:
    """A page of these assets, by name, about `data`, which its scripts find in the element `data`.

    Its content security policy allows its own style and script by hash, images as data, and nothing else.
    """
    style = "\n".join(_asset(f"{name}.css") for name in styles)
    code = "\n".join(_asset(f"{name}.js") for name in scripts)
    script = f'"use strict";\n(() => {{\n{code}\n}})();\n'
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    page = "".join(_asset(f"{name}.html") for name in ("head", template, "foot"))
    parts = {"TITLE": template, "POLICY": policy, "STYLE": style, "SCRIPT": script, "DATA": embedded(data)}
    before, *rest = page.split("{{")
    pieces = [(name, after) for name, _, after in (piece.partition("}}") for piece in rest)]
    return before + "".join(parts[name] + after for name, after in pieces)


def require_page(target: Path, kind: str, flag: str = "-o") -> None:
    """ConfigError where no page can be put, or anything but one of the same kind would be lost by it; before the work.

    A page's title is "aevlp", its kind, and anything.
    """
    if target.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(f"{flag} {target}: is to be a page for a browser; give a name that ends in .html")
    require_own(target, f"{kind} page", marked(f"<title>aevlp {kind}"), flag)


def jpeg_uri(jpeg: bytes) -> str:
    """A JPEG file as the address of an image."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()


def _asset(name: str) -> str:
    return (ASSETS / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
