"""YOLO as several programs lay it out."""

import pytest
from exports import row

BOX = " 0.5 0.5 0.1 0.1\n"
TREES = {
    "ultralytics": {
        "data.yaml": "path: .\ntrain: images/a\nval: images/b\nnames: {0: cat, 1: dog}\n", "images/a/1.jpg": None,
        "images/b/2.jpg": None, "labels/a/1.txt": f"1{BOX}0{BOX}", "labels/b/2.txt": f"1{BOX}",
    },
    "roboflow": {
        "data.yaml": "train: ../train/images\nval: ../valid/images\nnc: 2\nnames: ['cat', 'dog']\n", "train/images/1.jpg": None,
        "valid/images/2.jpg": None, "train/labels/1.txt": f"1{BOX}0{BOX}", "valid/labels/2.txt": f"1{BOX}",
        "README.roboflow.txt": "hello",
    },
    "darknet": {
        "obj.names": "cat\ndog\n", "obj.data": "classes = 2\n", "train.txt": "data/obj_train_data/1.jpg\n",
        "valid.txt": "data/obj_train_data/2.jpg\n", "obj_train_data/1.jpg": None, "obj_train_data/2.jpg": None,
        "obj_train_data/1.txt": f"1{BOX}\n0 0.1 0.1 0.2 0.2 0.3 0.3\n", "obj_train_data/2.txt": f"1{BOX}",
    },
    "labelimg": {
        "train/1.jpg": None, "train/1.txt": f"1{BOX}0{BOX}", "val/2.jpg": None, "val/2.txt": f"1{BOX}",
        "val/classes.txt": "cat\ndog",        "train/classes.txt": "cat\ndog\n",
    },
    "labels beside images": {"train/1.jpg": None, "labels/train/1.txt": f"1{BOX}0{BOX}", "labels/val/2.txt": f"1{BOX}",
                             "val/2.jpg": None, "labels/classes.txt": "cat\ndog\n"},
}  # fmt: skip


@pytest.mark.parametrize("tree", TREES)
def test_yolo_as_programs_lay_it_out(tree, put, imported):
    rows, told = imported(put(**TREES[tree]))
    assert [(image.rpartition("/")[2], *rest) for image, *rest in rows] == [
        row("1.jpg", labels=["cat", "dog"]), row("2.jpg", labels=["dog"], split="val"),
    ]  # fmt: skip
    assert told == ""


def test_photos_without_a_text_file_or_with_an_empty_one_are_kept_and_counted(put, imported):
    source = put(**{"classes.txt": "cat\n", "1.jpg": None, "1.txt": f"0{BOX}", "2.jpg": None, "2.txt": "", "3.jpg": None})
    rows, told = imported(source)
    assert rows == [row("1.jpg", labels=["cat"]), row("2.jpg"), row("3.jpg")]
    assert "1 text file is empty, and its photo has no labels in the table: 2.txt" in told
    assert "1 photo has no text file, and no labels in the table: 3.jpg" in told


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"1.txt": f"0{BOX}2{BOX}"}, "1.txt:2: class 2 is none of the 2 that have a name"),
        ({"1.txt": "0" * 12 + f"2{BOX}"}, "1.txt:1: class 0000000000002 is none of the 2 that have a name"),
        ({"1.txt": "cat 1 2 3 4\n"}, "1.txt:1: must be the number of a class and a box, is 'cat 1 2 3 4'"),
        ({"1.txt": "0 1 2\n"}, "1.txt:1: must be the number of a class and a box"),
        ({"1.txt": "9" * 5000 + BOX}, "1.txt:1: class 99999999999999999999 is none"),
        ({"data.yaml": "names: [dog, cat]\n"}, "names other classes than "),
        ({"data.yaml": "names: {0: cat, 2: dog}\n"}, "data.yaml: `names` must be a list of classes, or map 0, 1, ... to them"),
        ({"train.txt": "1.jpg\n", "val.txt": "1.jpg\n"}, "val.txt: 1.jpg is in split val, and in split train"),
    ],
)
def test_what_is_wrong_with_yolo_is_told_with_its_place(files, message, put, refused):
    source = put(**({"classes.txt": "cat\ndog\n", "1.jpg": None, "1.txt": f"0{BOX}"} | files))
    assert message in refused(source)


def test_the_mark_that_windows_puts_before_a_text_is_none_of_it(put, imported):
    source = put(**{"classes.txt": "\ufeffcat\r\ndog\r\n", "1.jpg": None, "1.txt": f"\ufeff0{BOX}"})
    assert imported(source)[0] == [row("1.jpg", labels=["cat"])]


def test_yolo_without_names_asks_for_them(put, refused, imported, tmp_path):
    source = put(**{"labels/1.txt": f"0{BOX}", "images/1.jpg": None})
    assert "holds no file with the names of the classes, such as data.yaml; name it: --names FILE" in refused(
        source, "--from", "yolo", code=2
    )
    (tmp_path / "mine.names").write_text("cat\n")
    assert imported(source, "--from", "yolo", "--names", str(tmp_path / "mine.names"))[0] == [row("images/1.jpg", labels=["cat"])]


@pytest.mark.parametrize("above", ["..", ".", "{root}", "/elsewhere/of/another/machine"])
def test_folders_that_data_yaml_names_divide_by_the_longest_end_that_fits(above, put, imported, tmp_path):
    above = above.format(root=tmp_path / "source")
    data = f"train: {above}/a_train/images\nval: {above}/a_val/images\nnames: [cat, dog]\n"
    source = put(
        **{"data.yaml": data, "a_train/images/1.jpg": None, "a_val/images/2.jpg": None},
        **{"a_train/labels/1.txt": f"0{BOX}", "a_val/labels/2.txt": f"1{BOX}"},
    )
    rows, _ = imported(source)
    assert [(image, split) for image, *_, split in rows] == [("a_train/images/1.jpg", "train"), ("a_val/images/2.jpg", "val")]


def test_a_folder_that_two_splits_share_divides_nothing(put, imported):
    data = "train: /x/images\nval: /y/images\nnames: [cat, dog]\n"
    source = put(**{"data.yaml": data, "images/1.jpg": None, "labels/1.txt": f"0{BOX}"})
    assert imported(source)[0] == [row("images/1.jpg", labels=["cat"])]


def test_photos_below_no_folder_that_data_yaml_names_are_of_no_split_of_it(put, imported):
    files = {"data.yaml": "val: a/images\nnames: [cat, dog]\n", "a/images/1.jpg": None, "b/images2/2.jpg": None}
    rows, _ = imported(put(**files, **{"a/labels/1.txt": f"0{BOX}", "b/labels2/2.txt": f"1{BOX}"}), "--from", "yolo")
    assert [(image, split) for image, *_, split in rows] == [("a/images/1.jpg", "val"), ("b/images2/2.jpg", "train")]
