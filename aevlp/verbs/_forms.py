"""Flags for the form of a comparison, shared by the verbs that print one."""

from __future__ import annotations

import argparse


def add_forms(parser: argparse.ArgumentParser) -> None:
    """--json, --csv, --markdown, --latex; `form` is None without."""
    forms = parser.add_mutually_exclusive_group()
    for form in ("json", "csv", "markdown", "latex"):
        forms.add_argument(f"--{form}", dest="form", action="store_const", const=form, help=f"as {form} on stdout")
