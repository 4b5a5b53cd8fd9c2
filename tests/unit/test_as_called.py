"""Photos that a table names otherwise than their files are called."""

from functools import partial

import pytest
from miniatures import draw, write_table
from miniatures import load_folder as load

from aevlp.cli import main
from aevlp.config.errors import DataError
from aevlp.data.table import read_table


@pytest.fixture
def folder(tmp_path):
    """Write labels.csv and the images it names; a function of its lines."""
    return partial(write_table, tmp_path)


@pytest.mark.parametrize("name", ["0.PNG", "0", "sub\\0.png"])
def test_a_photo_that_another_row_names_is_not_taken_for_one_that_is_absent(name, folder, capsys):
    there = "sub/0.png" if "sub" in name else "0.png"
    root = folder("image,label", f"{name},cat", f"{there},dog", *(f"{i}.png,dog" for i in range(1, 8)))
    draw(root / "sub/0.png", 3)
    if there == "0.png":
        (root / "sub/0.png").unlink()
    data = load(root, on_bad_image="quarantine")
    known = {part.images.name(i): part.observed[i].tolist() for part in (data.train, data.val) for i in range(len(part))}
    assert len(known) == 8
    assert known[there] == [0, 1]
    assert main(["prepare", "folder", "--root", str(root)]) == 1
    output = " ".join(capsys.readouterr())
    assert f"{name}: listed in {root}/labels.csv:2, but there is no such file; 1 such image" in output
    assert "called otherwise" not in output
    assert "may be" not in output


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_nor_is_it_said_to_be_meant_whatever_the_split_of_that_row(split, folder):
    root = folder("image,label,split", "0.PNG,cat,train", f"0.png,dog,{split}", "1.png,cat,train", "2.png,dog,val")
    with pytest.raises(DataError, match=r"0\.PNG: listed in \S+/labels\.csv:2, but there is no such file; 1 of \d training"):
        load(root)


def test_a_table_that_is_imported_again_keeps_its_order(folder):
    root = folder("image,label,split", "8.png,cat,val", "a\\2.png,dog,", "5,cat,", "x/1.png,dog,", "0.png,cat,val")
    assert main(["import", f"{root}/labels.csv", "--root", str(root), "--replace"]) == 0
    assert [row.image for row in read_table(root / "labels.csv").rows] == ["8.png", "2.png", "5.png", "1.png", "0.png"]
