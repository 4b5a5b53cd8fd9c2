"""Files of anybody: read where they are regular and not too large; else one kind of error that names the file."""

import os

import numpy as np
import pytest

from aevlp.config.errors import DataError
from aevlp.data.npz import require
from aevlp.reading import MAX_NUMBER, number, open_regular, parse_json, read_bytes, read_json, read_table, read_text


def make_pipe(path):
    os.mkfifo(path)


def make_loop(path):
    path.symlink_to(path.name)


def make_device(path):
    path.symlink_to("/dev/zero")


def make_sparse(path):
    path.touch()
    os.truncate(path, 1 << 40)


KINDS = {
    make_pipe: "is a named pipe, not a file", os.mkdir: "is a folder, not a file", make_loop: "symbolic links",
    make_device: "is a device, not a file",
    make_sparse: "it has 1,099,511,627,776 bytes; at most 100,000,000 are read",
}  # fmt: skip


@pytest.mark.parametrize("make", KINDS, ids=lambda make: make.__name__)
def test_what_is_no_file_of_a_sane_size_is_refused_at_once(tmp_path, never_waits, make):
    path = tmp_path / "x"
    make(path)
    with pytest.raises(DataError) as error:
        read_bytes(path)
    assert str(error.value).startswith(f"{path}: cannot be read: ")
    assert KINDS[make] in str(error.value)


def test_a_file_is_read_to_its_last_byte_and_not_beyond_the_limit(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"12345")
    assert read_bytes(path, 5) == b"12345"
    with pytest.raises(DataError, match="at most 4 are read"):
        read_bytes(path, 4)
    with open_regular(path) as file:
        assert file.read() == b"12345"


@pytest.mark.parametrize("name", ["absent", "file/below", "dangling"])
def test_an_absent_file_is_told_apart(tmp_path, name):
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to("nowhere")
    with pytest.raises(FileNotFoundError):
        read_text(tmp_path / name)


DAMAGED = [
    b"", b"{", b"\xff{}", b"[" * 200_000, b'{"a":' * 200_000, b"9" * 5000, b'"\\ud800"', b'{"\\uDfff": 1}', b"{}x",
]  # fmt: skip


@pytest.mark.parametrize("content", DAMAGED, ids=lambda content: repr(content[:8]))
def test_what_is_no_json_is_one_kind_of_error(tmp_path, content):
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(DataError) as error:
        read_json(path)
    assert str(error.value).startswith(f"{path}: cannot be read: ")
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match=r"\w"):
        parse_json(content)


def test_whole_letters_in_escapes_are_read():
    assert parse_json('["\\ud83d\\ude00", "\\\\ud800"]') == ["😀", "\\ud800"]


@pytest.mark.parametrize("text", ["", "a,b\n1\n", "a,b\n1,2,3\n", 'a,b\n"1,2\n', f"a,b\n{'x' * 200_000},1\n"])
def test_a_table_has_all_columns_in_all_rows(tmp_path, text):
    path = tmp_path / "x.csv"
    path.write_text(text)
    with pytest.raises(DataError, match="cannot be read"):
        read_table(path)
    path.write_text('a,b\n1,"2, 3"\n\n4,5\n')
    assert read_table(path) == [{"a": "1", "b": "2, 3"}, {"a": "4", "b": "5"}]


@pytest.mark.parametrize(
    "value", [None, True, "1", [1], {}, float("nan"), float("inf"), -float("inf"), 10**400, -(10**101), 2 * MAX_NUMBER]
)
def test_what_is_no_number_of_a_sane_size_is_none(value):
    assert number(value) is None


@pytest.mark.parametrize("value", [0, -1, 0.5, 10**30, 1e99])
def test_numbers_stay(value):
    assert number(value) == float(value)


FORMS = {"scores": "f NC", "rows": "iu N", "names": "U C", "more": "f NNC?"}


def arrays(**changes):
    made = {"scores": np.zeros((2, 3)), "rows": np.arange(2), "names": np.array(["a", "b", "c"])} | changes
    return {name: array for name, array in made.items() if array is not None}


def test_arrays_that_fit_each_other_are_taken():
    require(arrays(), FORMS)
    require(arrays(more=np.zeros((2, 2, 3), np.float16)), FORMS)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"scores": None}, "scores is missing"),
        ({"scores": np.zeros(2)}, r"scores is float64 of shape \(2,\), which does not fit float \(N, C\)"),
        ({"scores": np.zeros((2, 3), int)}, "scores is int64"),
        ({"scores": np.full((2, 3), np.nan)}, "scores holds values that are no finite numbers"),
        ({"rows": np.arange(3)}, r"rows is int64 of shape \(3,\), which does not fit int/uint \(2\)"),
        ({"names": np.array(["a"])}, "names is <U1"),
        ({"more": np.zeros((2, 3, 3))}, r"more is float64 of shape \(2, 3, 3\)"),
        ({"rows": np.array(0)}, "rows is int64 of shape"),
    ],
)
def test_arrays_that_do_not_fit_are_named(changes, said):
    with pytest.raises(ValueError, match=said):
        require(arrays(**changes), FORMS)
