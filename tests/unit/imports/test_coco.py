"""COCO's JSON: several files, and what is wrong in one."""

import json

import pytest
from exports import row

from aevlp.cli import main

CATEGORIES = [{"id": 5, "name": "cat"}, {"id": 9, "name": "dog"}]


def coco(names, annotations, **more):
    return {
        "images": [{"id": i, "file_name": name} for i, name in enumerate(names)], "categories": CATEGORIES,
        "annotations": [{"id": n, "image_id": i, "category_id": c} for n, (i, c) in enumerate(annotations)], **more,
    }  # fmt: skip


def test_files_of_several_splits_are_one_table(put, imported):
    source = put(**{
        "annotations/instances_train2017.json": coco(["1.jpg"], [(0, 5), (0, 9)]), "train2017/1.jpg": None, "val2017/1.jpg": None,
        "annotations/instances_val2017.json": coco(["1.jpg"], [(0, 9)]), "annotations/captions_val2017.json": "[",
    })  # fmt: skip
    rows, told = imported(source)
    assert rows == [row("train2017/1.jpg", labels=["cat", "dog"]), row("val2017/1.jpg", labels=["dog"], split="val")]
    assert told == "note  2 named with fewer folders: 1.jpg is train2017/1.jpg, 1.jpg is val2017/1.jpg\n"


def test_photos_beside_their_annotations_are_meant_first(put, imported):
    source = put(**{
        "train/_annotations.coco.json": coco(["1.jpg"], [(0, 5)]), "train/1.jpg": None, "1.jpg": None, "valid/1.jpg": None,
        "valid/_annotations.coco.json": coco(["1.jpg"], [(0, 9)]),
    })  # fmt: skip
    rows, told = imported(source)
    assert rows == [row("train/1.jpg", labels=["cat"]), row("valid/1.jpg", labels=["dog"], split="val")]
    assert told == "note  1 photo is there, and is not named: 1.jpg\n"


def test_one_split_alone_is_all_there_is(put, imported):
    source = put(**{"instances_val2014.json": coco(["1.jpg"], [(0, 5)]), "1.jpg": None})
    rows, told = imported(source)
    assert rows == [row("1.jpg", labels=["cat"])]
    assert "all photos are of split val" in told
    assert "1 category has no annotation, and is no class of the table: dog" in told


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (coco(["1.jpg"], [(0, 5), (3, 9)]), "annotations[1] is of image 3, which is not among the 1 images"),
        (coco(["1.jpg"], [(0, 59)]), "annotations[0] has category_id 59, which is not among the 2 categories; did you mean '9'"),
        ({"images": [], "annotations": []}, "has no list 'categories'; COCO's JSON has images, annotations and categories"),
        ([], "has no list 'images'"),
        (coco(["1.jpg"], []) | {"images": [{"id": 1}]}, "images[0] has no file_name; it is {\"id\": 1}"),
        (coco(["1.jpg"], []) | {"images": [7]}, "images[0] has no id; it is 7"),
        (coco(["1.jpg"], []) | {"images": [{"id": [], "file_name": "1.jpg"}]}, "images[0] has no id"),
        (coco(["1.jpg"], []) | {"images": [{"id": 1, "file_name": "1.jpg"}] * 2}, "2 images have 1 ids; each needs its own"),
        (coco(["1.jpg", "1.jpg"], [(0, 5), (1, 9)]), "1.jpg has other labels than in "),
        (coco(["1.jpg"], [(0, 5)], categories=[{"id": 5, "name": "a|b"}]), "class 'a|b' holds |, which separates"),
        ('{"images": [' + "[" * 100_000, "cannot be read: nested too deeply"),
        ('{"images": [{"id": 1, "file', "cannot be read: Unterminated string starting at: line 1 column 23"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_coco_is_told_with_its_place(content, message, put, refused):
    source = put(**{"x.json": content, "1.jpg": None})
    assert refused(source / "x.json", "--from", "coco", root=source).startswith(f"{source}/x.json: {message}")


def test_ids_are_whole_numbers_however_they_are_written_and_each_category_has_its_own(put, imported, capsys):
    whole = coco(["a.jpg", "b.jpg"], [(0, 5), (1, 9)])
    floats = {
        key: [{k: float(v) if isinstance(v, int) else v for k, v in one.items()} for one in some] for key, some in whole.items()
    }
    source = put(**{"i.json": floats, "a.jpg": None, "b.jpg": None})
    assert imported(source / "i.json", root=source)[0] == [row("a.jpg", labels=["cat"]), row("b.jpg", labels=["dog"])]
    (source / "i.json").write_text(json.dumps(floats | {"categories": [{"id": 5.0, "name": 5.0}, {"id": 9.0, "name": 9.0}]}))
    assert imported(source / "i.json", "--replace", root=source)[0][0] == row("a.jpg", labels=["5"])
    capsys.readouterr()
    twice = whole | {"categories": [*CATEGORIES, {"id": 5, "name": "cow"}]}
    source = put(**{"i.json": twice})
    assert main(["import", str(source / "i.json"), "--root", str(source), "--replace"]) == 1
    assert "i.json: categories[2] has the id 5 of another, 'cat'; each needs its own" in capsys.readouterr().err
