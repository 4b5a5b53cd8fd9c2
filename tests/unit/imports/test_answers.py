"""Answers that are added to a table: what they say is new, and nothing else of it changes."""

import itertools
import os

import numpy as np
import pytest
from file_effects import Effects, watched
from miniatures import draw

from aevlp.cli import main
from aevlp.config import registry
from aevlp.data.imports import _run
from aevlp.data.imports._add import kept_names
from aevlp.data.imports._collect import collect
from aevlp.data.table import read_table

HEADER = "image,class,answer,split,source\n"
CLASSES = ["bat", "cat", "dog", "owl"]
VALIDATING = ["v1.png,bat,,,val", "v2.png,,cat,dog|owl,val"]


@pytest.fixture
def root(tmp_path):
    """A folder with photos of the names that are asked for."""

    def make(*lines, header="image,label,absent,labels,split", name="labels.csv"):
        for i, line in enumerate(lines):
            draw(tmp_path / line.partition(",")[0], i)
        (tmp_path / name).write_text("\n".join([header, *lines]) + "\n")
        return tmp_path

    return make


@pytest.fixture
def add(tmp_path, capsys):
    """Import answers; returns exit code, stdout and stderr."""

    def add(*answers, words=()):
        (tmp_path / "answers.csv").write_text(HEADER + "".join(f"{answer}\n" for answer in answers))
        code = main(["import", str(tmp_path / "answers.csv"), "--root", str(tmp_path), *words])
        return code, *capsys.readouterr()

    return add


def known(root, **settings):
    """What a run knows, by split and photo: the classes with their sign."""
    data = registry.build("datasets", registry.get("datasets", "folder").config(name="folder", root=str(root), **settings))
    assert data.class_names == CLASSES
    return {
        (split, images.name(i)): {(CLASSES[j], int(row[j])) for j in np.flatnonzero(row)}
        for split, part in (("train", data.train), ("val", data.val), ("test", data.test)) if part is not None
        for images in [part.images] for i, row in enumerate(part.observed)
    }  # fmt: skip


def names(root, table="labels.csv"):
    return [row.image for row in read_table(root / table).rows]


ROWS = [
    *(f"{i:02d}.png,,,cat|dog|owl," for i in range(4)), "04.png,,,,", *(f"{i:02d}.png,,,bat|cat|dog|owl," for i in range(5, 9)),
    "09.png,bat,owl,,",
]  # fmt: skip
TABLES = {
    "sorted": (*ROWS, *VALIDATING),
    "in another order": (*VALIDATING, *(ROWS[i] for i in (7, 2, 9, 0, 4, 8, 1, 6, 3, 5))),
    "a fifth validates": tuple(ROWS[i] for i in (7, 2, 9, 0, 4, 8, 1, 6, 3, 5)),
}
ANSWERS = {
    "yes of a photo of which nothing is known": ["04.png,cat,yes,,x"],
    "no": ["04.png,cat,no,,x"],
    "no of a photo with all its labels": ["03.png,bat,no,,x"],
    "yes of photos with all their labels": [f"{i:02d}.png,{name},yes,,x" for i in range(4) for name in ("cat", "owl")],
    "all of a photo": [f"04.png,{name},{'yes' if i % 2 else 'no'},,x" for i, name in enumerate(CLASSES)],
    "a photo that was not in the table": ["new.png,dog,yes,,x"],
    "a photo for the test": ["04.png,cat,yes,test,x"],
    "a photo that validates from now on": ["04.png,cat,yes,val,x"],
}


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("answers", ANSWERS)
def test_an_answer_changes_what_is_known_of_its_photo_and_only_adds_to_that(table, answers, root, add):
    photos = root(*TABLES[table])
    if "validates" in answers and "validates" in table:
        pytest.skip("what validated so far is then trained on")
    draw(photos / "new.png", 99)
    before, order = known(photos), names(photos)
    code, _, err = add(*ANSWERS[answers])
    assert code == 0, err
    after, asked = known(photos), {line.partition(",")[0] for line in ANSWERS[answers]}
    assert {key: said for key, said in before.items() if key[1] not in asked} == {
        key: said for key, said in after.items() if key[1] not in asked
    }
    said_after = {name: said for (_, name), said in after.items()}
    assert all(said <= said_after[name] for (_, name), said in before.items())
    for line in ANSWERS[answers]:
        image, name, answer, *_ = line.split(",")
        assert (name, 1 if answer == "yes" else -1) in said_after[image]
    assert names(photos) == [*order, *sorted(asked - set(order))]
    content = (photos / "labels.csv").read_bytes()
    assert add(*ANSWERS[answers])[0] == 0  # a second time
    assert (photos / "labels.csv").read_bytes() == content


@pytest.mark.parametrize("header", [HEADER, "\ufeffImage;Class;Answer;Split;Source\r\n"])
def test_capitals_and_separators_of_a_spreadsheet_change_no_answer(header, root, capsys):
    photos = root(*TABLES["sorted"])
    lines = ["04.png,cat,Yes,,x", "04.png,bat,NO,Train,x", "04.png,dog, unsure ,,x"]
    lines = [line.replace(",", ";") if ";" in header else line for line in lines]
    (photos / "answers.csv").write_text(header + "\n".join(lines) + "\n", newline="")
    assert main(["import", str(photos / "answers.csv"), "--root", str(photos)]) == 0
    assert known(photos)["train", "04.png"] == {("cat", 1), ("bat", -1)}


def test_what_validated_is_trained_on_with_the_label_it_had_where_answers_name_who_validates(root, add):
    photos = root(*TABLES["a fifth validates"])
    before = {name: said for (_, name), said in known(photos).items()}
    assert add("00.png,cat,yes,val,x")[0] == 0
    after = known(photos)
    assert [key for key in after if key[0] == "val"] == [("val", "00.png")]
    assert {name: said for (_, name), said in after.items() if name != "00.png"} == {
        name: said for name, said in before.items() if name != "00.png"
    }


def test_the_label_that_was_drawn_is_written_down_and_told(root, add):
    photos = root("0.png,,,cat|dog|owl,", "1.png,,,bat|owl,", *VALIDATING)
    (drawn,) = known(photos)["train", "0.png"]
    answer = next(name for name in ("cat", "dog") if (name, 1) != drawn)
    code, _, err = add(f"0.png,{answer},yes,,x")
    assert code == 0
    assert "note  new labels: 1 known, 0 absent\n" in err
    assert "note  of 1 photo the label drawn so far is written down, so that it stays\n" in err
    rows = read_table(photos / "labels.csv").rows
    assert rows[0].known == tuple(sorted([answer, drawn[0]]))
    assert rows[1].known == ()


@pytest.mark.parametrize("split", ["test", "val"])
def test_a_table_of_one_split_stays_one(split, root, add):
    photos = root(*(f"{i}.png,{'cat' if i % 2 else 'dog'},,,{split}" for i in range(6)))
    assert add("0.png,cat,no,,x")[0] == 0
    assert {row.split for row in read_table(photos / "labels.csv").rows} == {split}


def test_further_columns_stay_with_their_photos(root, add):
    header = "Note,image,label,,by,split"
    photos = root(header=header)
    for name in ("a", "b", "c", "new"):
        draw(photos / f"{name}.png", 1)
    lines = ['"said, ""so""\nand so",c.png,cat,,me,val', "b.png is blurred,b.png,dog,x,you,", ",a.png,cat,,,"]
    (photos / "labels.csv").write_text("\n".join([",,,,,", header, *lines]) + "\n")
    assert add("b.png,cat,no,,x", "new.png,dog,yes,,x")[0] == 0
    expected = (
        'image,label,absent,split,Note,,by\nc.png,cat,,val,"said, ""so""\nand so",,me\n'
        "b.png,dog,cat,train,b.png is blurred,x,you\na.png,cat,,train,,,\nnew.png,dog,,train,,,\n"
    )
    assert (photos / "labels.csv").read_text() == expected
    assert add("b.png,cat,no,,x", "new.png,dog,yes,,x")[0] == 0
    assert (photos / "labels.csv").read_text() == expected
    assert not (photos / "labels.before-2.csv").exists()
    lines = ["one,a.png,cat,,,", "two,a.png,dog,,,", ",b.png,cat,,,val"]
    (photos / "labels.csv").write_text("\n".join([header, *lines]) + "\n")
    assert "note  of photos in several lines, the columns 'Note', '', 'by' keep what the first line says" in add(
        "b.png,dog,no,,x"
    )[2]  # fmt: skip
    assert (photos / "labels.csv").read_text().splitlines()[1] == "a.png,cat|dog,,train,one,,"


def test_columns_that_a_parquet_table_loses_are_told_when_they_are_lost(root, add):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    photos = root("0.png,cat,,,", "1.png,dog,,,")
    (photos / "labels.csv").unlink()
    parquet.write_table(pyarrow.table({"image": ["0.png", "1.png"], "label": ["cat", "dog"], "when": [1, 2]}),
                        photos / "labels.parquet")  # fmt: skip
    assert "note  columns that are not in the new table: 'when'\n" in add("0.png,dog,no,,x")[2]
    assert "not in the new table" not in add("0.png,dog,no,,x")[2]


def test_a_table_that_is_named_is_the_one_that_is_added_to(root, add):
    photos = root("0.png,cat,,,", "1.png,dog,,,")
    table = (photos / "labels.csv").read_text()
    (photos / "other.csv").write_text(table)
    code, out, _ = add("0.png,dog,no,,x", words=["--table", "other.csv"])
    assert code == 0
    assert f"table        {photos}/other.csv" in out
    assert (photos / "labels.csv").read_text() == table
    assert read_table(photos / "other.csv").rows[0].absent == ("dog",)
    assert sorted(path.name for path in photos.glob("*.*-1.csv")) == ["other.added-1.csv", "other.before-1.csv"]
    assert add("1.png,cat,no,,x")[0] == 0  # without a name it is the one that training reads
    assert read_table(photos / "labels.csv").rows[1].absent == ("cat",)


@pytest.mark.parametrize("words", [[], ["--from", "csv", "--replace"]])
def test_of_two_imports_at_once_one_is_refused_and_nothing_is_lost(words, root, add, capsys, monkeypatch):
    photos = root("0.png,cat,,,", "1.png,dog,,,", *VALIDATING)
    source = photos / ("labels.csv" if words else "other.csv")
    (photos / "other.csv").write_text(f"{HEADER}1.png,cat,no,,x\n")
    codes, said = [], []

    def other(*arguments):
        """Another import, while this one has read and has not yet written."""
        monkeypatch.undo()
        codes.append(main(["import", str(source), "--root", str(photos), *words]))
        said.append(capsys.readouterr().err)
        return kept_names(*arguments)

    monkeypatch.setattr(_run, "kept_names", other)
    assert add("0.png,dog,no,,x")[0] == 0
    assert codes == [1]
    assert f"{photos}: another import writes a table here right now; nothing was changed, give the command again" in said[0]
    assert main(["import", str(source), "--root", str(photos), *words]) == 0
    assert [row.absent for row in read_table(photos / "labels.csv").rows[:2]] == [("dog",), () if words else ("cat",)]


def test_of_two_imports_that_begin_a_table_one_is_refused_and_nothing_is_lost(add, tmp_path, monkeypatch):
    for i in range(2):
        draw(tmp_path / f"{i}.png", i)
    (tmp_path / "other.csv").write_text(f"{HEADER}1.png,dog,yes,,x\n")
    words, codes = ["import", str(tmp_path / "other.csv"), "--root", str(tmp_path)], []

    def other(*arguments, **settings):
        monkeypatch.undo()
        codes.append(main(words))
        return collect(*arguments, **settings)

    monkeypatch.setattr(_run, "collect", other)
    assert add("0.png,dog,yes,,x")[0] == 0
    assert codes == [1]
    assert main(words) == 0
    assert [row.known for row in read_table(tmp_path / "labels.csv").rows] == [("dog",), ("dog",)]


def test_killed_at_any_effect_the_table_is_there_and_the_same_command_goes_on(root, add, tmp_path):
    photos = root("0.png,cat,,,", "1.png,dog,,,", *VALIDATING)
    answers, table = photos / "answers.csv", photos / "labels.csv"
    answers.write_text(f"{HEADER}0.png,dog,no,,x\n")
    before = table.read_bytes()
    command = ["import", str(answers), "--root", str(photos)]
    after = None
    for number in itertools.count(1):
        child = os.fork()
        if child == 0:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 1)
            os.dup2(null, 2)
            with watched(Effects([photos], lambda now, *_, number=number: os._exit(9) if now == number else None)):
                main(command)
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status == 0:
            break
        assert table.exists(), number
        said = table.read_bytes()
        assert main(command) == 0
        after = after or table.read_bytes()
        assert (said in (before, after), table.read_bytes()) == (True, after), number
        table.write_bytes(before)
    assert number > 6


@pytest.mark.parametrize("name", ["labels.csv", "mine.csv"])
def test_where_the_table_is_gone_that_was_there_no_new_one_is_begun(name, root, add):
    photos = root("0.png,cat,,,", "1.png,dog,,,", name=name)
    words = [] if name == "labels.csv" else ["--table", name]
    for answer in ("1.png,cat,no,,x", "0.png,dog,no,,x"):
        assert add(answer, words=words)[0] == 0
    kept = sorted(path.name for path in photos.glob("*.before-*"))
    (photos / name).unlink()
    (photos / "another.before-7.csv").write_text("")  # of another table
    code, out, err = add("1.png,owl,no,,x", words=words)
    assert (code, out) == (2, "")
    assert err == (
        f"error: {photos / name}: there is no such table, but {kept[-1]}, as it was before an import: rename that, or move it "
        "away to begin a new table\n"
    )
    assert not (photos / name).exists()
    for path in kept:
        (photos / path).unlink()
    assert add("1.png,owl,no,,x", words=words)[0] == 0
