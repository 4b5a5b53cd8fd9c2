"""Photos in folders named after their class."""

import unicodedata

from exports import row


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


def test_one_word_in_two_unicode_forms_is_told(put, imported):
    one, two = (unicodedata.normalize(form, "caf\u00e9") for form in ("NFC", "NFD"))
    _, told = imported(put(**{f"{one}/1.jpg": None, f"{two}/2.jpg": None, "x/3.jpg": None}))
    assert f"the same word to most: {two!r} and {one!r}" in told
