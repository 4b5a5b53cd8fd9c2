"""Photos of one's own: what labels.csv may say, what it may not, and what a run knows from it."""

import collections
import csv
from dataclasses import replace
from functools import partial

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from miniatures import draw, make_folder, write_table
from miniatures import load_folder as load
from PIL import Image
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from aevlp.cli import main
from aevlp.config import registry
from aevlp.config.errors import ConfigError, DataError
from aevlp.config.schema import Known
from aevlp.data import advice
from aevlp.data.duplicates import DISTANCE, alike
from aevlp.data.formats.folder import FolderConfig
from aevlp.data.imports._base import Found, Report
from aevlp.data.imports._collect import collect
from aevlp.data.locate import PhotoIndex
from aevlp.data.prepare import prepare
from aevlp.data.protocol import draw_single_positives, observe, split_train_val
from aevlp.data.several import several_in_one
from aevlp.data.table import Row, read_table, table_lines

HEADER = "image,label,split,labels"


@pytest.fixture
def folder(tmp_path):
    """Write labels.csv and the images it names; a function of its lines."""
    return partial(write_table, tmp_path)


def refused(root, message):
    with pytest.raises(DataError, match=message):
        load(root)


def test_splits_and_full_labels_are_taken_from_the_table(folder):
    root = folder(
        HEADER, "0.png,cat,train,", "1.png,dog,train,cat|dog", "2.png,,val,bird|dog", "3.png,cat,val,cat", "4.png,dog,test,dog",
    )  # fmt: skip
    data = load(root)
    assert data.class_names == ["bird", "cat", "dog"]
    np.testing.assert_array_equal(data.train.observed, [[0, 1, 0], [0, 0, 1]])
    assert data.train.targets is None  # one row has no full labels
    np.testing.assert_array_equal(data.val.targets, [[1, 0, 1], [0, 1, 0]])
    drawn = draw_single_positives(data.val.targets)[0]
    np.testing.assert_array_equal(data.val.observed, [drawn, [0, 1, 0]])
    np.testing.assert_array_equal(data.test.targets, [[0, 0, 1]])


def test_without_a_split_column_a_fifth_validates_and_nothing_is_tested(folder):
    root = folder("image,label", *(f"{i}.png,{'cat' if i % 2 else 'dog'}" for i in range(10)))
    data = load(root)
    train, val = split_train_val(10)
    assert [data.train.images.name(i) for i in range(8)] == [f"{i}.png" for i in train]
    assert [data.val.images.name(i) for i in range(2)] == [f"{i}.png" for i in val]
    assert data.test is None
    assert data.val.targets is None


def labelled(**others):
    """Lines of a table of ten photos of a cat, of which 3.png and 7.png are drawn to validate, but for `others`."""
    return ["image,label", *(f"{i}.png,{others.get(f'_{i}', 'cat')}" for i in range(10))]


def test_the_only_photo_of_a_class_is_not_drawn_to_validate(folder):
    data = load(folder(*labelled(_3="dog")))
    assert data.val.images.names.tolist() == ["7.png"]
    assert "3.png" in data.train.images.names.tolist()
    assert not any("were drawn" in note for note in data.notes)


def test_classes_that_the_draw_leaves_no_training_photo_of_are_named(folder, capsys):
    root = folder(*labelled(_3="dog", _7="dog"))  # two photos are drawn as ever, whatever they show
    data = load(root)
    assert data.val.images.names.tolist() == ["3.png", "7.png"]
    told = "all photos labelled dog were drawn to validate: only pseudo-labels can teach it; label more, or say in the column"
    assert any(told in note for note in data.notes)
    prepare("folder", root)
    output = capsys.readouterr().out
    assert told in output
    assert "no training photo of dog: only pseudo-labels can teach such" in output
    alone = load(folder(*labelled(_3="dog", _7="bird")))  # else nobody would validate
    assert alone.val.images.names.tolist() == ["3.png", "7.png"]
    assert any("all photos labelled bird, dog were drawn" in note for note in alone.notes)


@pytest.mark.parametrize(
    "lines",
    [
        ("label;image", "cat;0.png", "dog;1.png"),
        ("image\tlabel", "0.png\tcat", "1.png\tdog"),
        ("image , label", " 0.png , cat ", "1.png,dog"),
        ("image,label,", "0.png,cat,", "1.png,dog,"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_other_separators_a_byte_order_mark_and_spaces_are_read(folder, lines, encoding):
    root = folder(*lines, encoding=encoding)
    assert [(row.image, row.known) for row in read_table(root / "labels.csv").rows] == [("0.png", ("cat",)), ("1.png", ("dog",))]


def test_quoted_fields_may_hold_separators_and_classes_any_letters(folder):
    root = folder("image,label", '"a, b.png","fire, truck"', "1.png,<script>", "2.png,猫")
    assert [(row.image, row.known) for row in read_table(root / "labels.csv").rows] == [
        ("a, b.png", ("fire, truck",)), ("1.png", ("<script>",)), ("2.png", ("猫",)),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            ("photo,label", "0.png,cat"),
            r"labels\.csv:1: the first line must name the columns, .*; it is 'photo,label'",
        ),
        (("0.png,cat",), r"labels\.csv:1: the first line must name the columns"),
        (("",), r"labels\.csv:1: the first line must name the columns"),
        (("image,label",), r"labels\.csv: lists no image"),
        (("image,label,image", "0.png,cat,x"), r"labels\.csv:1: column 'image' is named twice"),
        (("image,label", "0.png,fire, truck"), r"labels\.csv:2: has 3 fields instead of 2; a field that holds a separator"),
        (("image,label", '"0.png,cat'), r"labels\.csv:2: not a CSV line"),
        (("image,label", ",cat"), r"labels\.csv:2: names no image"),
        (("image,label", "0.png,"), r"labels\.csv: no row has a label"),
        (("image,label,absent", "0.png,cat,dog|cat"), r"labels\.csv:2: 'cat' is said to be there, and to be absent, in 0\.png"),
        (("image,label,absent", "0.png,cat,", "0.png,,cat"), r"labels\.csv:3: 'cat' is said to be there, and to be absent"),
        (
            ("image,label,split", "0.png,cat,train", "0.png,dog,val"),
            r"labels\.csv:3: 0\.png is in split val, and in split train",
        ),
        (("image,labels", "0.png,cat|dog", "0.png,cat"), r"labels\.csv:3: 0\.png has other labels than in line 2"),
        (("image,label", "0.png,cat", '1.png,"dog, cat"'), r"labels\.csv:3: 'dog, cat' are several labels; separate them by \|"),
        (("image,label", "../0.png,cat"), r"labels\.csv:2: '\.\./0\.png' leads out of the folder"),
        (("image,label", "/tmp/0.png,cat"), r"labels\.csv:2: '/tmp/0\.png' leads out of the folder"),
        (("image,label", "a\\..\\..\\0.png,cat"), r"labels\.csv:2: .* leads out of the folder"),
        ((HEADER, "0.png,cat,trian,"), r"labels\.csv:2: split 'trian' is unknown; did you mean 'train'"),
        ((HEADER, "0.png,cat,train,dog|bird"), r"labels\.csv:2: label 'cat' is not among the labels dog\|bird"),
        (
            ("image,label,split", "0.png,cat,val", "1.png,cat,", "absent.png,dog,"),
            r"absent\.png: .* no such file; 1 of 2 training images",
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_line(folder, lines, message):
    refused(folder(*lines), message)


def test_several_known_labels_absences_and_photos_without_any_are_read(folder):
    root = folder(
        "Split,Absent,IMAGE,Label,note", "train,bird,0.png,cat|dog,x", ",,1.png,,", ",,2.png,dog,", "Val,,3.png,cat,",
        ",,2.png,cat,",
    )  # fmt: skip
    table = read_table(root / "labels.csv")
    assert table.rows == [
        Row(2, "0.png", ("cat", "dog"), ("bird",)), Row(3, "1.png"), Row(4, "2.png", ("dog", "cat")),
        Row(5, "3.png", ("cat",), split="val"),
    ]  # fmt: skip
    assert table.notes == [
        "columns that are not read: 'note' (known are image, label, absent, labels, split)",
        "1 further lines of photos that stand in the table already: their labels are taken together",
    ]
    data = load(root)
    assert data.class_names == ["bird", "cat", "dog"]
    np.testing.assert_array_equal(data.train.observed, [[-1, 1, 1], [0, 0, 0], [0, 1, 1]])
    assert data.notes == table.notes


def test_a_photo_without_a_label_does_not_validate(folder):
    root = folder("image,label", *(f"{i}.png,{'cat' if i < 5 else ''}" for i in range(10)))
    data = load(root)
    assert data.val.observed.sum() == len(data.val) == 1
    assert len(data.train) == 9


@pytest.mark.parametrize("names", [("Bus", "bus"), ("fire truck", "fire_truck"), ("dog", "dogs"), ("Straße", "STRASSE")])
def test_names_that_most_would_take_for_one_are_told(folder, names):
    (note,) = load(folder("image,label", *(f"{i}.png,{names[i % 2]}" for i in range(10)))).notes
    assert all(repr(name) in note for name in names)


def test_a_table_that_is_written_is_the_table_that_is_read(folder):
    rows = [
        Row(2, "a, b.png", ("fire, truck", "猫"), ("x",)), Row(3, "1.png"), Row(4, "2.png", labels=("x", "猫"), split="test"),
        Row(5, "3.png", ("x",), split="val"),
    ]  # fmt: skip
    root = folder("")
    for some in (rows, rows[:2], rows[1:2]):
        (root / "labels.csv").write_text("".join(table_lines(some)))
        assert read_table(root / "labels.csv").rows == [replace(row, line=line) for line, row in enumerate(some, start=2)]
    assert next(table_lines(rows[:2])) == "image,label,absent\n"


def test_a_table_that_is_no_text_is_refused(folder):
    root = folder("image,label", "0.png,cat")
    (root / "labels.csv").write_bytes(b"\xff\xfe\x00image")
    refused(root, r"labels\.csv: cannot be read as UTF-8 text \(.*\); save it as CSV UTF-8")


def test_labels_outside_the_class_list_are_refused_with_the_nearest_name(folder):
    root = folder("image,label", "0.png,cat", "1.png,dgo")
    (root / "classes.txt").write_text("cat\ndog\nbird\n")
    refused(root, r"labels\.csv:3: 'dgo' is not in .*classes\.txt; did you mean 'dog'")
    folder("image,label", "0.png,cat", "1.png,dog", "2.png,dog")
    assert load(root).class_names == ["cat", "dog", "bird"]


def test_full_training_labels_must_be_there_to_train_on(folder):
    root = folder(HEADER, "0.png,cat,train,cat", "1.png,dog,train,", "2.png,dog,val,dog")
    with pytest.raises(ConfigError, match=r"labels\.csv:3: dataset\.train_labels: full needs the column `labels`"):
        load(root, train_labels="full")
    data = load(make_folder(root / "other"), train_labels="full")
    np.testing.assert_array_equal(data.train.observed, data.train.targets)
    assert data.train.observed.sum() > len(data.train)


KNOWN_TABLE = (
    "image,label,absent,labels,split", "0.png,cat,dog,,", "1.png,,,cat|dog,", "2.png,cat,bird,cat|dog,", "3.png,,bird|dog,,",
    "4.png,,,,", "5.png,cat|dog,,,", "6.png,,dog,cat,val", "7.png,cat,,,val",
)  # fmt: skip


def test_what_a_table_says_is_used_as_it_is_and_one_is_drawn_of_full_labels(folder):
    data = load(folder(*KNOWN_TABLE))
    drawn = data.train.observed[1]
    assert drawn.tolist() in ([0, 1, 0], [0, 0, 1])
    expected = [[0, 1, -1], drawn, [-1, 1, 0], [-1, 0, -1], [0, 0, 0], [0, 1, 1]]
    np.testing.assert_array_equal(data.train.observed, expected)
    np.testing.assert_array_equal(data.val.observed, [[-1, 1, -1], [0, 1, 0]])
    assert data.train.observed.dtype == data.val.observed.dtype == np.int8


@pytest.mark.parametrize("split", ["val", "test"])
def test_a_split_of_which_some_rows_tell_all_is_judged_by_all_that_they_tell(folder, split):
    rows = ("0.png,cat,,", "1.png,cat,,val", "2.png,cat,,test", f"3.png,dog,,{split}")
    data = load(folder("image,label,labels,split", *rows, *(f"{i}.png,,bird|dog,{split}" for i in (4, 5))))
    judged = getattr(data, split)
    assert judged.targets is None
    np.testing.assert_array_equal(judged.observed[-3:], [[0, 0, 1], [1, -1, 1], [1, -1, 1]])
    whole = ("0.png,cat,,", "1.png,cat,,val", "2.png,,bird|dog,test", "3.png,,bird|dog,test")
    one_each = load(folder("image,label,labels,split", *whole))
    assert one_each.test.targets is not None
    assert (one_each.test.observed == 1).sum(axis=1).tolist() == [1, 1], "complete, it keeps the one label that is drawn"


def test_all_that_a_table_says_is_known_where_that_is_asked_for(folder):
    data = load(folder(*KNOWN_TABLE), known="given")
    expected = [[0, 1, -1], [-1, 1, 1], [-1, 1, 1], [-1, 0, -1], [0, 0, 0], [0, 1, 1]]
    np.testing.assert_array_equal(data.train.observed, expected)
    np.testing.assert_array_equal(data.val.observed, [[-1, 1, -1], [0, 1, 0]])
    assert data.train.targets is None


@pytest.mark.parametrize("known", [{"share": 0.5}, {"positives": 1, "negatives": 1}, {"positives": "all"}])
def test_what_is_known_is_drawn_from_full_labels_or_refused_without_them(folder, known):
    table = [f"{i}.png,{'val' if i > 6 else 'train'},{'cat|dog' if i % 2 else 'bird'}" for i in range(10)]
    data = load(folder("image,split,labels", *table), known=known)
    for split in (data.train, data.val):
        names = [split.images.name(i) for i in range(len(split))]
        np.testing.assert_array_equal(split.observed, observe(split.targets, names, data.class_names, Known(**known)))
    root = folder("image,split,labels,label", *(f"{line}," for line in table[:4]), "4.png,train,,cat", "8.png,val,dog,")
    message = r"labels\.csv:6: dataset\.known: what is drawn from full labels needs the column `labels` in every training row"
    with pytest.raises(ConfigError, match=message):
        load(root, known=known)


def test_prepare_counts_what_is_known(folder, capsys):
    prepare("folder", folder(*KNOWN_TABLE))
    header, train, val, *_ = capsys.readouterr().out.splitlines()
    assert " ".join(header.split()) == "folder photos known there known absent nothing known classes seen all labels told"
    assert train.split()[:5] == ["train", "6", "5", "4", "1"]
    assert val.split()[:5] == ["val", "2", "2", "2", "0"]  # one row tells all, the other not: all that both tell is known


def test_prepare_tells_what_a_table_lacks_and_holds_twice(folder, capsys):
    rows = [f"{i}.png,{'cat' if i else 'dog'},{'val' if i > 7 else 'train'},{'dog' if i == 2 else ''}" for i in range(9)]
    root = folder("image,label,split,absent", *rows, "9.png,dog|cat,val,", "4.jpg,,train,")
    (root / "9.png").write_bytes((root / "1.png").read_bytes())
    (root / "4.jpg").write_bytes((root / "4.png").read_bytes())
    before = {path.name for path in root.iterdir()}
    prepare("folder", root)
    output = capsys.readouterr().out
    for line in (
        "fewer than 10 training photos: cat (7), dog (1)",
        "the 2 validation photos are judged by their known labels, as not all of their labels are told",
        "no row has split test",
        "9 training photos make 8 steps in 8 epochs of batches of 16, few; take more epochs or a higher rate: --set "
        "trainer.epochs=500 trainer.patience=null trainer.max_drop=null or trainer.learning_rate=1e-4",
        "1 of 11 photos have no label",
        "1 of 11 photos have several known labels",
        "1 known absence: each is a negative in training",
        "CLIP reads the labels as: a photo of a cat, a photo of a dog",
        "the same file 2 times, across splits (train, val): what is measured there is memory, with different labels: "
        "cat, cat|dog: 1.png (line 3), 9.png (line 11)",
        "the same file 2 times, with different labels: cat, none: 4.png (line 6), 4.jpg (line 12)",
        f"next         python run.py --exp folder_gpr --set dataset.root={root}",
        f"without GPU  python run.py --exp folder_probe_gpr --set dataset.root={root}",
    ):
        assert line in output
    assert {path.name for path in root.iterdir()} == before


def test_prepare_tells_that_a_test_split_is_judged_by_known_labels(folder, capsys):
    rows = [f"{i}.png,{'cat' if i % 2 else 'dog'},{('train', 'val', 'test')[i // 3]}" for i in range(9)]
    prepare("folder", folder("image,label,split", *rows))
    said = "the 3 {} photos are judged by their known labels, as not all of their labels are told"
    output = capsys.readouterr().out
    assert all(said.format(title) in output for title in ("validation", "test"))


def test_pictures_that_are_nearly_the_same_are_told_across_splits(folder, capsys):
    root = folder("image,label,split", *(f"{i}.jpg,{'cat' if i % 2 else 'dog'},{'val' if i > 2 else 'train'}" for i in range(5)))
    noise = np.random.default_rng(0)
    pictures = [Image.fromarray(noise.integers(0, 255, (6, 8, 3), dtype=np.uint8)).resize((160, 120), 3) for _ in range(3)]
    for i in range(5):
        pictures[i % 3].resize((160 - 8 * i, 120 - 6 * i)).save(root / f"{i}.jpg", quality=90 - 2 * i)
    prepare("folder", root)
    output = capsys.readouterr().out
    first, second = "0.jpg (line 2), 3.jpg (line 5)", "1.jpg (line 3), 4.jpg (line 6)"
    assert output.count("nearly the same picture, across splits (train, val)") == 2
    assert first in output
    assert second in output


def test_a_table_that_leaves_nothing_to_validate_with_is_refused(folder):
    refused(folder("image,label", "0.png,cat", "1.png,dog"), "of 2 photos none with a label is left to validate with; label more")
    refused(folder("image,label,split", "0.png,cat,val", "1.png,,"), "of 2 photos none with a label is left to train on")


@given(st.dictionaries(st.integers(0, 50), st.integers(0, 2**64 - 1), max_size=20), st.integers(0, 63), st.integers(0, 63))
def test_pictures_are_alike_as_by_comparing_all(hashes, one, other):
    hashes |= {51: 5, 52: 5 ^ (1 << one) ^ (1 << other)}
    near = [[(first ^ second).bit_count() <= DISTANCE for second in hashes.values()] for first in hashes.values()]
    _, labels = connected_components(csr_array(near))
    groups = [[i for i, label in zip(hashes, labels, strict=True) if label == one] for one in set(labels)]
    assert alike(hashes) == sorted(sorted(group) for group in groups if len(group) > 1)


def test_thousands_of_frames_of_a_camera_that_does_not_move_are_one_group():
    assert alike(dict.fromkeys(range(20_000), 7) | {20_000: 2**40}) == [list(range(20_000))]


def test_prepare_names_the_photos_that_are_meant_and_import_writes_their_names(folder, capsys):
    root = folder("image,label", "0.PNG,cat", "a\\1.png,dog", "2,cat", "3.png,dog", "gone.png,cat")
    assert main(["prepare", "folder", "--root", str(root)]) == 1
    output = capsys.readouterr().out
    said = "2 photos are called otherwise than the table says: line 2, 0.PNG is 0.png (another case); line 4, 2 is 2.png ("
    assert said in output
    command = f"python run.py import {root}/labels.csv --root {root} --replace"
    assert (
        "1 name is of no photo there: line 3, a\\1.png may be 1.png (folders that are not below the root); "
        f"to take these: {command}\n"
    ) in output
    assert f"{root}/gone.png: listed in {root}/labels.csv:6, but there is no such file" in output
    data = load(root, on_bad_image="quarantine")
    assert [split.images.name(i) for split in (data.train, data.val) for i in range(len(split))] == ["0.png", "2.png", "3.png"]
    with pytest.raises(DataError, match=r"a.1\.png: .* no such file; 1\.png is meant .the name has folders .*; 2 of 4 training"):
        load(root)
    assert main(command.split()[2:]) == 1  # gone.png is left out
    assert main(["prepare", "folder", "--root", str(root)]) == 0


def test_a_table_beyond_all_bounds_is_refused_unread(folder):
    root = folder("image,label")
    with (root / "labels.csv").open("ab") as file:
        file.truncate(3 * 10**9)
    refused(root, r"labels\.csv: has 3,000,000,000 bytes; at most 500,000,000 are read")


def test_prepare_writes_full_labels_only_where_they_are_known(tmp_path):
    root = make_folder(tmp_path)
    prepare("folder", root, tmp_path / "out")
    names = sorted(path.name for path in (tmp_path / "out").glob("*.npy"))
    assert names == [f"formatted_{split}_{part}.npy" for split in ("train", "val") for part in ("images", "labels", "labels_obs")]
    targets, observed = (np.load(tmp_path / f"out/formatted_train_{part}.npy") for part in ("labels", "labels_obs"))
    assert (observed <= targets).all()
    assert observed.sum() == len(observed)


def test_the_arrays_of_a_table_hold_the_known_labels_that_a_run_has(tmp_path):
    numbers, rows = np.random.default_rng(0), []
    for i in range(60):
        labels = [name for name in ("cat", "cup", "dog", "sofa") if numbers.random() < 0.6] or ["cat"]
        rows.append(f"{i}.png,{'|'.join(labels)},{'test' if i >= 50 else ''}")
        draw(tmp_path / f"{i}.png", i)
    (tmp_path / "labels.csv").write_text("\n".join(["image,labels,split", *rows]) + "\n")
    prepare("folder", tmp_path, tmp_path / "out", check=False)
    config = registry.get("datasets", "arrays").config(name="arrays", root=str(tmp_path), arrays=str(tmp_path / "out"))
    arrays, run = registry.build("datasets", config), load(tmp_path)
    for part in ("train", "val", "test"):
        one, other = (getattr(data, part) for data in (arrays, run))
        assert [one.images.name(i) for i in range(len(one))] == [other.images.name(i) for i in range(len(other))]
        np.testing.assert_array_equal(one.observed, other.observed)
        np.testing.assert_array_equal(one.targets, other.targets)


def test_arrays_of_a_table_have_their_classes_beside_them(folder, capsys):
    table = "image,labels,split", *(f"{i}.png,{'dog' if i % 2 else 'cat|dog'},{'test' if i > 7 else ''}" for i in range(10))
    root = folder(*table)
    prepare("folder", root, root / "out")
    assert "formatted_val_labels.npy, classes.txt in " in " ".join(capsys.readouterr().out.split())
    config = registry.get("datasets", "arrays").config(name="arrays", root=str(root), arrays=str(root / "out"))
    data = registry.build("datasets", config)
    assert (data.class_names, len(data.train) + len(data.val), len(data.test)) == (["cat", "dog"], 8, 2)
    folder(*table[:-1], "9.png,bird,test")
    prepare("folder", root, root / "out")  # those of an earlier table are written over
    assert (root / "out/classes.txt").read_text() == "bird\ncat\ndog\n"
    (root / "other").mkdir()
    (root / "other/classes.txt").write_text("mine\n")
    with pytest.raises(DataError, match=r"other/classes\.txt: is there already and says something else; move it away"):
        prepare("folder", root, root / "other")
    assert (root / "other/classes.txt").read_text() == "mine\n"


def test_the_table_may_have_another_name(folder):
    root = folder("image,label", *(f"{i}.png,cat" for i in range(5)))
    (root / "labels.csv").rename(root / "mine.csv")
    assert FolderConfig(name="folder", table="mine.csv").table == "mine.csv"
    assert len(load(root, table="mine.csv").train) == 4
    with pytest.raises(DataError, match=r"labels\.csv: no such file; it names the photos of dataset\.root"):
        load(root)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["train"] * 3 + ["trian"], "'trian' (1) of 'train' (3)"),
        (["person"] * 6 + ["persom", "perso"], "'perso' (1) of 'person' (6), 'persom' (1) of 'person' (6)"),
        (["train"] * 3 + ["brain"] * 3, ""),  # both frequent
        (["cat"] * 6 + ["car"], ""),  # three letters
        (["train"] * 2 + ["trian"], ""),  # none is frequent
        (["room 1"] * 6 + ["room 2"], ""),
        (["chair"] * 6 + ["chairs"], ""),  # told as a plural
        (["train"] * 6 + ["grain elevator"], ""),
    ],
)
def test_prepare_tells_of_a_rare_word_that_may_be_a_frequent_one_misspelt(folder, capsys, words, said):
    root = folder("image,label", *(f"{i}.png,{word}" for i, word in enumerate(words)))
    prepare("folder", root)
    told = [line for line in capsys.readouterr().out.splitlines() if "may be a misspelling" in line]
    assert (said in told[0] and "classes.txt" in told[0]) if said else not told


@pytest.mark.parametrize(
    ("one", "other", "told"),
    [
        ({"known": ("cat",), "absent": ("dog",)}, {"known": ("cat",), "labels": ("cat", "dog")}, "cat, cat|dog"),
        ({"known": ("cat",), "absent": ("dog",)}, {"labels": ("cat", "dog")}, "cat, cat|dog"),
        ({"known": ("cat",), "labels": ("cat", "dog")}, {"labels": ("dog", "cat")}, ""),
        ({"known": ("cat",), "absent": ("dog",)}, {"known": ("cat",)}, ""),
        ({"known": ("cat",)}, {"known": ("dog",)}, "cat, dog"),
    ],
)
def test_rows_of_one_picture_contradict_each_other_where_one_denies_what_another_tells(one, other, told):
    said = advice.contradiction([Row(2, "a.png", **one), Row(3, "b.png", **other)])
    assert said == (f", with different labels: {told}" if told else "")


def test_prepare_says_how_a_class_gets_validated(folder, capsys):
    prepare("folder", folder("image,label", *(f"{i}.png,{'cat' if i else 'dog'}" for i in range(7))))
    output = capsys.readouterr().out
    assert "no validation photo of " in output
    assert "is not measured there; give some val in the column split, or label more\n" in output


@pytest.mark.parametrize("cell", ["cat, dog", "cat;dog", "['cat', 'dog']"])
def test_labels_that_are_separated_otherwise_are_refused(tmp_path, cell):
    (tmp_path / "labels.csv").write_text(f'image,label\na.jpg,cat\nb.jpg,"{cell}"\nc.jpg,dog\n')
    with pytest.raises(DataError, match=r"labels\.csv:3: .* are several labels; separate them by \|: cat\|dog"):
        read_table(tmp_path / "labels.csv")


@pytest.mark.parametrize("name", ["keyboard (computer, instrument)", "bass (fish; instrument)", "TV; radio", "[draft] cat"])
def test_names_with_brackets_and_semicolons_are_names(tmp_path, name):
    (tmp_path / "labels.csv").write_text(f'image,label\na.jpg,instrument\nb.jpg,"{name}"\nc.jpg,radio\n')
    assert read_table(tmp_path / "labels.csv").rows[1].known == (name,)


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (["['cat']", "['cat', 'dog']"], r":2: .* is a list; write what is in it: cat"),
        (["['cat' 'dog']", "sofa"], r":2: .* are several labels; separate them by \|: cat\|dog"),  # as NumPy writes it
        (['["cat", "dog"]', "sofa"], r":2: .* are several labels; separate them by \|: cat\|dog"),
        (["('cat',)", "('cup',)"], r":2: .* is a list; write what is in it: cat"),
        (["sofa", "[]"], r":3: '\[\]' is a list; write what is in it: \(nothing\)"),
        (["cup, dog", "dog, cup"], r":2: 'cup, dog' are several labels; separate them by \|: cup\|dog"),
        (["cat, cup", "cup, dog", "cat, dog"], r":2: 'cat, cup' are several labels"),
    ],
)
def test_lists_are_refused_though_none_of_their_parts_stands_alone(tmp_path, cells, message):
    with (tmp_path / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["image", "labels"], *([f"{i}.jpg", cell] for i, cell in enumerate(cells))])
    with pytest.raises(DataError, match=message):
        read_table(tmp_path / "labels.csv")
    root = write_table(tmp_path, "image,label")
    found = [Found(root, Row(i, f"{i}.png", labels=(cell,))) for i, cell in enumerate(cells)]
    with pytest.raises(DataError, match=r"class .* would be read as several; if .*; if it is one class"):
        collect(found, root, PhotoIndex(root), Report())


@pytest.mark.parametrize("end", ["x]", "]"])
@pytest.mark.parametrize("filling", [" ", ",", "' ", '"', "[", "(", "a, "])
def test_a_long_cell_takes_no_long_time(filling, end):
    name = f"['a'{filling * (100_000 // len(filling))}{end}"
    found = several_in_one({name})
    assert bool(found) == (end == "]" and filling in (" ", ",", "' "))


@pytest.mark.parametrize(
    "names",
    [
        ["lynx, catamount", "cougar, puma, catamount", "tub, vat", "bathing tub, bath, tub"],  # of ImageNet
        ["chair, arm", "chair, dining", "table, dining"],
        ["shirt, red", "shirt, blue", "skirt, red", "skirt, blue"],
        ["keyboard (computer, instrument)", "(c, d)", "fire, truck"],
    ],
)
def test_names_with_commas_that_repeat_a_part_in_its_place_are_names(names):
    assert several_in_one(set(names)) == {}


def test_a_photo_that_a_table_writes_in_two_ways_is_one(tmp_path):
    (tmp_path / "labels.csv").write_text("image,label,split\na.jpg,cat,train\n./a.jpg,dog,val\n")
    with pytest.raises(DataError, match=r"a\.jpg is in split val, and in split train by line 2"):
        read_table(tmp_path / "labels.csv")


@given(st.lists(st.text("abc", min_size=4, max_size=6), min_size=2, max_size=30))
def test_misspellings_are_all_pairs_one_slip_apart(words):
    counts = collections.Counter({word: 9 if i % 2 else 1 for i, word in enumerate(words)})
    pairs = [
        f"{rare!r} (1) of {often!r} (9)" for rare in sorted(counts) for often in sorted(counts)
        if (counts[rare], counts[often]) == (1, 9) and advice._is_one_slip(rare, often)
    ]  # fmt: skip
    told = " ".join(advice._misspelt(counts))
    assert all(pair in told for pair in pairs[: advice.SHOWN])
    assert bool(told) == bool(pairs)


def test_arrays_that_are_written_into_the_folder_itself_make_no_class_list_of_it(folder):
    root = folder("image,label", *(f"{i}.png,{'cat' if i % 2 else 'dog'}" for i in range(6)))
    prepare("folder", root, root)
    assert (root / "formatted_train_images.npy").is_file()
    assert not (root / "classes.txt").exists()
    folder("image,label", *(f"{i}.png,{('cat', 'dog', 'bird')[i % 3]}" for i in range(6)))
    assert load(root).class_names == ["bird", "cat", "dog"]
