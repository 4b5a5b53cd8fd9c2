"""VOC's XML: splits, renamed photos, and files that mean harm."""

import pytest
from exports import row


def voc(name, *words):
    return f"<annotation><filename>{name}</filename>{''.join(f'<object><name>{w}</name></object>' for w in words)}</annotation>"


def test_lists_of_voc_tell_the_split_and_a_renamed_photo_is_found(put, imported):
    source = put(**{
        "Annotations/1.xml": voc("old name.jpg", "cat", "dog"), "Annotations/2.xml": voc("2.png"), "JPEGImages/1.jpg": None,
        "JPEGImages/2.png": None, "JPEGImages/3.jpg": None, "Annotations/3.xml": "<annotation/>",
        "ImageSets/Main/val.txt": "1\n", "ImageSets/Main/trainval.txt": "1\n2\n", "ImageSets/Main/test.txt": "3\n",
        "ImageSets/Main/cat_train.txt": "1  1\n",
    })  # fmt: skip
    rows, told = imported(source)
    assert rows == [
        row("JPEGImages/1.jpg", labels=["cat", "dog"], split="val"), row("JPEGImages/2.png"),
        row("JPEGImages/3.jpg", split="test"),
    ]  # fmt: skip
    assert "2 files have no object, and their photos no labels in the table: 2.xml, 3.xml" in told


BOMB = """<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "bbbbbbbb"><!ENTITY c "&b;&b;&b;&b;">]><annotation>&c;</annotation>"""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (BOMB, "cannot be read as XML: it declares a document type, which VOC's files never do"),
        ('<!DOCTYPE a SYSTEM "file:///etc/passwd"><annotation/>', "cannot be read as XML: it declares a document type"),
        ("<annotation><object>", "cannot be read as XML: no element found: line 1"),
        ("<annotation><object/></annotation>", "object 1 has no name"),
        ("<kml/>", "is a 'kml', not an annotation of VOC"),
        ('<?xml version="1.0" encoding="nonsense"?><annotation/>', "cannot be read as XML: "),
    ],
)
def test_what_is_wrong_with_voc_is_told_with_its_file(content, message, put, refused):
    source = put(**{"1.xml": content, "1.jpg": None})
    assert refused(source).startswith(f"{source}/1.xml: {message}")


def test_a_document_type_is_refused_in_any_encoding(put, refused):
    source = put(**{"1.jpg": None})
    (source / "1.xml").write_bytes(BOMB.encode("utf-16"))
    assert "it declares a document type" in refused(source)


def test_lists_of_voc_that_disagree_are_refused(put, refused):
    source = put(
        **{"1.xml": voc("1.jpg", "cat"), "1.jpg": None, "ImageSets/Main/train.txt": "1\n", "ImageSets/Main/val.txt": "\n1\n"}
    )
    assert refused(source) == f"{source}/ImageSets/Main/val.txt:2: 1 is in split val, and in split train"
