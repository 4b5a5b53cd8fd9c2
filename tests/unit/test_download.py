"""`prepare --download`: whole or not at all, whatever the server, the archive or the disk does."""

import io
import os
import re
import shutil
import tarfile
import zipfile

import numpy as np
import pytest
from miniatures import COCO_CATEGORIES, make_coco, make_cub, make_voc
from own_server import OwnServer, behave, breaks_off, fails, ignores_range, packed

from aevlp import network
from aevlp.cli import main
from aevlp.data import archives, download

VOC = "VOCtrainval.tar"


@pytest.fixture
def server(monkeypatch):
    """On 127.0.0.1; no pause between tries."""
    monkeypatch.setattr(download, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(download, "_CHUNK", 1000)
    own = OwnServer()
    yield own
    own.close()


@pytest.fixture
def voc(server, monkeypatch, tmp_path):
    """VOC 2012 as one archive at the server; its only Archive."""
    release = make_voc(tmp_path / "release", train=4, val=3)
    (archive,) = server.offer(monkeypatch, "voc", (VOC, packed(release, VOC, tmp_path), ("VOCdevkit/VOC2012",)))
    return archive


@pytest.fixture
def prepared(tmp_path, capsys):
    """Run `prepare DATASET --download`; returns the exit code, the lines of stderr, and what is in the root, sorted."""
    root = tmp_path / "data"

    def run(name="voc"):
        code = main(["prepare", name, "--root", str(root), "--download"])
        err = capsys.readouterr().err
        assert "Traceback" not in err
        return code, err.splitlines(), sorted(os.listdir(root)) if root.exists() else []

    return run


MADE = [
    "VOCdevkit", "classes.txt", "formatted_train_images.npy", "formatted_train_labels.npy", "formatted_train_labels_obs.npy",
    "formatted_val_images.npy", "formatted_val_labels.npy", "formatted_val_labels_obs.npy", "quarantine.json",
]  # fmt: skip


def same_files(first, second):
    names = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(second) for path in second.rglob("*") if path.is_file())
    return all((first / name).read_bytes() == (second / name).read_bytes() for name in names)


@pytest.mark.parametrize("redirected", [False, True])
def test_from_nothing_to_the_arrays(redirected, server, voc, prepared, tmp_path):
    if redirected:

        def away(request, content):
            server.content["/elsewhere"] = content
            request.send_response(302)
            request.send_header("Location", f"{server.url}/elsewhere")
            request.send_header("Content-Length", "0")
            request.end_headers()

        server.turns = [away]
    assert prepared() == (0, [], MADE)
    assert same_files(tmp_path / "release/VOCdevkit", tmp_path / "data/VOCdevkit")
    count = len(server.asked)
    assert prepared() == (0, [], MADE)  # all is there
    assert len(server.asked) == count


def test_coco_and_cub_take_what_they_need_of_their_archives_and_leave_what_is_there(server, prepared, monkeypatch, tmp_path):
    coco = make_coco(tmp_path / "coco", train=3, val=3)
    described = []
    for folder, file in (("annotations", "annotations.zip"), ("val2014", "val2014.zip"), ("train2014", "train2014.zip")):
        (tmp_path / folder).mkdir()
        shutil.copytree(coco / folder, tmp_path / folder / folder)
        described.append([file, packed(tmp_path / folder, file, tmp_path), (folder,)])
    described[0][2] = ("annotations/instances_train2014.json", "annotations/instances_val2014.json")
    server.offer(monkeypatch, "coco", *described)
    other = tmp_path / "data/annotations/instances_train2017.json"
    other.parent.mkdir(parents=True)
    other.write_text("mine")
    assert prepared("coco")[:2] == (0, [])
    assert other.read_text() == "mine"
    assert np.load(tmp_path / "data/formatted_train_labels.npy").shape == (3, len(COCO_CATEGORIES))
    assert not list((tmp_path / "data").glob(".*"))
    assert not list((tmp_path / "data").glob("*.part*"))

    shutil.rmtree(tmp_path / "data")
    cub = make_cub(tmp_path / "cub", train=3, test=3)
    server.offer(monkeypatch, "cub", ("CUB.tgz", packed(cub, "CUB.tgz", tmp_path), ("attributes.txt", "CUB_200_2011")))
    (tmp_path / "data").mkdir()
    (tmp_path / "data/attributes.txt").write_bytes((cub / "attributes.txt").read_bytes())
    assert prepared("cub")[:2] == (0, [])


def test_a_broken_connection_is_continued_where_it_broke(server, voc, prepared):
    server.turns = [breaks_off, breaks_off, breaks_off]
    assert prepared() == (0, [], MADE)
    begins = [asked for _, asked, _ in server.asked]
    assert begins[0] is None
    assert [int(asked[6:-1]) for asked in begins[1:]] == sorted({int(asked[6:-1]) for asked in begins[1:]})
    assert [guard for _, _, guard in server.asked] == [None, '"one"', '"one"', '"one"']


def nothing(request, content):
    behave(request, content, send=0)


def test_a_server_that_brings_nothing_more_ends_it_and_the_same_command_continues(server, voc, prepared):
    server.turns = [breaks_off, *[nothing] * download.TRIES]
    code, (line,), there = prepared()
    third = voc.size // 3
    assert (code, there) == (1, [f"{VOC}.part", f"{VOC}.part.etag"])
    assert line.startswith(f"error: {voc.url}: broke off")
    assert f"{third:,} of {voc.size:,} bytes are there; the same command continues; or fetch it by hand to " in line
    assert prepared() == (0, [], MADE)
    assert server.asked[-1][1] == f"bytes={third}-"


def test_a_version_that_changed_meanwhile_begins_again(server, voc, prepared):
    def older(request, content):
        behave(request, bytes(len(content)), send=5000, tag='"old"')

    server.turns = [older]
    assert prepared() == (0, [], MADE)
    assert [guard for _, _, guard in server.asked] == [None, '"old"']


def test_a_server_that_ignores_range_begins_again(server, voc, prepared):
    server.turns = [breaks_off, ignores_range]
    assert prepared() == (0, [], MADE)


def test_without_a_version_a_mixture_is_noticed_by_its_checksum_and_removed(server, voc, prepared):
    def other(request, content):
        behave(request, bytes(len(content)), send=5000, tag=None)

    server.turns = [other]
    code, (line,), there = prepared()
    assert (code, there) == (1, [])
    assert f"{VOC}.part: is not the official archive, or was damaged: MD5 " in line
    assert "instead of " + voc.md5 in line
    assert "it is removed; try again" in line
    assert prepared() == (0, [], MADE)


@pytest.mark.parametrize(
    ("lie", "told"),  # None: it does no harm
    [
        ({"Content-Length": 17}, "has another file there, of 17 bytes instead of "),
        ({"Content-Length": 10**15}, "has another file there, of 1,000,000,000,000,000 bytes instead of "),
        ({"Content-Length": "9" * 5000}, None),
        ({"Content-Length": None, "Transfer-Encoding": "chunked"}, "broke off"),  # and then it sends no chunks
        ({"Content-Length": "many"}, None),
        ({"Content-Length": None, "ETag": None}, None),
    ],
)
def test_lies_about_the_length(lie, told, server, voc, prepared):
    server.turns = [lambda request, content: behave(request, content, headers=lie.items())] * download.TRIES
    code, err, there = prepared()
    if told is None:
        assert (code, err, there) == (0, [], MADE)
    else:
        assert (code, len(err), there) == (1, 1, [])
        assert told in err[0]


def test_more_bytes_than_the_file_has(server, voc, prepared):
    server.turns = [lambda request, content: behave(request, content * 2, headers={"Content-Length": None}.items())]
    code, (line,), there = prepared()
    assert (code, there) == (1, [])
    assert f"the server sends more than the {voc.size:,} bytes of this file" in line


@pytest.mark.parametrize("said", ["bytes 7-9/{size}", "bytes 0-9/77", "none of this", "bytes 0-9/{size}", "bytes 0-9/*"])
def test_a_range_that_was_not_asked_for_is_not_taken_for_the_rest(said, server, voc, prepared):
    def lies(request, content):
        behave(request, content, headers={"Content-Range": said.format(size=len(content))}.items())

    server.turns = [breaks_off, lies]
    code, err, there = prepared()
    if "77" in said:
        assert (code, there) == (1, [f"{VOC}.part", f"{VOC}.part.etag"])
        assert "of 77 bytes" in err[0]
    elif said.startswith("bytes 0"):  # it calls the rest the beginning: what that makes is no archive
        assert (code, there) == (1, [])
        assert "MD5" in err[0]
        assert prepared() == (0, [], MADE)
    else:
        assert (code, err, there) == (0, [], MADE)


@pytest.mark.parametrize(("code", "asked"), [(404, 1), (403, 1), (410, 1), (500, download.TRIES), (503, download.TRIES)])
def test_errors_of_the_server_are_one_line_that_says_how_to_do_without_it(code, asked, server, voc, prepared, tmp_path):
    server.turns = [fails(code)] * download.TRIES
    result, (line,), there = prepared()
    assert (result, there, len(server.asked)) == (1, [], asked)
    assert line.startswith(f"error: {voc.url}: the server answers {code} ")
    assert f"fetch it by hand to {tmp_path}/data/{VOC}, and the same command goes on with it" in line


def test_a_server_that_fails_once_is_asked_again(server, voc, prepared):
    server.turns = [fails(503), breaks_off, fails(500), fails(502)]
    assert prepared() == (0, [], MADE)


@pytest.mark.parametrize("target", ["file:///etc/passwd", "/{path}", "ftp:x", "http://[", "gopher://x/"])
def test_redirects_that_lead_nowhere(target, server, voc, prepared):
    def away(request, content):
        request.send_response(301)
        request.send_header("Location", target.format(path=VOC))
        request.send_header("Content-Length", "0")
        request.end_headers()

    server.turns = [away] * 50
    code, err, there = prepared()
    assert (code, len(err), there) == (1, 1, [])


def test_a_server_that_is_not_there(monkeypatch, voc, server, prepared):
    monkeypatch.setattr(network, "TIMEOUT_SECONDS", 1.0)
    server.close()
    code, (line,), there = prepared()
    assert (code, there) == (1, [])
    assert f"{VOC} is not on this machine and {voc.url} cannot be reached" in line
    assert "fetch it by hand" in line


def test_silence_counts_as_a_break(monkeypatch, server, voc, prepared):
    import threading

    monkeypatch.setattr(download, "TIMEOUT_SECONDS", 0.2)
    over = threading.Event()

    def silent(request, content):
        behave(request, content, send=2000)
        request.wfile.flush()
        over.wait(20)

    server.turns = [silent]
    assert prepared() == (0, [], MADE)
    over.set()
    assert server.asked[1][1] == "bytes=2000-"


def test_an_archive_fetched_by_hand_is_used_and_stays(server, voc, prepared, tmp_path):
    content = server.content[f"/{VOC}"]
    (tmp_path / "data").mkdir()
    given = tmp_path / "data" / VOC
    for wrong, told in ((content[:-1], f"has {voc.size - 1:,} bytes"), (content[:-1] + b"x", "is not the official archive")):
        given.write_bytes(wrong)
        code, (line,), there = prepared()
        assert (code, there) == (1, [VOC])
        assert told in line
        assert "move it away, and it is fetched" in line
        assert given.read_bytes() == wrong
    given.write_bytes(content)
    assert prepared() == (0, [], sorted([VOC, *MADE]))
    assert server.asked == []


@pytest.mark.parametrize("way", ["killed after unpacking", "by hand"])
def test_what_was_fetched_and_is_not_needed_any_more_is_removed(way, server, voc, prepared, tmp_path):
    data = tmp_path / "data"
    if way == "by hand":
        data.mkdir()
        (data / VOC).write_bytes(server.content[f"/{VOC}"])
    else:
        assert prepared()[0] == 0
    for name in (f"{VOC}.part", f"{VOC}.part.etag"):
        (data / name).write_bytes(b"abc")
    assert prepared() == (0, [], sorted([VOC, *MADE] if way == "by hand" else MADE))


def test_what_cannot_be_removed_and_is_not_needed_stops_nothing(server, voc, prepared, tmp_path):
    assert prepared()[0] == 0
    (tmp_path / "data" / f"{VOC}.part").mkdir()  # cannot be opened, as one of another user's
    assert prepared()[0] == 0


def test_what_another_process_fetches_is_not_removed(server, voc, prepared, tmp_path):
    from aevlp.system import take_lock

    assert prepared()[0] == 0
    with (tmp_path / "data" / f"{VOC}.part").open("ab") as file:
        assert take_lock(file)
        assert prepared() == (0, [], sorted([f"{VOC}.part", *MADE]))


def test_too_little_room_is_told_before_anything_is_fetched(server, voc, prepared, monkeypatch):
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(0, 0, voc.size + 10**6 - 1))
    code, (line,), there = prepared()
    assert (code, there, server.asked) == (1, [], [])
    assert "GB are free, and" in line
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(0, 0, voc.size + 10**6))
    assert prepared()[0] == 0


@pytest.mark.parametrize("there_already", [b"", b"abc"])
def test_two_processes_do_not_write_into_one_file(there_already, server, voc, prepared, tmp_path):
    from aevlp.system import take_lock

    (tmp_path / "data").mkdir()
    with (tmp_path / "data" / f"{VOC}.part").open("ab") as file:
        file.write(there_already)
        file.flush()
        assert take_lock(file)
        code, (line,), there = prepared()
    assert (code, there) == (1, [f"{VOC}.part"])
    assert "another process fetches it right now" in line


@pytest.mark.parametrize("name", ["../out", "VOCdevkit/VOC2012/../../../out", "/tmp/out", "C:\\out", "..\\out", "~/out"])
@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_an_archive_that_would_unpack_elsewhere_is_not_used_at_all(kind, name, server, prepared, monkeypatch, tmp_path):
    release, file = make_voc(tmp_path / "release", train=2, val=2), f"VOC.{kind}"
    packed(release, file, tmp_path)
    if kind == "zip":
        with zipfile.ZipFile(tmp_path / file, "a") as archive:
            archive.writestr(name, "bad")
    else:
        with tarfile.open(tmp_path / file, "a") as archive:
            archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    server.offer(monkeypatch, "voc", (file, (tmp_path / file).read_bytes(), ("VOCdevkit/VOC2012",)))
    before = sorted(tmp_path.iterdir())
    code, (line,), there = prepared()
    assert (code, there) == (1, [f"{file}.part", f"{file}.part.etag"])
    assert "would be unpacked outside of the folder; nothing of it is used" in line
    assert sorted(tmp_path.iterdir()) == sorted([*before, tmp_path / "data"])


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_are_not_made(kind, server, prepared, monkeypatch, tmp_path):
    release = make_voc(tmp_path / "release", train=2, val=2)
    packed(release, "VOC.tar", tmp_path)
    with tarfile.open(tmp_path / "VOC.tar", "a") as archive:
        member = tarfile.TarInfo("VOCdevkit/VOC2012/JPEGImages/x.jpg")
        member.type, member.linkname = kind, "../../../../secret"
        archive.addfile(member)
    server.offer(monkeypatch, "voc", ("VOC.tar", (tmp_path / "VOC.tar").read_bytes(), ("VOCdevkit/VOC2012",)))
    code, (line,), there = prepared()
    assert (code, there) == (1, ["VOC.tar.part", "VOC.tar.part.etag"])
    assert "which is a link or a device and no file" in line


@pytest.mark.parametrize("content", [b"<html>not found</html>", b"PK\x05\x06" + bytes(18), b"PK\x03\x04 no more", b""])
def test_what_is_no_archive_or_has_other_files(content, server, prepared, monkeypatch):
    server.offer(monkeypatch, "voc", ("VOC.tar", content, ("VOCdevkit/VOC2012",)))
    code, (line,), _ = prepared()
    assert code == 1
    assert "cannot be unpacked" in line or "there is no VOCdevkit/VOC2012 in it" in line


def test_nothing_half_unpacked_is_ever_taken_for_whole(server, voc, prepared, monkeypatch, tmp_path):
    from aevlp.data import unpack

    copy, calls = shutil.copyfileobj, []

    def full(source, file, length):
        calls.append(1)
        if len(calls) == 9:
            raise OSError(28, "No space left on device")
        copy(source, file, length)

    monkeypatch.setattr(unpack.shutil, "copyfileobj", full)
    code, (line,), there = prepared()
    assert (code, there) == (1, [f"{VOC}.part", f"{VOC}.part.etag"])
    assert "cannot be written: No space left on device" in line
    asked = len(server.asked)
    assert prepared() == (0, [], MADE)
    assert len(server.asked) == asked  # the archive was whole


@pytest.mark.parametrize(
    ("name", "told"),
    [("nuswide", "https://lms.comp.nus.edu.sg/"), ("folder", "photos of your own"), ("digits", "drawn"), ("arrays", "your own")],
)
def test_what_cannot_be_fetched_says_what_to_do_by_hand(name, told, prepared):
    code, err, there = prepared(name)
    assert (code, there) == (2, [])
    assert told in "".join(err)
    if name == "nuswide":
        for word in ("Flickr.zip", "formatted_val_labels.npy", "https://caltech.box.com/", "prepare nuswide --root"):
            assert word in "".join(err)


def test_the_official_archives_are_named_by_their_files():
    assert {name: [archive.name for archive in known] for name, known in archives.ARCHIVES.items()} == {
        "voc": ["VOCtrainval_11-May-2012.tar"],
        "coco": ["annotations_trainval2014.zip", "val2014.zip", "train2014.zip"],
        "cub": ["CUB_200_2011.tgz"],
    }
    for archive in (archive for known in archives.ARCHIVES.values() for archive in known):
        assert len(bytes.fromhex(archive.md5)) == 16
        assert archive.places


def test_progress_is_told_off_a_terminal(server, voc, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("aevlp.progress.LINE_SECONDS", 0.0)
    assert main(["prepare", "voc", "--root", str(tmp_path / "data"), "--download"]) == 0
    out = capsys.readouterr().out
    assert f"fetching {VOC}: 0 of 0 MB, " in out
    assert f"unpacking {VOC}: " in out
    assert re.search(r"images: \d+ of \d+, about 0:0", out)
    assert f"archive      {VOC}: " in out
