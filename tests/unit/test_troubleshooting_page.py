"""docs/troubleshooting.md quotes messages as the program says them."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
QUOTED = re.findall(r"^- \*\*`(.+?)`\*\*", (ROOT / "docs" / "troubleshooting.md").read_text(), re.M)
TREES = [ast.parse(path.read_text()) for path in (ROOT / "aevlp").rglob("*.py")]
# Texts with a name, which messages begin with.
NAMED = {
    ast.unparse(node.targets[0]): node.value.value
    for tree in TREES for node in tree.body
    if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
}  # fmt: skip


def said(part: ast.expr) -> str:
    """A part of a text; a zero byte for what is put into it."""
    if isinstance(part, ast.FormattedValue):
        return NAMED.get(ast.unparse(part.value), "\0")
    return str(part.value)


TEXTS = {
    "".join(map(said, node.values)) if isinstance(node, ast.JoinedStr) else node.value
    for tree in TREES for node in ast.walk(tree)
    if isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))
}  # fmt: skip


def is_said(message: str) -> bool:
    """Whether the words around each `...` of a message stand in one text of the program, in this order."""
    pattern = ".+?".join(re.escape(words) for words in message.split("..."))
    return any(re.search(pattern, text, re.S) for text in TEXTS)


@pytest.mark.parametrize("message", QUOTED)
def test_a_quoted_message_is_still_said(message):
    assert is_said(message)
    assert len(message.replace("...", "")) >= 8


def test_other_words_are_noticed():
    assert len(set(QUOTED)) == len(QUOTED) > 50
    assert not is_said("the loss is not finite in step ...")
    assert not is_said("are absent ... no such words")
