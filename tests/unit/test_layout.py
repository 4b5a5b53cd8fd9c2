"""Tables for the width there is: nothing is cut, nothing runs over, and a pipe gets a line a row."""

from __future__ import annotations

import io
import itertools
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from aevlp.layout import NONE, Sheet, lay_out, wrap
from aevlp.terminal import Terminal

WORDS = st.text(st.sampled_from("abcxyz_0.猫"), min_size=1, max_size=12) | st.text("m", min_size=30, max_size=90)
CELLS = st.lists(WORDS, max_size=6).map(" ".join)
NUMBERS = st.sampled_from(["97.3 ± 0.4", "12", NONE, "< 0.001"])
RANKING = Sheet(
    "", ["experiment", "seed", "test mAP", "val mAP"], [["digits_gpr", "0,1", "97.3", "96.0"], ["b" * 30, "0", "9.1", NONE]]
)


@st.composite
def sheets(draw):
    numeric = draw(st.booleans())
    columns = draw(st.integers(1, 9))
    titles = CELLS if draw(st.booleans()) else st.just("")
    header = [draw(titles) for _ in range(columns)]
    rows = draw(st.lists(st.tuples(CELLS, *[NUMBERS if numeric else CELLS] * (columns - 1)).map(list), max_size=6))
    wraps = {} if numeric else draw(st.dictionaries(st.integers(0, columns - 1), st.sampled_from([" ", ", "])))
    alike = not numeric and draw(st.booleans())
    return Sheet(draw(CELLS), header, rows, numeric, wraps=wraps, alike=alike, indent=draw(st.integers(0, 4)))


def lines(sheet, width):
    return [line for line, _ in lay_out(sheet, width)]


def words(sheet):
    """How often each word must be seen at least: those that say that there is nothing may be left out."""
    body = Counter(word for row in sheet.rows for cell in row for word in cell.split() if cell != NONE)
    if sheet.alike:  # equal values are told once
        body = Counter(dict.fromkeys(body, 1))
    return body + Counter(sheet.title.split())


@given(sheets(), st.integers(20, 120))
def test_no_line_runs_over_and_every_word_is_there(sheet, width):
    found = lines(sheet, width)
    cells = [sheet.title, *sheet.header, *itertools.chain(*sheet.rows)]
    longest = max((cell_len(word) for cell in cells for word in cell.split()), default=0)
    assert max(map(cell_len, found), default=0) <= max(width, longest)
    assert words(sheet) <= Counter(word for line in found for word in line.split())
    if sheet.rows and not sheet.alike:  # where nothing is said of a column, it may go without its title
        titles = [title for i, title in enumerate(sheet.header) if any(row[i] not in ("", NONE) for row in sheet.rows)]
        assert {word for title in titles for word in title.split()} <= {word for line in found for word in line.split()}


@given(sheets())
def test_without_a_width_a_row_is_a_line(sheet):
    head = 2 * bool(sheet.title) + any(sheet.header)
    found = lines(sheet, None)
    assert len(found) == head + len(sheet.rows)
    for row, line in zip(sheet.rows, found[head:], strict=True):
        assert line.split() == " ".join(row).split()


def test_what_fits_is_columns_and_longer_names_stand_above_their_figures():
    assert lines(RANKING, 80)[:2] == lines(RANKING, None)[:2]
    assert lines(RANKING, 40) == [
        "experiment  seed  test mAP  val mAP",
        "digits_gpr   0,1      97.3     96.0",
        "b" * 30,
        f"               0       9.1        {NONE}",
    ]


def test_figures_that_do_not_fit_are_divided_over_tables_that_repeat_the_names():
    header = ["method", "test mAP", "val mAP", "tuned"]
    sheet = Sheet("", header, [["AN", "97.3 ± 0.4", "90.0 ± 0.1", "98.0 ± 0.2"]])
    assert lines(sheet, 30) == [
        "method    test mAP     val mAP",
        "AN      97.3 ± 0.4  90.0 ± 0.1",
        "",
        "method       tuned",
        "AN      98.0 ± 0.2",
    ]


def test_settings_that_do_not_fit_tell_who_has_which_value():
    names = ["digits_gpr", "digits_an", "digits_em"]
    sheet = Sheet(
        "", ["", *names], [["loss.beta", "[0.0, 2.0]", NONE, NONE], ["loss.q", "1", "2", "1"]], numeric=False, alike=True
    )
    assert lines(sheet, 40) == [
        "loss.beta",
        "  [0.0, 2.0]  digits_gpr",
        "",
        "loss.q",
        "  1  digits_gpr  digits_em",
        "  2  digits_an",
    ]


def test_prose_goes_on_below_its_own_column():
    sheet = Sheet("", ["", ""], [["an", "one two three four five six seven"], ["gpr", "one"]], numeric=False, wraps={1: " "})
    assert lines(sheet, 30) == ["an   one two three four five", "     six seven", "gpr  one"]


@pytest.mark.parametrize(("after", "expected"), [(" ", ["a 1, b", "c 2"]), (", ", ["a 1,", "b c 2"])])
def test_a_list_is_broken_between_its_items_alone(after, expected):
    assert wrap("a 1, b c 2", 6, after) == expected


@pytest.mark.parametrize("is_terminal", [True, False])
def test_sentences_end_at_the_width_of_a_terminal_and_commands_never(is_terminal):
    output = io.StringIO()
    terminal = Terminal(file=output, force_terminal=is_terminal, width=30, color_system=None)
    text = "a sentence that is longer than the terminal is wide"
    terminal.say(text)
    terminal.note(text)
    assert output.getvalue().splitlines() == [text] + (
        ["note  a sentence that is", "      longer than the terminal", "      is wide"] if is_terminal else [f"note  {text}"]
    )
