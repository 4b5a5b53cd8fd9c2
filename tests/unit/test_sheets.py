"""Tables as text of other programs: what LaTeX prints is what stands in the cell."""

from __future__ import annotations

import string

import pytest

from aevlp.layout import Sheet
from aevlp.reporting.sheets import latex

# In OT1, LaTeX's default, `<` is an inverted exclamation mark, `>` an inverted question mark and `|` a dash.
NOT_AS_TYPED = set("\\~^&%$#_{}<>|")


@pytest.mark.parametrize("letter", sorted(NOT_AS_TYPED))
def test_a_letter_that_latex_prints_as_another_or_not_at_all_is_written_in_its_words(letter):
    row = latex(Sheet("", ["p"], [[f"a{letter}b"]])).splitlines()[4]
    cell = row.removesuffix(r" \\")
    assert cell != f"a{letter}b"
    assert cell in (f"a\\{letter}b", f"a${letter}$b") or cell.startswith(r"a\text")
    assert cell.endswith("b")


@pytest.mark.parametrize("letter", sorted(set(string.printable.strip()) - NOT_AS_TYPED))
def test_all_others_stand_as_they_are(letter):
    assert f"a{letter}b" in latex(Sheet("", ["p"], [[f"a{letter}b"]]))


def test_a_small_p_is_below_and_not_an_exclamation_mark():
    assert r"AN & $<$ 0.001 \\" in latex(Sheet("", ["method", "p (Holm)"], [["AN", "< 0.001"]], text=("method",)))
