"""A CSV file: what a model wrote, and paths as `predict` names photos."""

import pytest
from exports import row

from aevlp.cli import main
from aevlp.config.errors import DataError
from aevlp.data.formats.folder import FolderConfig, table_of, table_path
from aevlp.data.table import read_table

GUESSED = "a model's guesses, not what a person said; they are taken as known labels, never as all there are"


@pytest.mark.parametrize(
    "lines",
    [
        ["image,cat,dog,labels", "a.jpg,0.2,0.1,", "b.jpg,0.9,0.8,cat|dog"],
        ["image,cat,dog,image (probability),labels", "a.jpg,0.2,0.1,1e-05,", "b.jpg,0.9,1,0.5,cat|dog|image"],
    ],
)
def test_what_predict_wrote_is_known_and_never_all(lines, put, imported):
    source = put(**{"scores.csv": "\n".join(lines) + "\n", "a.jpg": None, "b.jpg": None})
    rows, told = imported(source / "scores.csv", root=source)
    assert rows == [row("a.jpg"), row("b.jpg", lines[-1].rpartition(",")[2].split("|"))]
    assert told == f"note  labels written by `predict` are {GUESSED}\n"


@pytest.mark.parametrize(
    "lines",
    [
        ["image,cat,dog,labels", "a.jpg,0.2,0.1,", "b.jpg,0.9,0.8,cat|sofa"],  # a class that has no column
        ["image,weight,labels", "a.jpg,0.2,", "b.jpg,3,cat"],
        ["image,weight,labels", "a.jpg,,", "b.jpg,,weight"],
        ["image,labels,cat", "a.jpg,,0", "b.jpg,cat,0.9"],
    ],
)
def test_what_only_looks_like_it_tells_all_labels(lines, put, imported):
    source = put(**{"mine.csv": "\n".join(lines) + "\n", "a.jpg": None, "b.jpg": None})
    rows, told = imported(source / "mine.csv", root=source)
    assert "guesses" not in told
    assert rows[1][3]


def test_what_label_wrote_is_told_to_be_guessed(put, imported):
    text = "image,label,absent,class,sign,score,view,global_probability\na.jpg,cat|dog,,dog,1,0.9,whole,0.9\n"
    source = put(**{"pseudo.csv": text, "a.jpg": None})
    rows, told = imported(source / "pseudo.csv", root=source)
    assert rows == [row("a.jpg", ["cat", "dog"])]
    assert f"labels written by `label` are {GUESSED}" in told


@pytest.mark.parametrize("name", ["{root}/sub/a.jpg", "source/sub/a.jpg", "./source/sub/a.jpg", "sub/a.jpg"])
def test_a_path_through_the_root_is_no_other_name(name, put, imported):
    source = put(**{"sub/a.jpg": None})
    (source.parent / "mine.csv").write_text(f"image,label\n{name.format(root=source)},cat\n")
    rows, told = imported(source.parent / "mine.csv", root=source)
    assert rows == [row("sub/a.jpg", ["cat"])]
    assert told == ""


@pytest.mark.parametrize("name", ["/elsewhere/source/sub/a.jpg", "other/sub/a.jpg", "/sub/a.jpg"])
def test_a_path_through_another_folder_is_told(name, put, imported):
    source = put(**{"sub/a.jpg": None})
    (source.parent / "mine.csv").write_text(f"image,label\n{name},cat\n")
    assert (
        f"1 named with folders that are not below the root: {name} is sub/a.jpg"
        in imported(source.parent / "mine.csv", root=source)[1]
    )


@pytest.mark.parametrize("name", ["a.jpg", "sub/a.jpg", "/elsewhere/a.jpg", "C:\\photos\\a.jpg"])
def test_the_folder_of_a_file_is_the_root_where_its_photos_lie_there(name, put, capsys):
    source = put(**{"a.jpg": None, "sub/a.jpg": None, "mine.csv": f"filename,class\ngone.jpg,dog\n{name},cat\n"})
    assert main(["import", str(source / "mine.csv")]) == 1  # gone.jpg is left out
    capsys.readouterr()
    assert len(read_table(source / "labels.csv").rows) == 1


@pytest.mark.parametrize("header", ["filename,class", "PATH,tags"])
def test_a_table_of_other_columns_is_told_with_a_command_that_works(header, put, capsys):
    source = put(**{"labels.csv": f"{header}\n{''.join(f'{i}.jpg,cat' + chr(10) for i in range(5))}"} | {
        f"{i}.jpg": None for i in range(5)
    })  # fmt: skip
    assert main(["prepare", "folder", "--root", str(source)]) == 1
    command = capsys.readouterr().err.partition("have it made into one: python run.py ")[2].split()
    assert command == ["import", f"{source}/labels.csv", "--from", "csv", "--root", str(source), "--replace"]
    assert main(["import", str(source)]) == 2
    error = capsys.readouterr().err
    assert f"holds labels.csv; import that: python run.py import {source}/labels.csv --root {source}\n" in error
    assert main(command) == 0
    assert main(["prepare", "folder", "--root", str(source)]) == 0


def told_of(root, **settings):
    """What reading the table says, as an error or as notes."""
    config = FolderConfig(name="folder", root=str(root), **settings)
    try:
        return "\n".join(table_of(config, root, table_path(config, root)).notes)
    except DataError as error:
        return str(error)


@pytest.mark.parametrize("text", ["filename,class\n{}.jpg,cat\n", "image,label\nelsewhere/{}.jpg,cat\n"])
def test_a_table_of_another_name_is_written_anew_under_that_name(text, put, capsys):
    head, line = text.splitlines(keepends=True)
    files = {f"{i}.jpg": None for i in range(3)} | {"labels.csv": "image,label\n0.jpg,dog\n"}
    source = put(**{"mine.csv": head + "".join(line.format(i) for i in range(3))} | files)
    command = told_of(source, table="mine.csv").partition(": python run.py import ")[2].split()
    assert command[-5:] == ["--root", str(source), "--table", "mine.csv", "--replace"]
    assert main(["import", *command]) == 0
    output = capsys.readouterr().out
    assert output.endswith(f"python run.py --exp folder_gpr --set dataset.root={source} dataset.table=mine.csv\n")
    assert (source / "labels.csv").read_text() == "image,label\n0.jpg,dog\n"
    assert told_of(source, table="mine.csv") == ""


@pytest.mark.parametrize("text", ["filename,class\n0.jpg,cat\n", "image,label\nelsewhere/0.jpg,cat\n"])
def test_where_photos_and_table_lie_apart_no_command_is_told(text, put):
    source = put(**{"labels.csv": text, "photos/0.jpg": None})
    said = told_of(source, images="photos")
    assert "may be 0.jpg" in said or "Write such a line" in said
    assert " import " not in said


def test_columns_that_nobody_can_guess_have_to_be_told(put, capsys):
    source = put(**{"labels.csv": "photo,what\na.jpg,cat\n", "a.jpg": None})
    assert main(["prepare", "folder", "--root", str(source)]) == 1
    assert "tell what the columns are called: python run.py import" in (error := capsys.readouterr().err)
    assert error.endswith("--image NAME --label NAME --replace\n")


@pytest.mark.parametrize("line", ["a.jpg", "a.jpg,0.1", "a.jpg,0.1,cat,dog"])
def test_a_line_of_another_length_is_told_as_in_any_file(line, put, refused):
    source = put(**{"scores.csv": f"image,cat,labels\n{line}\n", "a.jpg": None})
    assert refused(source / "scores.csv", root=source).startswith(
        f"{source}/scores.csv:2: has {line.count(',') + 1} fields instead"
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a.jpg,cat,dog,", "label 'cat' is not among the labels dog"),
        ("a.jpg,cat,,cat", "'cat' is said to be there, and to be absent, in a.jpg"),
        ("a.jpg,,dog,dog", "'dog' is said to be there, and to be absent, in a.jpg"),
    ],
)
def test_a_row_that_contradicts_itself_begins_no_table(line, message, put, refused):
    source = put(**{"mine.csv": f"image,label,labels,absent\n{line}\n", "a.jpg": None})
    assert refused(source / "mine.csv", root=source) == f"{source}/mine.csv:2: {message}"


@pytest.mark.parametrize(
    ("header", "words", "expected"),
    [
        ("photo,tags", ["--image", "photo", "--label", "tags"], row("a.jpg", ["cat"])),
        ("photo,category", ["--image", "photo", "--labels", "category"], row("a.jpg", labels=["cat"])),
        ("photo,set", ["--image", "photo", "--label", "set"], row("a.jpg", ["cat"])),
    ],
)
def test_a_column_that_was_said_to_be_one_thing_is_no_other(header, words, expected, put, imported):
    source = put(**{"m.csv": f"{header}\na.jpg,cat\n", "a.jpg": None})
    assert imported(source / "m.csv", "--from", "csv", *words, root=source)[0] == [expected]


def test_a_photo_that_is_written_in_two_ways_is_one(put, imported):
    source = put(**{"m.csv": "image,label\n./a.jpg,cat\nx/../b.jpg,cat\nx//c.jpg,dog\na.jpg,dog\n", "a.jpg": None, "b.jpg": None,
                    "x/c.jpg": None})  # fmt: skip
    rows, told = imported(source / "m.csv", root=source)
    assert rows == [row("a.jpg", ["cat", "dog"]), row("b.jpg", ["cat"]), row("x/c.jpg", ["dog"])]
    assert "not named" not in told
