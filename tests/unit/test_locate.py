"""Which photo a name means that was written elsewhere."""

import os
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aevlp.data import locate
from aevlp.data.locate import Listing, Meant, PhotoIndex, look_below

pytestmark = pytest.mark.usefixtures("never_waits")


def photos(*names):
    return PhotoIndex(Path("nowhere"), Listing(list(names)))


@pytest.mark.parametrize(
    ("name", "there", "differs"),
    [
        ("a/1.jpg", "a/1.jpg", ""),
        ("1.jpg", "a/1.jpg", locate.FEWER),
        ("/home/me/a/1.jpg", "a/1.jpg", locate.ABOVE),
        (r"C:\Users\me\a\1.jpg", "a/1.jpg", locate.ABOVE),
        (r"a\1.jpg", "a/1.jpg", locate.SLASHES),
        ("./a//1.jpg", "a/1.jpg", locate.ABOVE),
        ("../../a/1.jpg", "a/1.jpg", locate.ABOVE),
        ("A/1.JPG", "a/1.jpg", locate.CASE),
        ("STRASSE.jpg", "straße.jpg", locate.CASE),
        (unicodedata.normalize("NFD", "é.jpg"), "é.jpg", locate.UNICODE),
        ("é.jpg", unicodedata.normalize("NFD", "é.jpg"), locate.UNICODE),
        ("a/1", "a/1.jpg", locate.NO_SUFFIX),
        ("IMG.2.Final", "img.2.final.png", locate.NO_SUFFIX),
        ("My_photo_1.jpg", "My photo (1).jpg", locate.SIGNS),
        ("a/1.JPEG", "a/1.jpg", locate.SUFFIX),
        (r".\a\1.jpg", "a/1.jpg", locate.SLASHES),
    ],
)
def test_a_name_that_is_written_in_another_way_is_found_and_told(name, there, differs):
    assert photos(there, "b/2.jpg").find(name) == Meant((there,), differs)


@pytest.mark.parametrize(
    "name", ["b/1.jpg", "x/1.jpg", "1.png", "11.jpg", "a/1.jpg/", "", "/", "..", "a", "\0", "1.jpg\n", "x" * 5000]
)
def test_another_photo_is_not_taken_for_it(name):
    assert photos("a/1.jpg").find(name) == Meant(())


def test_on_a_disk_that_knows_no_case_the_name_is_that_of_the_file(tmp_path):
    (tmp_path / "img0.jpg").write_text("")
    os.link(tmp_path / "img0.jpg", tmp_path / "IMG0.JPG")  # which such a disk finds, and does not list
    index = PhotoIndex(tmp_path, Listing(["img0.jpg"]))
    assert index.find("IMG0.JPG") == Meant(("img0.jpg",), locate.CASE)
    assert index.find("./img0.jpg") == Meant(("img0.jpg",))
    (tmp_path / "IMG0.JPG").unlink()
    (tmp_path / "IMG0.JPG").write_text("another, behind a link")
    assert index.find("IMG0.JPG") == Meant(("IMG0.JPG",))


def test_the_nearest_way_of_writing_wins_and_equals_are_all_named():
    assert photos("a/1.jpg", "a/1.JPG").find("a/1.JPG").photos == ("a/1.JPG",)
    assert photos("a/1.jpg", "1.jpg").find("x/a/1.jpg").photos == ("a/1.jpg",)
    assert photos("a/1.jpg", "1.jpg").find("x/b/1.jpg").photos == ("1.jpg",)
    assert photos("a/1.jpg", "b/1.jpg").find("1.jpg").photos == ("a/1.jpg", "b/1.jpg")
    assert photos("1.jpg", "1.png").find("1").photos == ("1.jpg", "1.png")


@pytest.mark.parametrize("writes", [str.upper, lambda name: name[:-4], lambda name: unicodedata.normalize("NFD", name)])
def test_names_that_repeat_in_many_folders_are_not_compared_with_each_other(writes, monkeypatch):
    names = [f"film {folder}/\u00e9 {frame}.jpg" for folder in range(100) for frame in range(3)]
    index, compared = photos(*names), []
    monkeypatch.setattr(locate, "_ends", lambda name, end, ends=locate._ends: compared.append(name) or ends(name, end))
    assert [index.find(writes(name)).photos for name in names] == [(name,) for name in names]
    assert len(compared) < 10 * len(names)


def test_a_name_that_is_whole_but_for_its_writing_is_nearer_than_a_part_of_another():
    assert photos("a/1.jpg", "1.jpg").find("1.JPG") == Meant(("1.jpg",), locate.CASE)
    assert photos("x/A/1.jpg", "a/1.jpg").find("A/1.jpg") == Meant(("a/1.jpg",), locate.CASE)
    assert photos("a/1.jpg", "A/1.jpg", "b/a/1.jpg").find("a/1.JPG").photos == ("a/1.jpg", "A/1.jpg")


@given(
    st.lists(
        st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1).map(lambda word: f"{word}.jpg"), unique=True
    )
)
def test_every_photo_is_found_by_its_own_name(names):
    index = photos(*names)
    assert sorted(index) == sorted(names)
    assert all(index.find(name) == Meant((name,)) and name in index for name in names)


def test_what_is_no_photo_is_named_links_are_not_followed_and_nothing_waits(tmp_path):
    (tmp_path / "a").mkdir()
    for name in ("a/1.jpg", "note.txt", ".hidden.jpg"):
        (tmp_path / name).write_text("x")
    os.mkfifo(tmp_path / "x.jpg")
    os.mkfifo(tmp_path / "x.txt")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "self.jpg").symlink_to("self.jpg")
    (tmp_path / "link.jpg").symlink_to("a/1.jpg")
    listing = look_below(tmp_path)
    assert listing.files == ["link.jpg", "note.txt", "a/1.jpg"]
    assert listing.links == ["loop"]
    index = PhotoIndex(tmp_path)
    assert sorted(index) == ["a/1.jpg", "link.jpg"]
    assert index.problems["x.jpg"] == "is a named pipe, not a file"
    assert "symbolic links" in index.problems["self.jpg"]
    assert len(index.problems) == 2
    assert index.find("loop/a/1.jpg").photos == ("loop/a/1.jpg",)  # named to the letter, behind a link


def test_a_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    (tmp_path / "closed").mkdir()

    def scan(path, scandir=os.scandir):
        if str(path).rstrip("/").endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", scan)
    assert PhotoIndex(tmp_path).problems == {"closed/": "cannot be read: Permission denied"}
