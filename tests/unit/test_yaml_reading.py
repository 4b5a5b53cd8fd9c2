"""YAML reading: plain data in, plain data out, and a ConfigError with file and line for everything else."""

from __future__ import annotations

import contextlib
import json
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aevlp.config.errors import ConfigError
from aevlp.config.yaml_reading import MAX_BYTES, MAX_DEPTH, read_yaml, write_yaml

LETTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
WORDS = st.text(LETTERS, max_size=12) | st.from_regex(r"[-+]?[0-9.eE+_:x-]{1,8}", fullmatch=True)
SCALARS = st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats(allow_nan=False, allow_infinity=False) | WORDS
PIECES = (
    "a: ", "b: ", "\n", "  ", "- ", "[", "]", "{", "}", ", ", "? ", ": ", "#", "'", '"', "|", ">", "&x ", "*x", "<<: ", "!x ",
    "!!set ", "!!python/object/apply:antigravity.fly ", "!!python/name:this ", "!!python/module:antigravity ", "!!binary ",
    "---\n", "...\n", "%YAML 1.1\n",
    "1e-4", "1e999", ".inf", ".nan", "9" * 400, "\\UFFFFFFFF", "\\x00", "\t", "\x00", "\x85", "é", "~", "off",
)  # fmt: skip


def value(text: str) -> object:
    return read_yaml(f"a: {text}", "x.yaml")[0]["a"]


def error(text: str) -> str:
    with pytest.raises(ConfigError) as raised:
        read_yaml(text, "x.yaml")
    return str(raised.value)


@pytest.mark.parametrize(
    ("text", "number"),
    [("1e-4", 1e-4), ("1E5", 1e5), ("-.5e+3", -500.0), ("+.5", 0.5), ("5.", 5.0), ("1.5e3", 1500.0), ("0.1", 0.1)],
)
def test_a_number_with_exponent_or_point_is_a_float(text, number):
    assert value(text) == number
    assert type(value(text)) is float


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("-12", -12), ("+3", 3), ("010", 10)])
def test_digits_are_a_decimal_integer(text, number):
    assert value(text) == number
    assert type(value(text)) is int


def test_what_yaml_1_1_would_convert_stays_a_word():
    for word in ("off", "on", "no", "No", "yes", "y", "tRue", "0x1F", "1_000", "12:30", "2026-01-02", "=", "e5", "1e", "."):
        assert value(word) == word


def test_booleans_and_null_are_those_of_yaml_1_2():
    assert [value(word) for word in ("true", "True", "FALSE", "null", "~", "")] == [True, True, False, None, None, None]


@pytest.mark.parametrize("text", ["'1e-4'", '"true"', "'null'", "'.nan'"])
def test_quoted_scalars_stay_words(text):
    assert value(text) == text[1:-1]


def test_every_dotted_path_has_the_line_of_its_key():
    data, lines = read_yaml("# comment\nloss:\n  name: gpr\n  beta:\n    - 0\n    - 2\nseed: 1\n", "x.yaml")
    assert data == {"loss": {"name": "gpr", "beta": [0, 2]}, "seed": 1}
    expected = {"loss": 2, "loss.name": 3, "loss.beta": 4, "loss.beta[0]": 5, "loss.beta[1]": 6, "seed": 7}
    assert {path: lines[path] for path in expected} == expected


@pytest.mark.parametrize("text", ["a: 1\n\na: 2", "a: 1\n\n'a': 2", "b:\n  a: 1\n  a: 1"])
def test_a_key_given_twice_is_refused_at_the_second(text):
    assert error(text) == "x.yaml, line 3: 'a' appears twice; keep one of the two"


@pytest.mark.parametrize("text", [".inf", "-.INF", "+.Inf", ".nan", ".NaN", "1e999", "-1e999", "9" * 400, "1" * 5000, "0" * 5000])
def test_a_number_that_is_not_finite_or_too_large_is_refused(text):
    message = error(f"b: 1\na: [1, {text}]")
    assert message.startswith("x.yaml, line 2: ")
    assert message.endswith(("is not a finite number", "is too large for a number"))
    assert len(message) < 100


@pytest.mark.parametrize("text", ["a: &x 1\nb: *x", "a: &x {c: 1}\nb: {<<: *x}", "a: &x [*x]", "&x a: *x", "&x a: 1\n*x : 2"])
def test_an_alias_is_refused(text):
    assert "x.yaml, line 1: anchors and aliases are not supported" in error(text)


def test_a_bomb_of_aliases_is_refused_at_once():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    assert "aliases are not supported" in error("\n".join(lines))


@pytest.mark.parametrize(
    "text",
    [
        "!!python/object/apply:os.system [ls]", "!!python/object:os.system {}", "!!python/name:os.system ''",
        "!!python/name:os.system", "!!python/module:antigravity ''",
        "!!binary aGk=", "!!set {x}", "!!omap [x: 1]", "!own 'x'", "!own {x: 1}", "{!own x: 1}",
    ],
)  # fmt: skip
def test_a_tag_is_refused_on_every_kind_of_node(text):
    assert error(f"b: 1\na: {text}").startswith("x.yaml, line 2: the tag !")


def test_depth_is_limited():
    assert value("[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1))
    assert error("a: " + "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1)).endswith(f"nested deeper than {MAX_DEPTH} levels")
    for text in ("[" * 5000, "- " * 5000 + "a", "{a: " * 5000):
        assert error(text) == f"x.yaml: nested deeper than {MAX_DEPTH} levels"


def test_size_is_limited():
    assert "larger than" in error("# " + "x" * MAX_BYTES)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: 1\nb: [1", 2), ("a: 1\n\tb: 2", 2), ("a: 1\n---\nb: 2", 2), ("a: 1\nb: \x00", 2), ("a: 1\n? [b]\n: 1", 2),
        ("a: @b", 1), ("*x", 1),
    ],
)  # fmt: skip
def test_what_is_not_one_valid_document_is_refused_with_its_line(text, line):
    message = error(text)
    assert message.startswith(f"x.yaml, line {line}: ")
    assert "\n" not in message


def test_an_impossible_character_escape_is_refused():
    assert error('a: "\\UFFFFFFFF"').startswith("x.yaml: not valid YAML: ")


def test_a_letter_written_as_two_halves_is_one_and_half_of_one_is_refused():
    assert read_yaml(json.dumps({"a 🐦": "b 🐦"}), "x.yaml")[0] == {"a 🐦": "b 🐦"}
    for half in (r"\ud83d", r"\udc26", r"\udc26\ud83d"):
        assert error(f'a: "{half}"') == "x.yaml, line 1: holds a zero byte, or half of a letter"


def test_an_empty_document_is_none_and_a_byte_order_mark_is_skipped():
    assert read_yaml("# nothing\n", "x.yaml") == (None, {})
    assert read_yaml("\ufeffa: 1", "x.yaml")[0] == {"a": 1}


@settings(max_examples=400, deadline=None)
@given(st.text(max_size=60) | st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=12).map("".join))
def test_no_text_imports_a_module_or_raises_another_error(text):
    modules = set(sys.modules)
    with contextlib.suppress(ConfigError):
        json.dumps(read_yaml(text, "x.yaml")[0], allow_nan=False)
    assert set(sys.modules) == modules


@settings(max_examples=200, deadline=None)
@given(st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3), max_leaves=8))
def test_what_is_written_is_read_back_equal(data):
    again, _ = read_yaml(write_yaml({"a": data}), "x.yaml")
    assert json.dumps(again) == json.dumps({"a": data})


def test_lists_of_plain_values_are_written_on_one_line():
    assert write_yaml({"beta": [0.0, 2.0], "names": [{"a": 1}], "none": []}) == "beta: [0.0, 2.0]\nnames:\n- a: 1\nnone: []\n"
