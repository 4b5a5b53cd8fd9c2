"""For tests of the W&B workspaces: what a specification of them names."""

from __future__ import annotations

from typing import Any


def panels(spec: dict[str, Any]) -> list[dict[str, Any]]:
    """All panels of a specification."""
    return [panel for workspace in spec["workspaces"] for section in workspace["sections"] for panel in section["panels"]]


def metrics(spec: dict[str, Any]) -> list[str]:
    """All metrics that are plotted, axes included, each once."""
    return sorted({name for panel in panels(spec) for name in [*panel["metrics"], *([panel["x"]] if "x" in panel else [])]})
