"""Files of strangers cost time in proportion to their size, or are refused by a limit that the error states."""

import sys

import pytest

import aevlp
from aevlp.cli import main
from aevlp.config import draft, loading
from aevlp.config.errors import ConfigError, DataError, shortened, suggest
from aevlp.config.yaml_reading import MAX_BYTES, MAX_PATH
from aevlp.data.formats.arrays import MAX_CLASSES, read_class_names
from aevlp.suites.suite_file import load_suite
from aevlp.sweeps.plan import Plan
from aevlp.sweeps.space import MAX_COMBINATIONS
from aevlp.sweeps.study_file import MAX_CHOICES, load_study

FORMS = {
    "sections": lambda n: "base: digits_gpr\n" + "\n".join(f"k{i}: {{a: 1}}" for i in range(n)),
    "keys": lambda n: "base: digits_gpr\nloss:\n" + "\n".join(f"  k{i}: 1" for i in range(n)),
    "flow keys": lambda n: "trainer: {" + ", ".join(f"k{i}: 1" for i in range(n)) + "}",
    "numbers": lambda n: "base: digits_gpr\nloss: {beta: [" + ", ".join("1.5" for _ in range(n)) + "]}",
    "lists": lambda n: "a:\n" + "- - - - 1\n" * n,
    "deep lists": lambda n: "a: [" + ("[" * 300 + "]" * 300 + ",") * (n // 100) + "]",
    "bases": lambda n: "base: [" + ", ".join(["dataset/digits"] * n) + "]",
    "a long word": lambda n: "base: digits_gpr\nloss: " + "k" * 10 * n,
    "dots": lambda n: "base: digits_gpr\n? " + "a." * n + "\n: 1",
    "choices": lambda n: f"base: digits_gpr\nspace: {{loss.rho: {{choice: {list(range(n))}}}}}",
    "parameters": lambda n: (
        "base: digits_gpr\nspace:\n" + "\n".join(f"  a{i}: {{choice: [1], when: {{b: 1}}}}" for i in range(n))
    ),
    "rows": lambda n: "rows:\n" + "\n".join(f"  r{i}: gpr" for i in range(n)),
}


def steps(call):
    """Lines of Python and calls into C that something takes: like its time, and the same on every machine."""
    count = 0

    def trace(frame, event, argument):
        nonlocal count
        count += 1
        return trace

    sys.settrace(trace)
    sys.setprofile(trace)
    try:
        call()
    finally:
        sys.setprofile(None)
        sys.settrace(None)
    return count


@pytest.mark.parametrize("form", FORMS)
def test_reading_a_configuration_takes_steps_in_proportion_to_its_length(tmp_path, form):
    load = {"choices": load_study, "parameters": load_study, "rows": load_suite}.get(form, loading.load_experiment)
    took = []

    def read(path):
        try:
            load(str(path))
        except ConfigError as error:
            assert len(str(error)) < 20_000  # noqa: PT017  (most are refused, a few are not)

    for count in (1, 200, 800):  # the first imports what has to be
        path = tmp_path / f"{count}.yaml"
        path.write_text(FORMS[form](count))
        took.append(steps(lambda path=path: read(path)))
    assert took[2] < 6 * took[1]  # in proportion: 4 and less; by its square: 16


def test_a_draft_looks_at_its_origins_only_where_something_is_replaced(monkeypatch):
    calls = []
    monkeypatch.setattr(draft.Draft, "forget", lambda self, path: calls.append(path))
    one = draft.Draft()
    for i in range(100):
        one.merge(f"section{i}", {"a": 1}, {})
    one.merge("loss", {"name": "an"}, {})
    one.merge("loss", {"name": "other"}, {})
    assert calls == ["loss"]


def refused(tmp_path, load, text, message):
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load(str(path))


def test_every_limit_of_a_configuration_is_stated(tmp_path, monkeypatch):
    load = loading.load_experiment
    refused(tmp_path, load, "# " + "é" * (MAX_BYTES // 2), f"x.yaml: larger than {MAX_BYTES} bytes")
    monkeypatch.chdir(tmp_path)
    refused(
        tmp_path, load, "base: [" + "dataset/digits, " * 101 + "]", "x.yaml|digits.yaml: more than 100 files by way of `base`"
    )
    for i in range(8):
        (tmp_path / f"b{i}.yaml").write_text(f"base: [b{i + 1}.yaml, b{i + 1}.yaml, b{i + 1}.yaml]")
    (tmp_path / "b8.yaml").write_text("seed: 1")
    with pytest.raises(ConfigError, match="more than 100 files by way of `base`"):
        load("b0.yaml")
    refused(
        tmp_path, load, "a:\n  " + "b" * MAX_PATH + ": 1", rf"line 2: the dotted path a\.bbb.* is longer than {MAX_PATH} letters"
    )
    refused(tmp_path, load, 'seed: "\\0"', "line 1: holds a zero byte")
    refused(tmp_path, load, '"a\\ud800": 1', "line 1: holds .* half of a letter")
    with pytest.raises(ConfigError, match="1001 changes by --set; at most 1000"):
        load("digits_gpr", ["seed=1"] * 1001)
    with pytest.raises(ConfigError, match=r"(?s)unknown key.*\nand 80 more like these$"):
        load("digits_gpr", [f"loss.k{i}=1" for i in range(100)])


def test_every_limit_of_a_study_and_a_suite_is_stated(tmp_path):
    values = ", ".join(map(str, range(MAX_CHOICES + 1)))
    refused(
        tmp_path,
        load_study,
        f"base: digits_gpr\nspace: {{seed: {{choice: [{values}]}}}}",
        rf"space\.seed\.choice: .* {MAX_CHOICES}",
    )
    names = "\n".join(f"  a{i}: {{choice: [1]}}" for i in range(101))
    refused(tmp_path, load_study, f"base: digits_gpr\nspace:\n{names}", r"x\.yaml:2: space: .* 100")
    rows = "\n".join(f"  r{i}: gpr" for i in range(201))
    refused(tmp_path, load_suite, f"rows:\n{rows}", r"x\.yaml:1: rows: .* 200")
    choices = ", ".join(f"{i / 100}" for i in range(1, 60))
    grid = "".join(f"  loss.{name}: {{choice: [{choices}]}}\n" for name in ("rho", "lambda1", "lambda2"))
    path = tmp_path / "grid.yaml"
    path.write_text(f"base: digits_gpr\nsampler: grid\nspace:\n{grid}")
    plan = Plan.load(str(path))
    with pytest.raises(ConfigError, match=f"a grid of 205,379 combinations; at most {MAX_COMBINATIONS:,}"):
        plan.space.combinations(plan.values)


def test_a_long_class_list_is_read_in_proportion_and_a_longer_one_refused(tmp_path):
    path = tmp_path / "classes.txt"
    path.write_text("\n".join(f"class {i}" for i in range(MAX_CLASSES)))
    assert len(read_class_names(path)) == MAX_CLASSES  # by its square: minutes
    path.write_text("\n".join(f"class {i}" for i in range(200_000)))
    with pytest.raises(DataError, match=r"classes\.txt: names 200,000 classes; at most 50,000"):
        read_class_names(path)
    path.write_text("\n".join(f"class {i // 2}" for i in range(200_000)))
    with pytest.raises(DataError, match="'class 0' appears twice"):
        read_class_names(path)


def test_a_word_is_compared_with_a_bounded_number_of_names(monkeypatch):
    compared = []
    monkeypatch.setattr("difflib.get_close_matches", lambda word, names, **_: compared.append((len(word), len(names))) or [])
    assert suggest("x" * 1_000_000, (f"x{i}" for i in range(100_000))) == ""
    ((letters, names),) = compared
    assert letters <= 100
    assert names <= 1000


def test_a_near_name_is_found_among_many():
    assert suggest("class 1999x", [f"class {i}" for i in range(10_000)]) != ""
    assert suggest("gpt", ["gpr", "an"]) == "; did you mean 'gpr'?"


def test_an_error_repeats_no_more_than_a_line_of_a_long_word(tmp_path, capsys):
    assert main(["show", "--exp", "digits_gpr", "--set", f"loss={'k' * 100_000}"]) == 2
    assert main(["show", "--exp", "digits_gpr", "--set", f"seed=[{'1, ' * 10_000}]"]) == 2
    assert len(capsys.readouterr().err) < 5000
    assert shortened("abc", 3) == "abc"
    assert aevlp.load_experiment("digits_gpr").seed == 0
