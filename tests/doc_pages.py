"""What a reader of README.md and docs/ copies: blocks of code, and the commands in them, each with its page and line.

A block may be marked by a comment in the line before it, `<!-- not run: needs a GPU -->`; then its commands are checked but not
run. Blocks of commands are read by bash itself, in which every program is one that writes down how it was called: so loops,
variables and continued lines mean what they mean to a reader.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import tempfile
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MARK = re.compile(r"<!-- not run: (.+?) -->")
_FENCE = re.compile(r"\s*```+\s*(\w*)")
_INLINE = re.compile(r"`(python (?:run\.py|-m aevlp) [^`]+)`")
_NAME = re.compile(r"# ([\w./-]+\.(?:py|ya?ml))\b")
_LIKE_A_COMMAND = re.compile(r"^\s*\$?\s*(python run\.py|python -m aevlp|aevlp|pip|torchrun) ", re.M)
_EVERY_PROGRAM = r"""
command_not_found_handle() { printf '%s\0' "${BASH_LINENO[0]}" "$#" "$@" >> "$RECORD"; }
cd() { :; }
source() { :; }
"""


@dataclass(frozen=True)
class Block:
    """A fenced block."""

    page: str
    line: int
    """Of its first line of text, counted from 1."""
    language: str
    text: str
    not_run: str | None
    """Why it is not run; None where it is."""

    @property
    def where(self) -> str:
        """`page:line`."""
        return f"{self.page}:{self.line}"

    @property
    def name(self) -> str | None:
        """The file that the block is, where its first line says so, as `# focal.py` does."""
        found = _NAME.match(self.text)
        return found[1] if found else None


@dataclass(frozen=True)
class Command:
    """One call of a program."""

    page: str
    line: int
    words: tuple[str, ...]
    not_run: str | None
    """Why it is checked only; None where it is run."""
    block: Block | None = None
    """None for a command in the text."""

    @property
    def where(self) -> str:
        """`page:line`."""
        return f"{self.page}:{self.line}"

    def __str__(self) -> str:
        return shlex.join(self.words)


def pages() -> dict[str, str]:
    """Text of every page, by its path in the project."""
    found = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")]
    found = [path for path in found if path.is_file()] + sorted((ROOT / "docs").rglob("*.md"))
    return {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in found}


def blocks(page: str, text: str) -> list[Block]:
    """The fenced blocks of a page."""
    found, lines = [], text.splitlines()
    opened: tuple[int, str] | None = None
    for number, line in enumerate(lines, start=1):
        fence = _FENCE.match(line)
        if fence and opened is None:
            opened = (number, fence[1])
        elif fence and opened is not None:
            start, language = opened
            mark = MARK.search(lines[start - 2]) if start > 1 else None
            content = textwrap.dedent("\n".join(lines[start : number - 1])) + "\n"
            found.append(Block(page, start + 1, language, content, mark[1] if mark else None))
            opened = None
    assert opened is None, f"{page}:{opened and opened[0]}: the block does not end"
    return found


def commands(page: str, text: str) -> list[Command]:
    """The commands of a page: those of its blocks, as bash reads them, and those in the text, which are never run."""
    found = [command for block in blocks(page, text) if block.language in ("bash", "sh", "shell", "console")
             for command in _of_block(block)]  # fmt: skip
    return found + list(_in_text(page, text))


def unread(page: str, text: str) -> list[str]:
    """Where a block holds commands that nobody would run, as it has no language or another one."""
    read = ("bash", "sh", "shell", "console", "python", "yaml")
    return [block.where for block in blocks(page, text) if block.language not in read and _LIKE_A_COMMAND.search(block.text)]


def _of_block(block: Block) -> Iterator[Command]:
    with tempfile.TemporaryDirectory() as folder:
        script, programs, record = (Path(folder) / name for name in ("script", "programs", "record"))
        script.write_text(block.text)
        programs.write_text(_EVERY_PROGRAM)
        record.touch()
        # No PATH, so that nothing is found and all is written down.
        environment = {"BASH_ENV": str(programs), "RECORD": str(record), "PATH": os.devnull, "LC_ALL": "C.UTF-8"}
        shell = subprocess.run(["/bin/bash", script], cwd=folder, env=environment, capture_output=True, text=True, timeout=60)
        words = iter(record.read_bytes().decode().split("\0")[:-1])
    assert not shell.stderr, f"{block.where}: bash cannot read this block: {shell.stderr}"
    for line in words:
        call = tuple(next(words) for _ in range(int(next(words))))
        yield Command(block.page, block.line + int(line) - 1, call, block.not_run, block)


def _in_text(page: str, text: str) -> Iterable[Command]:
    fenced = False
    for number, line in enumerate(text.splitlines(), start=1):
        fenced ^= bool(_FENCE.match(line))
        for call in [] if fenced else _INLINE.findall(line):
            if not re.search(r"\.\.\.|…|[{}]", call):  # a form, not a command
                yield Command(page, number, tuple(shlex.split(call)), "stands in the text")
