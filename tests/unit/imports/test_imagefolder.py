"""Photos in folders named after their class."""

import unicodedata

import pytest
from exports import row
from miniatures import draw

from aevlp.cli import main
from aevlp.config.errors import ConfigError
from aevlp.data.imports._guess import guess, kinds_like


def test_folders_of_splits_stand_above_classes(put, imported):
    source = put(**{"Training/cat/1.jpg": None, "valid/train/1.jpg": None, "test/cat/1.png": None})
    assert imported(source) == (
        [row("Training/cat/1.jpg", ["cat"]), row("test/cat/1.png", ["cat"], split="test"),
         row("valid/train/1.jpg", ["train"], split="val")], "",
    )  # fmt: skip


def test_a_class_may_be_called_train_and_photos_may_lie_without_one(put, imported):
    source = put(**{"train/1.jpg": None, "test/1.jpg": None, "dog/a/b/1.jpg": None, "0.jpg": None})
    rows, told = imported(source)
    assert rows == [row("0.jpg"), row("dog/a/b/1.jpg", ["dog"]), row("test/1.jpg", ["test"]), row("train/1.jpg", ["train"])]
    assert told == "note  1 deeper than in the folder of their class, whose name is the label: dog/a/b/1.jpg\n"


def test_one_folder_above_all_classes_is_told(put, imported):
    source = put(**{"photos/cat/1.jpg": None, "photos/dog/1.jpg": None})
    _, told = imported(source)
    assert f"all photos are of one class, photos: is it {source}/photos that is meant?" in told


def test_folders_without_photos_are_refused(put, refused):
    source = put(**{"1.jpg": None})
    assert "has no folders of photos" in refused(source, "--from", "imagefolder")


def test_photos_of_a_split_may_lie_in_it_without_a_label(put, imported):
    source = put(**{"train/cat/1.jpg": None, "train/dog/1.jpg": None, "test/1.jpg": None})
    rows, told = imported(source)
    assert rows == [row("test/1.jpg", split="test"), row("train/cat/1.jpg", ["cat"]), row("train/dog/1.jpg", ["dog"])]
    assert told == ""


def test_a_photo_beside_the_folders_of_splits_says_nothing_of_them(put, imported):
    source = put(**{"train/cat/1.jpg": None, "val/dog/2.jpg": None, "logo.png": None})
    rows, _ = imported(source)
    assert rows == [row("logo.png"), row("train/cat/1.jpg", ["cat"]), row("val/dog/2.jpg", ["dog"], split="val")]


ANSWERS = "image,class,answer,split,source\ncat/1.jpg,dog,no,,x\n"
GUESSES = "image,cat,dog,labels\ncat/1.jpg,0.9,0.1,cat\n"


def test_class_folders_are_still_some_after_answers_were_imported(put, imported, capsys):
    source = put(**{"cat/1.jpg": None, "dog/2.jpg": None, "answers.csv": ANSWERS})
    assert main(["import", str(source)]) == 0
    imported(source / "answers.csv", root=source)
    draw(source / "dog/3.jpg", 3)
    capsys.readouterr()
    assert imported(source, "--replace")[0] == [
        row("cat/1.jpg", ["cat"]), row("dog/2.jpg", ["dog"]), row("dog/3.jpg", ["dog"])
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "content", "is_own"),
    [
        ("labels.before-12.csv", "", True),
        ("other.added-1.csv", "", True),
        ("out/answers 2.csv", ANSWERS, True),
        ("scores.csv", GUESSES, True),
        ("pseudo.CSV", "image,label,absent,class,sign,score,view,global_probability\n", True),
        ("labels.before.csv", "image,label\n", False),
        ("mine.csv", "image,label\ncat/1.jpg,cat\n", False),
        ("scores.csv", GUESSES.replace("0.9", "nine"), False),
        ("empty.csv", "", False),
        ("instances.json", "{}", False),
    ],
)
def test_what_this_program_writes_is_no_annotation_of_others(name, content, is_own, put):
    source = put(**{"cat/1.jpg": None, "dog/2.jpg": None, "labels.csv": "image,label\n", name: content})
    assert kinds_like(source) == (["imagefolder"] if is_own else [])
    if not is_own:  # and what may be class folders is said to have a table, and to be perhaps those
        with pytest.raises(
            ConfigError, match=r"holds labels\.csv; import that: .*; or, if its folders are classes: --from imagefolder$"
        ):
            guess(source)


def test_one_word_in_two_unicode_forms_is_told(put, imported):
    one, two = (unicodedata.normalize(form, "caf\u00e9") for form in ("NFC", "NFD"))
    _, told = imported(put(**{f"{one}/1.jpg": None, f"{two}/2.jpg": None, "x/3.jpg": None}))
    assert f"the same word to most: {two!r} and {one!r}" in told
