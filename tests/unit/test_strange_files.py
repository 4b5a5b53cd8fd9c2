"""What is no regular file is named in one line wherever a file of a stranger is read, and nothing ever waits for it."""

import contextlib
import os
import socket

import pytest
import torch
from miniatures import MAKE, make_coco, make_cub, make_folder, make_voc

from aevlp.cli import main
from aevlp.config import registry
from aevlp.config.errors import AevlpError
from aevlp.config.loading import read_mapping
from aevlp.data.formats.arrays import read_array, read_class_names
from aevlp.data.formats.coco import read_official as read_coco
from aevlp.data.formats.cub import attribute_names
from aevlp.data.formats.cub import read_official as read_cub
from aevlp.data.formats.voc import read_official as read_voc
from aevlp.data.images import ImageFiles
from aevlp.data.prepare import prepare
from aevlp.data.quarantine import FILE_NAME, read_quarantine
from aevlp.data.table import read_table
from aevlp.input import open_file
from aevlp.vision_language.label_graph import LabelGraphConfig, residual

KINDS = ("named pipe", "socket", "device", "folder", "loop", "link to nothing")


pytestmark = pytest.mark.usefixtures("never_waits")


def put(path, kind):
    """Something else than a regular file at `path`."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    if kind == "named pipe":
        os.mkfifo(path)
    elif kind == "socket":
        where = os.getcwd()
        os.chdir(path.parent)  # the name of a socket has 100 characters at most
        socket.socket(socket.AF_UNIX).bind(path.name)
        os.chdir(where)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to({"device": "/dev/zero", "loop": path.name, "link to nothing": "nothing"}[kind])
    return path


READERS = {
    "picture": lambda path: ImageFiles(path.parent, [path.name])[0],
    "identity": lambda path: ImageFiles(path.parent, [path.name]).identity(0),
    "table": read_table,
    "class names": read_class_names,
    "array": read_array,
    "attributes": attribute_names,
    "relation": lambda path: residual(torch.eye(3), LabelGraphConfig(relation=str(path)), 0),
    "plugin": registry.load_plugin,
    "configuration": read_mapping,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reader", READERS)
def test_it_is_named_in_one_line(reader, kind, tmp_path):
    path = put(tmp_path / "strange.jpg", kind)
    with pytest.raises(AevlpError) as caught:
        READERS[reader](path)
    first = str(caught.value).splitlines()[0]
    assert str(path) in first
    assert (kind in first) or (kind in ("loop", "link to nothing"))
    assert len(str(caught.value).splitlines()) == 1 or "Expected:" in first  # the layout of a folder of photos follows


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_is_looked_for_is_not_passed_over(kind, tmp_path):
    put(tmp_path / FILE_NAME, kind)
    with pytest.raises(AevlpError, match=FILE_NAME):
        read_quarantine(tmp_path)
    root = make_folder(tmp_path / "photos")
    put(root / "classes.txt", kind)
    with pytest.raises(AevlpError, match=r"classes\.txt"):
        registry.build("datasets", registry.get("datasets", "folder").config(name="folder", root=str(root)))


OFFICIAL = {
    "voc": (make_voc, read_voc, "VOCdevkit/VOC2012/ImageSets/Main/boat_train.txt"),
    "coco": (make_coco, read_coco, "annotations/instances_val2014.json"),
    "cub": (make_cub, read_cub, "CUB_200_2011/attributes/image_attribute_labels.txt"),
}


@pytest.mark.parametrize("name", OFFICIAL)
def test_annotations_are_regular_files(name, tmp_path):
    make, read, file = OFFICIAL[name]
    root = make(tmp_path)
    path = put(root / file, "named pipe")
    with pytest.raises(AevlpError, match=rf"{path}: .*named pipe"):
        read(root)


@pytest.mark.parametrize("kind", KINDS)
def test_prepare_lists_a_picture_that_is_none_and_a_run_stops_before_it_begins(kind, tmp_path, capsys):
    root = make_folder(tmp_path)
    prepare("folder", root)
    rows = read_table(root / "labels.csv").rows
    path = put(root / rows[3].image, kind)
    capsys.readouterr()
    assert main(["prepare", "folder", "--root", str(root)]) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith(f"error: {path}: ")
    assert captured.err.count("\n") == 1
    assert list(read_quarantine(root)) == [rows[3].image]
    (root / FILE_NAME).unlink()
    with pytest.raises(AevlpError, match=rf"{path}: .* 1 of \d+ \w+ images are absent or cannot be read"):
        registry.build("datasets", registry.get("datasets", "folder").config(name="folder", root=str(root)))


def test_what_takes_the_place_of_a_file_in_the_last_moment_is_not_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr("aevlp.input.require_file", lambda path: None)
    with pytest.raises(OSError, match="is a named pipe, not a file"):
        open_file(put(tmp_path / "a.jpg", "named pipe"))
    assert not [name for name in os.listdir("/proc/self/fd") if os.path.realpath(f"/proc/self/fd/{name}").endswith("a.jpg")]


@pytest.mark.parametrize("name", MAKE)
def test_a_dataset_in_a_folder_without_rights_is_named_in_one_line(name, tmp_path, monkeypatch, capsys):
    root = MAKE[name](tmp_path / "data")

    def closed(real):
        def refuse(path, *words, **named):
            if str(path).startswith(f"{root}/"):
                raise PermissionError(13, "Permission denied", str(path))
            return real(path, *words, **named)

        return refuse

    for function in ("stat", "lstat", "scandir"):
        monkeypatch.setattr(os, function, closed(getattr(os, function)))
    assert main(["prepare", name, "--root", str(root)]) == 1
    assert capsys.readouterr().err.startswith(f"error: {root}")
    assert main(["--exp", f"{name}_an", "--set", f"dataset.root={root}"]) == 1
    assert capsys.readouterr().err.startswith(f"error: {root}")


def test_an_image_in_a_folder_without_rights_is_named(tmp_path, monkeypatch):
    def closed(path, *_, **__):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("aevlp.input.os.stat", closed)
    images = ImageFiles(tmp_path, ["closed/a.jpg"])
    expected = f"{tmp_path}/closed/a.jpg: listed in row 0, cannot be read as an image: Permission denied"
    assert images.absence(0) == expected
    for read in (images.__getitem__, images.identity):
        with pytest.raises(AevlpError) as caught:
            read(0)
        assert str(caught.value) == expected
