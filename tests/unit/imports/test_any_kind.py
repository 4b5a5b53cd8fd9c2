"""Any export of the same labels is the same table; what does not fit is told, and a table that was there is safe."""

import errno
import os
import re
from pathlib import Path

import exports
import pytest
from hypothesis import given
from hypothesis import strategies as st
from miniatures import draw

from aevlp.cli import main
from aevlp.config import registry
from aevlp.data.formats.folder import divide
from aevlp.data.imports import _base
from aevlp.data.imports._base import Found, Report, Tally
from aevlp.data.imports._collect import collect
from aevlp.data.locate import Listing, PhotoIndex
from aevlp.data.table import Row, read_table, table_lines

pytestmark = pytest.mark.usefixtures("never_waits")
KINDS = registry.names("imports")


TOLD = [
    text.replace("{{", "{").replace("}}", "}")
    for path in sorted(Path(_base.__file__).parent.glob("*.py"))
    for text in re.findall(r'(?:notes\.add\(\s*f?|^[A-Z_]+ = )"([^"]+ [^"]+)"', path.read_text(), re.MULTILINE)
]


@pytest.mark.parametrize("text", TOLD)
def test_what_is_told_of_one_thing_is_in_the_singular(text):
    tally = Tally()
    tally.add(text, "a.jpg")
    (one,) = tally.lines()
    tally.add(text, "b.jpg")
    (two,) = tally.lines()
    assert not re.match(r"1 (further |text )?\w+s\b", one)
    assert "|" not in one + two
    assert two.startswith("2 ")


@pytest.fixture
def photos(tmp_path):
    return exports.make_photos(tmp_path / "photos")


@pytest.fixture
def run(capsys):
    """Run `import` with words; returns exit code, stdout and stderr."""

    def run(*words):
        code = main(["import", *map(str, words)])
        return code, *capsys.readouterr()

    return run


@pytest.mark.parametrize("kind", exports.ALL_LABELS)
@pytest.mark.parametrize("guessed", [True, False])
def test_every_export_of_all_labels_is_the_same_table(kind, guessed, photos, tmp_path, run):
    source = exports.ALL_LABELS[kind](tmp_path / "export", photos)
    code, out, _ = run(source, "--root", photos, *([] if guessed else ["--from", kind]))
    assert code == 0
    assert out.splitlines()[0].split() == [kind, str(source)]
    assert out.splitlines()[-1] == f"next         python run.py prepare folder --root {photos}"
    assert (photos / "labels.csv").read_text().splitlines() == [
        "image,label,labels", "five.jpeg,,", "one.jpg,,zebra", 'sub/deep/four.JPG,,"a, b"',
        'sub/three.jpg,,"a, b|traffic light|zebra"', "two.png,,zebra|猫",
    ]  # fmt: skip
    assert "labels       7 that are all of 4 photos; 1 photo without any" in out


def test_class_folders_are_the_same_known_labels(photos, tmp_path, run):
    source = exports.class_folders(tmp_path / "classes", photos)
    code, out, _ = run(source, "--root", photos)
    assert code == 0
    assert "labels       7 known" in out
    rows = read_table(photos / "labels.csv").rows
    assert {row.image: set(row.known) for row in rows} == {name: set(words) for name, words in exports.LABELS.items() if words}


@pytest.mark.parametrize("kind", exports.ALL_LABELS)
def test_an_earlier_table_is_not_lost(kind, photos, tmp_path, run):
    source = exports.ALL_LABELS[kind](tmp_path / "export", photos)
    (photos / "labels.csv").write_text("image,label\none.jpg,mine\n")
    code, out, err = run(source, "--root", photos)
    assert (code, out) == (2, "")
    assert err == f"error: {photos}/labels.csv: is there already and says something else; --replace writes over it\n"
    assert (photos / "labels.csv").read_text() == "image,label\none.jpg,mine\n"
    code, _, err = run(source, "--root", photos, "--replace")
    assert (code, "note  kept beside the table: labels.before-1.csv\n" in err) == (0, True)
    assert (photos / "labels.before-1.csv").read_text() == "image,label\none.jpg,mine\n"
    before = os.stat(photos / "labels.csv").st_ino
    assert run(source, "--root", photos)[0] == 0  # it says the same
    assert os.stat(photos / "labels.csv").st_ino == before
    there = ["five.jpeg", "labels.before-1.csv", "labels.csv", "one.jpg", "sub", "two.png"]
    assert sorted(path.name for path in photos.iterdir()) == there


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EROFS])
def test_a_disk_that_fails_is_one_line_and_the_earlier_table_stays(error, photos, tmp_path, run, monkeypatch):
    (photos / "labels.csv").write_text("image,label\none.jpg,mine\n")
    source = exports.coco(tmp_path / "export", photos)

    def fail(path, target):
        monkeypatch.undo()  # what was there before can be put back
        raise OSError(error, os.strerror(error), str(path))

    monkeypatch.setattr("aevlp.files.os.replace", fail)
    code, out, err = run(source, "--root", photos, "--replace")
    assert (code, out) == (1, "")
    assert err == f"error: --root {photos}/labels.csv: cannot be written: {os.strerror(error)}\n"
    assert (photos / "labels.csv").read_text() == "image,label\none.jpg,mine\n"
    assert not list(photos.glob(".*")) + list(photos.glob("*.before-*"))


names = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"], exclude_characters="|,"), min_size=1, max_size=8)
some_names = st.lists(names, unique=True, max_size=3)


@given(
    st.dictionaries(
        st.from_regex(r"[a-z]{1,3}/[A-Z0-9 é]{1,3}x\.jpg", fullmatch=True), st.tuples(some_names, some_names, some_names)
    )
)
def test_a_table_that_was_imported_is_read_and_imported_again_as_it_is(tmp_path_factory, labels):
    folder = tmp_path_factory.mktemp("table")
    path, index = folder / "labels.csv", PhotoIndex(folder, Listing(list(labels)))
    rows = []
    for image, (known, absent, others) in labels.items():
        everything = (*known, *others) if others else ()
        absent = [name for name in absent if name not in known and name not in everything]
        rows.append(Row(0, image, tuple(known), tuple(absent), tuple(dict.fromkeys(everything))))
    if not rows:
        return
    first = collect([Found(path, row) for row in rows], path, index, Report()).rows
    path.write_text("".join(table_lines(first)))
    config = registry.get("imports", "csv").config(name="csv")
    again = collect(registry.build("imports", config, source=path, report=Report()), path, index, Report()).rows
    assert "".join(table_lines(again)) == path.read_text()
    assert [(row.image, row.known, row.absent, row.labels) for row in read_table(path).rows] == [
        (row.image, row.known, row.absent, row.labels) for row in first
    ]


def test_photos_that_are_absent_or_cannot_be_told_are_named_and_the_others_written(photos, tmp_path, run):
    draw(photos / "sub/one.jpg", 8)
    draw(photos / "other/three.jpg", 9)
    os.mkfifo(photos / "x.jpg")
    source = tmp_path / "mine.csv"
    source.write_text(
        "file,tag\none.jpg,a\nthree.jpg,b\n"
        + "".join(f"gone{i}.jpg,c\n" for i in range(9))
        + "TWO.png,b\nsub\\deep\\four.JPG,b\n"
    )
    gone = ", ".join(f"gone{i}.jpg ({source}:{i + 4})" for i in range(3))
    code, _, err = run(source, "--root", photos)
    assert code == 1
    assert err.splitlines() == [
        "note  1 named with another case: TWO.png is two.png",
        "note  1 named with backslashes: sub\\deep\\four.JPG is sub/deep/four.JPG",
        "note  4 photos are there, and are not named: five.jpeg, sub/one.jpg, other/three.jpg and 1 more",
        f"left out  1 named so that it may be any of several photos: three.jpg (other/three.jpg or sub/three.jpg; {source}:3)",
        f"left out  9 named, but there is no such photo: {gone} and 6 more",
        "left out  1 is a named pipe, not a file: x.jpg",
    ]
    assert [row.image for row in read_table(photos / "labels.csv").rows] == ["one.jpg", "sub/deep/four.JPG", "two.png"]


@pytest.mark.parametrize("first", ["jpg", "jpeg"])
def test_another_suffix_means_a_photo_that_is_not_named_itself(first, photos, tmp_path, run):
    rows = {"jpg": "one.jpg,cat\n", "jpeg": "one.jpeg,dog\n"}
    path = tmp_path / "mine.csv"
    path.write_text("file,tag\n" + "".join(rows.pop(name) for name in (first, *set(rows) - {first})))
    code, _, err = run(path, "--root", photos)
    assert (code, "one.jpeg (one.jpg is named itself)" in err) == (1, True)
    assert "dog" not in run(path, "--root", photos, "--replace")[1]
    assert "one.jpg,cat" in (photos / "labels.csv").read_text()
    path.write_text("file,tag\none.jpeg,dog\n")
    assert run(path, "--root", photos, "--replace")[0] == 0
    assert "one.jpg,dog" in (photos / "labels.csv").read_text()


def test_photos_whose_names_a_table_cannot_hold_are_left_out(photos, run):
    for name in ("c:30.jpg", "a/two\nlines.jpg", os.fsdecode(b"a/\xff.jpg"), " begins.jpg"):
        (photos / name).parent.mkdir(exist_ok=True)
        (photos / name).write_bytes((photos / "one.jpg").read_bytes())
    code, _, err = run(photos, "--from", "imagefolder")
    assert code == 1
    (told,) = (line for line in err.splitlines() if line.startswith("left out"))
    assert told.startswith("left out  4 with a name that a table cannot hold; rename it: ")
    assert "photos are there, and are not named" not in err
    assert {row.image for row in read_table(photos / "labels.csv").rows} == exports.LABELS.keys()


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["one.jpg,a|b,", "two.png,a,"], None),
        (["one.jpg,a,train", "one.jpg,b,val"], ":3: one.jpg is in split val, and in split train by {path}:2"),
        (["one.jpg,a,trian"], ":2: split 'trian' is unknown; did you mean 'train'?"),
        (["one.jpg,,x", ",b,"], ":2: split 'x' is unknown; known: test, train, val"),
        ([",b,"], ":2: names no image"),
        (["one.jpg,b"], ":2: has 2 fields instead of 3; a field that holds a separator needs quotes"),
        (['one.jpg,"b'], ":2: not a CSV line: unexpected end of data"),
        (["one.jpg,b\x07,"], ":2: 'b\\x07' is no name of a class"),
        (
            ['one.jpg,"a, b",', "two.png,a,"],
            ": class 'a, b' would be read as several; if these are several labels, give the photo each by "
            "itself, in a CSV file as a|b; if it is one class, rename it",
        ),
        (["gone.jpg,b,"], ": names no photo below {root} (--root); 1 named, but there is no such photo: gone.jpg ({path}:2)"),
        ([], ": names no photo below {root} (--root)"),
        (["x" * 2_000_000], ":2: not a CSV line: it is longer than 1,000,000 letters"),
    ],
)
def test_a_csv_file_that_is_wrong_is_one_line_and_the_table_stays(lines, message, photos, tmp_path, run):
    path = tmp_path / "mine.csv"
    path.write_text("\n".join(["file,tag,set", *lines]) + "\n")
    (photos / "labels.csv").write_text("image,label\none.jpg,mine\n")
    code, out, err = run(path, "--root", photos, *([] if message else ["--replace"]))
    if message is None:
        assert (code, err.startswith("note")) == (0, True)
    else:
        assert (code, out, err) == (1, "", f"error: {path}{message.format(path=path, root=photos)}\n")
        assert (photos / "labels.csv").read_text() == "image,label\none.jpg,mine\n"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "strange", ["named pipe", "cut short", "bytes", "empty", "empty folder", "huge", "loop", "link to nothing"]
)
def test_a_source_that_is_none_is_one_line_and_nothing_is_written(kind, strange, photos, tmp_path, run):
    source = tmp_path / f"strange{'.csv' if kind in ('csv', 'openimages') else '.xml' if kind == 'voc' else '.json'}"
    if strange == "named pipe":
        os.mkfifo(source)
    elif strange in ("loop", "link to nothing"):
        source.symlink_to(source.name if strange == "loop" else "nothing")
    elif strange == "empty folder":
        source.mkdir()
    elif strange == "huge":
        with source.open("wb") as file:
            file.truncate(3 * 10**9)
    else:
        source.write_bytes({"cut short": b'{"images": [{"id": 1, "fi', "bytes": b"\xff\xfe\x00[1", "empty": b""}[strange])
    code, out, err = run(source, "--from", kind, "--root", photos)
    assert code in (1, 2)
    assert out == ""
    assert len(err.splitlines()) == 1
    assert err.startswith("error: ")
    assert str(source) in err
    assert not (photos / "labels.csv").exists()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["gone"], 2, "gone: no such file or folder"),
        (["mine.csv"], 2, "mine.csv: is no folder of photos, and names none beside it; say where they are: --root FOLDER"),
        (["mine.csv", "--root", "gone"], 1, "--root gone: there is no such folder"),
        (["mine.csv", "--root", "photos", "--from", "cocoo"], 2, "unknown import 'cocoo'; did you mean 'coco'?"),
        (["mine.csv", "--root", "photos", "--image", "fil"], 2, "--image fil: mine.csv has no such column; did you mean 'file'?"),
        (["mine.csv", "--root", "photos", "--names", "x"], 2, "--names x: names: unknown key"),
        (["mine.csv", "--root", "photos", "--set", "x"], 2, "--set x: must be key=value"),
        (["photos", "--root", "photos"], 2, "photos: looks like no export that is known; say which: --from answers|coco|csv|"),
        (
            ["other.csv", "--root", "photos"],
            1,
            "other.csv:1: the first line must name the columns, such as image,label; it is 'a,b'. Say which they are",
        ),
    ],
)
def test_what_is_typed_wrong_is_told(words, code, message, photos, tmp_path, run, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in photos.rglob("sub"):
        path.rename(tmp_path / "away")
    (tmp_path / "mine.csv").write_text("file,tag\none.jpg,a\n")
    (tmp_path / "other.csv").write_text("a,b\none.jpg,a\n")
    assert run(*words)[0] == code
    error = run(*words)[2]
    assert error.startswith(f"error: {message}")
    assert len(error.splitlines()) == 1


PLUGIN = '''"""One class for all."""

from aevlp.config.registry import register
from aevlp.data.imports._base import Found, ImportConfig
from aevlp.data.table import Row


class OneImport(ImportConfig):
    word: str = "thing"


@register("imports", "one", config=OneImport)
def read_one(config, *, source, report):
    for number, line in enumerate(source.read_text().splitlines(), start=1):
        yield Found(source, Row(number, line, (config.word,)))
'''


def test_a_plugin_adds_a_kind(photos, tmp_path, run, monkeypatch):
    monkeypatch.setitem(registry._components, "imports", dict(registry._components["imports"]))
    (tmp_path / "plugin.py").write_text(PLUGIN)
    (tmp_path / "list.txt").write_text("one.jpg\ntwo.png\n")
    words = ["--from", "one", "--plugin", tmp_path / "plugin.py", "--set", "word=cat", "--root", photos]
    assert run(tmp_path / "list.txt", *words)[0] == 0
    assert (photos / "labels.csv").read_text() == "image,label\none.jpg,cat\ntwo.png,cat\n"


@pytest.mark.parametrize("kind", [*exports.ALL_LABELS, "imagefolder"])
def test_prepare_names_the_command_for_a_folder_with_annotations(kind, photos, capsys):
    if kind == "imagefolder":
        (photos / "one.jpg").rename(photos / "sub/one.jpg")
    else:
        source = exports.ALL_LABELS[kind](photos, photos)
        if kind == "coco":
            source.rename(photos / "instances_default.json")  # as CVAT names it
    assert main(["prepare", "folder", "--root", str(photos)]) == 1
    error = capsys.readouterr().err
    if kind in ("csv", "labelstudio"):  # a file that could be anything
        assert "labels.csv: no such file. Expected:" in error
        return
    command = f"python run.py import {photos}"
    assert error == f"error: {photos}/labels.csv: no such file, but annotations that it can be made of: {command}\n"
    assert main(command.split()[2:]) in (0, 1)
    assert main(["prepare", "folder", "--root", str(photos)]) == 0


ANSWER = "image,class,answer,split,source\n"


def test_answers_keep_the_photos_that_validate_and_rows_of_photos_that_are_gone(tmp_path, run):
    rows = [f"{i}.jpg,{'cat' if i % 2 else 'dog'}" for i in (9, 1, 7, 3, 5, 2, 8, 4, 6, 0)]
    (tmp_path / "labels.csv").write_text("\n".join(["image,label", *rows, "gone.jpg,dog"]) + "\n")
    for i in range(10):
        draw(tmp_path / f"{i}.jpg", i)
    before = {row.image for row in divide(read_table(tmp_path / "labels.csv").rows, tmp_path)["val"]}
    (tmp_path / "answers.csv").write_text(f"{ANSWER}1.jpg,dog,no,,x\n./2.jpg,cat,yes,,x\n")
    code, out, err = run(tmp_path / "answers.csv", "--root", tmp_path)
    assert (
        code,
        f"split val is written down for the {len(before)} photos that validate so far" in " ".join(f"{out}{err}".split()),
    ) == (0, True)
    table = read_table(tmp_path / "labels.csv").rows
    assert {row.image for row in divide(table, tmp_path)["val"]} == before
    assert {row.image: row.known for row in table}["gone.jpg"] == ("dog",)
    assert {row.image: row.known for row in table}["2.jpg"] == ("cat", "dog")


def test_what_contradicts_a_table_names_the_line_of_each(tmp_path, run):
    draw(tmp_path / "a.jpg", 1)
    draw(tmp_path / "b.jpg", 2)
    (tmp_path / "labels.csv").write_text("image,label,split\nb.jpg,dog,\na.jpg,cat,val\n")
    (tmp_path / "answers.csv").write_text(f"{ANSWER}a.jpg,dog,yes,,x\na.jpg,cat,yes,test,x\n")
    code, _, err = run(tmp_path / "answers.csv", "--root", tmp_path)
    assert code == 1
    assert f"{tmp_path / 'answers.csv'}:3: a.jpg is in split test, and in split val by {tmp_path / 'labels.csv'}:3" in err


@pytest.mark.parametrize(("split", "validating"), [("val", {"0.jpg", "1.jpg"}), ("test", None)])
def test_photos_that_answers_give_a_split_are_of_it_and_of_no_other(split, validating, tmp_path, run):
    """Whether they validated before or not, and a split of complete photos is not mixed with others."""
    rows = [f"{i}.jpg,{'cat' if i % 2 else 'dog'}" for i in range(20)]
    (tmp_path / "labels.csv").write_text("\n".join(["image,label", *rows]) + "\n")
    for i in range(20):
        draw(tmp_path / f"{i}.jpg", i)
    before = {row.image for row in divide(read_table(tmp_path / "labels.csv").rows, tmp_path)["val"]}
    chosen = ["0.jpg", "1.jpg"] if split == "val" else [sorted(before)[0], "1.jpg"]
    answers = [f"{name},{'dog' if int(name[:-4]) % 2 else 'cat'},no,{split},x\n" for name in chosen]
    (tmp_path / "answers.csv").write_text(ANSWER + "".join(answers))
    assert run(tmp_path / "answers.csv", "--root", tmp_path)[0] == 0
    parts = divide(read_table(tmp_path / "labels.csv").rows, tmp_path)
    assert {row.image for row in parts["val"]} == (validating or before - set(chosen))
    assert {row.image for row in parts[split]} >= set(chosen)


def test_answers_about_a_photo_that_the_table_writes_otherwise_are_of_its_row(tmp_path, run):
    for i in range(6):
        draw(tmp_path / f"{i}.jpg", i)
    (tmp_path / "labels.csv").write_text("image,label\n0.JPG,cat\n1.jpg,dog\n2.jpg,cat\n3.jpg,dog\n4.jpg,cat\n5.jpg,dog\n")
    (tmp_path / "answers.csv").write_text(f"{ANSWER}0.jpg,dog,yes,test,x\n")
    assert run(tmp_path / "answers.csv", "--root", tmp_path)[0] == 0
    rows = {row.image: (row.known, row.split) for row in read_table(tmp_path / "labels.csv").rows}
    assert (len(rows), rows["0.jpg"]) == (6, (("cat", "dog"), "test"))
