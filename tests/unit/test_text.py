"""Nothing reaches the terminal but through the two modules that make it harmless."""

import ast
import io
import json
import logging
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table

import aevlp
from aevlp.cli import main
from aevlp.reporting.sheets import as_json
from aevlp.terminal import Terminal
from aevlp.text import are, counted, printable, say, without_controls, write_exactly, write_out

PACKAGE = Path(aevlp.__file__).parent
HOSTILE = "a\x1b[2Jb\x9b31mc\rd\x07e\u202ef\u2066g\x7fh\u2028i"
HARMLESS = "a�[2Jb�31mc�d�e�f�g�h�i"


def harmless(text):
    return all(letter == "\n" or unicodedata.category(letter) not in ("Cc", "Cs", "Zl", "Zp") for letter in text) and not any(
        "\u202a" <= letter <= "\u202e" or "\u2066" <= letter <= "\u2069" for letter in text
    )


def test_one_thing_is_counted_in_the_singular():
    found = [f"{counted(number, 'photo', ',')} {are(number)}" for number in (0, 1, np.int64(2), 3000)]
    assert found == ["0 photos are", "1 photo is", "2 photos are", "3,000 photos are"]
    assert [counted(number, "class") for number in (1, 2)] == ["1 class", "2 classes"]


@given(st.text())
def test_what_is_printable_is_one_harmless_line_of_the_same_length(text):
    found = printable(text)
    assert harmless(found)
    assert "\n" not in found
    assert len(found) == len(text)
    assert without_controls(text).count("\n") == text.count("\n")


def test_names_of_every_script_stay_as_they_are():
    for name in ("zebra crossing", "Käse", "猫\u3000犬", "\u0645\u06cc\u200c\u062e\u0648", "👩\u200d🚀", "naïve\u00a0café"):
        assert printable(name) == name
    assert printable(HOSTILE) == HARMLESS


def test_a_line_stays_a_line_whatever_is_in_it(capsys):
    say("one\nerror: two", HOSTILE)
    say(HOSTILE, error=True)
    write_out(f"a,b\n{HOSTILE},c\n")
    write_exactly(f"token=abcdef123.png,{HOSTILE}\n")
    out, err = capsys.readouterr()
    assert out == f"one�error: two\n{HARMLESS}\na,b\n{HARMLESS},c\ntoken=abcdef123.png,{HARMLESS}\n"
    assert err == f"{HARMLESS}\n"


@pytest.mark.parametrize("is_terminal", [False, True])
def test_tables_bars_and_colours_carry_no_foreign_escape(is_terminal):
    output = io.StringIO()
    terminal = Terminal(file=output, force_terminal=is_terminal, width=200, color_system="standard" if is_terminal else None)
    table = Table(HOSTILE)
    table.add_row(HOSTILE)
    table.add_row("[link=http://evil]:smile:[/link]")
    terminal.print(table)
    terminal.print(HOSTILE, style="bold")
    terminal.say(HOSTILE, style="red")
    found = output.getvalue()
    assert "[link=http://evil]:smile:[/link]" in found
    for own in ("\x1b[1m", "\x1b[31m", "\x1b[0m", "\x1b[1;31m"):
        found = found.replace(own, "")
    assert harmless(found)


def test_a_json_table_keeps_every_name_readable_and_exact():
    data = {"name": HOSTILE + "Käse 👩\u200d🚀 \ue000"}
    text = as_json(data)
    assert json.loads(text) == data
    assert "Käse" in text
    assert harmless(text)


def test_errors_notes_and_usage_are_harmless(capsys):
    assert main(["--exp", f"digits{HOSTILE}\nerror: forged"]) == 2
    for words in (["list", HOSTILE], [f"--{HOSTILE}"], ["--exp", "digits_gpr", HOSTILE + "\n"]):
        with pytest.raises(SystemExit):
            main(words)
    logging.getLogger("aevlp").warning("no plot %s", HOSTILE + "\n")
    out, err = capsys.readouterr()
    assert harmless(out + err)
    assert "\nerror: forged" not in err
    assert f"no plot {HARMLESS}�\n" in err


def test_nothing_prints_or_makes_a_console_elsewhere():
    ways = {"print", "Console", "sys.stdout.write", "sys.stderr.write", "warnings.warn", "pprint", "logging.basicConfig"}
    found = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ways:
                found.add((path.relative_to(PACKAGE).as_posix(), ast.unparse(node.func)))
            elif any(isinstance(value, ast.Name) and value.id == "print" for value in ast.iter_child_nodes(node)):
                found.add((path.relative_to(PACKAGE).as_posix(), "print"))
    assert found == {("text.py", "print"), ("text.py", "sys.stdout.write")}
