"""labels.parquet is labels.csv in another file."""

import sys

import pyarrow
import pytest
from miniatures import draw
from pyarrow import parquet

from aevlp.cli import main
from aevlp.config import registry
from aevlp.config.errors import DataError
from aevlp.data.table import Row, read_table

CSV = """image,label,absent,labels,split
0.png,cat|dog,bird,,
1.png,,,,
2.png,,,cat|dog,val
3.png,dog,,,train
4.png,cat,,,test
"""


@pytest.fixture
def root(tmp_path):
    for i in range(5):
        draw(tmp_path / f"{i}.png", i)
    return tmp_path


def write(root, **columns):
    parquet.write_table(pyarrow.table(columns), root / "labels.parquet")
    return root / "labels.parquet"


def test_an_import_may_write_it_and_training_reads_it(root, capsys):
    (root / "mine.csv").write_text(CSV)
    command = ["import", str(root / "mine.csv"), "--root", str(root), "--table"]
    assert main([*command, "labels.parquet"]) == 0
    assert f"table        {root}/labels.parquet" in capsys.readouterr().out
    assert main([*command, "labels.parquet"]) == 0  # there is one that says the same
    assert main(["prepare", "folder", "--root", str(root)]) == 0
    assert main([*command, "other.csv"]) == 0
    found, expected = (read_table(root / name).rows for name in ("labels.parquet", "other.csv"))
    assert [row.line for row in found] == [1, 2, 3, 4, 5]
    assert [(row.image, row.known, row.absent, row.labels, row.split) for row in found] == [
        (row.image, row.known, row.absent, row.labels, row.split) for row in expected
    ]
    build, config = registry.build, registry.get("datasets", "folder").config
    by_default, named = (
        build("datasets", config(name="folder", root=str(root), table=name)) for name in (None, "other.csv")
    )  # fmt: skip
    assert (by_default.train.observed == named.train.observed).all()
    assert (by_default.val.targets == named.val.targets).all()
    (root / "mine.csv").write_text(CSV.replace("3.png,dog", "3.png,cat"))
    assert main([*command, "labels.parquet"]) == 2
    assert main([*command, "labels.csv"]) == 2
    assert main([*command, "labels.txt"]) == 2
    errors = capsys.readouterr().err
    assert f"{root}/labels.parquet: is there already and says something else; --replace writes over it" in errors
    assert f"--table labels.csv: {root}/labels.parquet is there already, and only one is read; move it away first" in errors
    assert "--table labels.txt: must be the name of a file that ends in .csv or .parquet" in errors
    (root / "labels.csv").write_text(CSV)
    assert main(["prepare", "folder", "--root", str(root)]) == 1
    assert f"{root}/labels.csv: there is labels.parquet too; remove one of the two" in capsys.readouterr().err


@pytest.mark.parametrize("kind", [pyarrow.list_(pyarrow.string()), pyarrow.large_list(pyarrow.string())])
def test_labels_may_be_lists_and_columns_stand_in_any_order_and_case(root, kind):
    path = write(
        root, Note=[1, 2], Labels=pyarrow.array([["cat", "dog"], None], kind), IMAGE=["0.png", "1.png"],
        label=pyarrow.array(["cat", None]).dictionary_encode(),
    )  # fmt: skip
    table = read_table(path)
    assert table.rows == [Row(1, "0.png", ("cat",), labels=("cat", "dog")), Row(2, "1.png")]
    assert table.notes == ["columns that are not read: 'Note' (known are image, label, absent, labels, split)"]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"image": ["0.png"], "label": [1]}, "column 'label' holds int64; it must hold text, or lists of text"),
        ({"image": ["0.png", "1.png"], "label": [["a"], ["b", "a|b"]]}, r"parquet:2: 'a\|b' holds \|, which separates labels"),
        (
            {"photo": ["0.png"], "label": ["cat"]},
            r"parquet: two columns must be called image and label \(or labels\); they are 'photo,label'",
        ),
        ({"image": ["0.png", "../x.png"], "label": ["a", "b"]}, r"parquet:2: '\.\./x\.png' leads out of the folder"),
        ({"image": pyarrow.array([], pyarrow.string()), "label": pyarrow.array([], pyarrow.string())}, "lists no image"),
    ],
)
def test_what_is_wrong_is_named_with_its_row(root, columns, message):
    with pytest.raises(DataError, match=message):
        read_table(write(root, **columns))


@pytest.mark.parametrize("damage", [lambda data: b"nonsense", lambda data: data[:-20], lambda data: data[:20] + data[40:]])
def test_a_damaged_file_is_one_line(root, damage, capsys):
    path = write(root, image=["0.png"] * 100, label=["cat"] * 100)
    path.write_bytes(damage(path.read_bytes()))
    assert main(["prepare", "folder", "--root", str(root)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"error: {path}: cannot be read" in line


@pytest.mark.parametrize("damage", [lambda data: b"nonsense", lambda data: data[:-20], lambda data: data[:20] + data[40:]])
def test_a_damaged_file_can_be_replaced(root, damage, capsys):
    path = write(root, image=["0.png"] * 100, label=["cat"] * 100)
    path.write_bytes(damage(path.read_bytes()))
    (root / "mine.csv").write_text(CSV)
    command = ["import", str(root / "mine.csv"), "--root", str(root), "--table", "labels.parquet"]
    assert main(command) == 2
    assert f"{path}: is there already and says something else; --replace writes over it" in capsys.readouterr().err
    assert main([*command, "--replace"]) == 0
    assert len(read_table(path).rows) == 5


def test_without_its_package_it_is_named(root, monkeypatch, capsys):
    write(root, image=["0.png"], label=["cat"])
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert main(["prepare", "folder", "--root", str(root)]) == 1
    assert main(["import", str(root), "--table", "labels.parquet", "--from", "imagefolder", "--replace"]) == 1
    errors = capsys.readouterr().err.splitlines()
    assert errors == ["error: .parquet needs pyarrow: pip install 'aevlp[parquet]', or use a .csv file"] * 2


def test_spaces_around_the_name_of_a_column_are_none_of_it(root):
    columns = {"image": ["0.png", "1.png"], "label": ["cat", "dog"], " split": ["train", "val"], "Absent ": ["dog", ""]}
    parquet.write_table(pyarrow.table(columns), root / "labels.parquet")
    rows = read_table(root / "labels.parquet").rows
    assert [(row.known, row.absent, row.split) for row in rows] == [(("cat",), ("dog",), "train"), (("dog",), (), "val")]
