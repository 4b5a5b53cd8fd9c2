"""Folders of photos as people have them: what `prepare folder` says of each, and what a run knows from it."""

from __future__ import annotations

import os
import shutil
import sys
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aevlp.cli import main
from aevlp.config import registry
from aevlp.config.errors import DataError
from aevlp.data import decoding
from aevlp.data.dataset import SPMLData
from aevlp.data.quarantine import most_bad, read_quarantine
from aevlp.folders import runs_root

CLASSES = ("bus", "dog", "person", "train", "zebra")
LABEL = [CLASSES[i // 6] for i in range(30)]
FULL = [[LABEL[i], *[name for name in CLASSES if name != LABEL[i]][: i % 3]] for i in range(30)]
FIFTH = "the 6 validation photos are judged by their known labels"
Line = Callable[[str, int], str]


def picture(i: int) -> Image.Image:
    """48 wide and 32 high, of no single brightness and without symmetry."""
    numbers = np.random.default_rng(i).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    return Image.fromarray(numbers).resize((48, 32), Image.Resampling.BICUBIC)


def photos(root: Path, name: Callable[[int], str] = "{:02d}.jpg".format) -> list[str]:
    """Thirty photos, six a class; their names."""
    for i in range(30):
        path = root / name(i)
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(i).save(path, quality=95, format="JPEG")
    return [name(i) for i in range(30)]


def known(name: str, i: int) -> str:
    """The line of a photo with one known label."""
    return f"{name},{LABEL[i]}"


def table(line: Line = known, header: str = "image,label", write: Callable[[str], bytes] = str.encode) -> Callable[[Path], None]:
    """Makes the photos and a table of them."""

    def make(root: Path) -> None:
        write_table(root, photos(root), line, header, write)

    return make


def write_table(
    root: Path, names: Sequence[str], line: Line = known, header: str = "image,label", write: Callable[[str], bytes] = str.encode
) -> None:
    """Write labels.csv."""
    lines = [header, *(line(name, i) for i, name in enumerate(names))]
    (root / "labels.csv").write_bytes(write("".join(f"{text}\n" for text in lines if text)))


def load(root: Path, **settings: object) -> SPMLData:
    """The dataset."""
    data: SPMLData = registry.build(
        "datasets", registry.get("datasets", "folder").config(name="folder", root=str(root), **settings)
    )
    return data


def names(data: SPMLData) -> list[str]:
    """Names of the photos of training and validation."""
    return sorted(split.images.name(i) for split in (data.train, data.val) for i in range(len(split)))


def counts(data: SPMLData) -> list[int]:
    """Known positives by class, in training and validation."""
    total: list[int] = sum((split.observed > 0).sum(axis=0) for split in (data.train, data.val)).tolist()
    return total


def is_plain(root: Path, data: SPMLData) -> None:
    """Thirty photos, six known labels a class, the same photos in each split."""
    assert data.class_names == list(CLASSES)
    assert counts(data) == [6] * 5
    assert (len(data.train), len(data.val), data.test) == (24, 6, None)
    plain = root.parent / "plain"
    table()(plain)
    for split, other in ((data.train, load(plain).train), (data.val, load(plain).val)):
        assert [int(Path(split.images.name(i)).stem) for i in range(len(split))] == [
            int(Path(other.images.name(i)).stem) for i in range(len(other))
        ]
        np.testing.assert_array_equal(split.observed, other.observed)


def looks_plain(root: Path, data: SPMLData) -> None:
    """As plain, and each photo shows what it was made of, up to what its kind of file can hold."""
    is_plain(root, data)
    for split in (data.train, data.val):
        for i in range(len(split)):
            shown = Image.fromarray(split.images[i].permute(1, 2, 0).numpy())
            made = picture(int(Path(split.images.name(i)).stem))
            assert shown.size == made.size
            brightness = [np.asarray(image.convert("L"), dtype=float) for image in (shown, made)]
            assert np.abs(brightness[0] - brightness[1]).mean() < 12  # of 255; a paletted one has 10, all others less than 2


def has_full_labels(root: Path, data: SPMLData) -> None:
    """One observed label a row of those that are told, which are all."""
    for split in (data.train, data.val):
        assert (split.observed > 0).sum(axis=1).tolist() == [1] * len(split)
        assert split.targets is not None
        assert (split.targets >= (split.observed > 0)).all()
        assert split.targets.sum() == sum(len(FULL[int(Path(split.images.name(i)).stem)]) for i in range(len(split)))


def observes(*by_class: int) -> Callable[[Path, SPMLData], None]:
    """So many known positives a class."""

    def check(root: Path, data: SPMLData) -> None:
        assert data.class_names == sorted(data.class_names)
        assert not any("|" in name for name in data.class_names)
        assert counts(data) == list(by_class)

    return check


def are(*some: int) -> Callable[[Path, SPMLData], None]:
    """So many photos of training, validation and test."""

    def check(root: Path, data: SPMLData) -> None:
        assert [len(split) if split is not None else 0 for split in (data.train, data.val, data.test)] == list(some)

    return check


def phone(root: Path) -> None:
    """Photos that lie on their side, with a note of the way up."""
    root.mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    for i in range(30):
        picture(i).rotate(90, expand=True).save(root / f"{i:02d}.jpg", exif=exif, quality=95)
    write_table(root, [f"{i:02d}.jpg" for i in range(30)])


def modes(root: Path) -> None:
    """Gray, transparent, paletted and printed ones, and gray of 12, 16 and 32 bits and of floats."""
    root.mkdir()
    saved = []
    for i in range(30):
        gray = np.asarray(picture(i).convert("L"))
        deep = {
            0: gray.astype(np.uint16) * 257, 1: gray.astype(np.uint16) * 16, 2: gray.astype(np.int32) * 257,
            3: gray.astype(np.float32) / 255,
        }  # fmt: skip
        mode, suffix = (("L", "jpg"), ("RGBA", "png"), ("P", "gif"), ("CMYK", "jpg"), ("LA", "png"))[i % 5]
        image = Image.fromarray(deep[i // 2 % 4]) if i % 2 else picture(i).convert(mode)
        saved.append(f"{i:02d}.{'tif' if i % 2 else suffix}")
        image.save(root / saved[-1])
    write_table(root, saved)


def bad_files(root: Path) -> None:
    """One photo is none, one is cut short."""
    table()(root)
    (root / "03.jpg").write_bytes(b"nonsense")
    (root / "04.jpg").write_bytes((root / "04.jpg").read_bytes()[:500])


def may_be_left_out_and_repaired(root: Path) -> None:
    """The other 28 train; once repaired, the two are read again, without another look at all."""
    assert list(read_quarantine(root)) == ["03.jpg", "04.jpg"]
    sets = [
        f"dataset.root={root}", "dataset.on_bad_image=quarantine", "dataset.image_size=16", "model=small_cnn", "trainer.epochs=1",
        "tracking.mode=off",
    ]  # fmt: skip
    assert main(["--exp", "folder_an", "--set", *sets]) == 0
    assert len(names(load(root, on_bad_image="quarantine"))) == 28
    for i in (3, 4):
        picture(i).save(root / f"{i:02d}.jpg", quality=95)
    is_plain(root, load(root))


def same_picture(root: Path) -> None:
    """Two names, two labels, one file; the published division parts them."""
    write_table(root, photos(root))
    shutil.copy(root / "00.jpg", root / "29.jpg")


def import_first(root: Path) -> None:
    """The table is made of folders by the command that was said, with the classes and splits that they have."""
    assert main(["import", str(root)]) == 0
    assert main(["prepare", "folder", "--root", str(root)]) == 0
    data = load(root)
    assert (data.class_names, counts(data)) == (list(CLASSES), [6] * 5)
    if root.name == "class_folders_split":
        are(24, 6, 0)(root, data)
        assert all(data.val.images.name(i).startswith("val/") for i in range(6))


def leaves_no_run(root: Path) -> None:
    """Training ends with the same error, and leaves nothing behind."""
    assert main(["--exp", "folder_an", "--set", f"dataset.root={root}", "tracking.mode=off"]) == 1
    assert not runs_root().exists() or not list(runs_root().iterdir())


def heic(root: Path) -> None:
    """One photo is called HEIC, and is none."""
    table()(root)
    (root / "x.heic").write_bytes(bytes.fromhex("000000186674797068656963000000006d") + b"mif1heic" + b"\0" * 2000)


def two_photos(root: Path) -> None:
    """Two photos."""
    photos(root)
    (root / "labels.csv").write_text("image,label\n00.jpg,train\n29.jpg,person\n")


def called(name: str) -> Callable[[Path], None]:
    """Makes a table that is called otherwise."""

    def make(root: Path) -> None:
        table()(root)
        (root / "labels.csv").rename(root / name)

    return make


def import_again(root: Path) -> None:
    """What the error says takes the photos that are meant."""
    assert main(["import", f"{root}/labels.csv", "--root", str(root), "--replace"]) == 0
    is_plain(root, load(root))


@dataclass(frozen=True)
class Case:
    """A folder, and what is right."""

    make: Callable[[Path], object]
    says: tuple[str, ...] = ()
    """What `prepare folder` says."""
    has: Callable[[Path, SPMLData], None] = lambda root, data: None
    """Looks at the dataset."""
    code: int = 0
    """Of `prepare folder`; where that is 1, the last of what it says is in its one line of error."""
    then: Callable[[Path], None] = lambda root: None
    """What comes after."""


CASES = {
    "plain": Case(table(), ("30 of 30 can be read", "no row has split test", FIFTH, "24 training photos"), is_plain),
    "class_folders": Case(
        lambda root: photos(root, lambda i: f"{LABEL[i]}/{i:02d}.jpg"), ("python run.py import ",), code=1, then=import_first
    ),
    "class_folders_split": Case(
        lambda root: photos(root, lambda i: f"{('train', 'val')[i % 5 == 0]}/{LABEL[i]}/{i:02d}.jpg"),
        ("python run.py import ",), code=1, then=import_first,
    ),
    "several_known": Case(
        table(lambda name, i: f"{name},{'|'.join(FULL[i][:2])}"), ("20 of 30 photos have several known labels",),
        observes(22, 10, 6, 6, 6),
    ),
    "two_rows": Case(
        table(lambda name, i: f"{name},{LABEL[i]}" + (f"\n{name},car" if i % 3 == 0 else "")),
        ("10 further lines of photos", "10 of 30 photos have several known labels"), observes(6, 10, 6, 6, 6, 6),
    ),
    "some_full": Case(
        table(lambda name, i: f"{name},{LABEL[i]},{'|'.join([LABEL[i], 'cup']) if i % 3 == 0 else ''}", "image,label,labels"),
        ("10 of 30 photos tell all their labels", "no training photo has the known label cup"), observes(6, 3, 6, 6, 6, 6),
    ),
    "only_full": Case(
        table(lambda name, i: f"{name},{'|'.join(FULL[i])}", "image,labels"), ("5 of 5              yes",), has_full_labels
    ),
    "empty_label": Case(
        table(lambda name, i: f"{name},,{'|'.join(FULL[i])}", "image,label,labels"), ("5 of 5              yes",), has_full_labels
    ),
    "unlabelled": Case(
        table(lambda name, i: f"{name},{LABEL[i] if i % 5 else ''}"),
        ("6 of 30 photos have no label: they get pseudo-labels in training",), observes(4, 5, 5, 5, 5),
    ),
    "absent": Case(
        table(lambda name, i: f"{name},{LABEL[i]},{'zebra' if LABEL[i] != 'zebra' else 'bus'}", "image,label,absent"),
        ("30 known absences",), observes(6, 6, 6, 6, 6),
    ),
    "case": Case(
        table(lambda name, i: f"{name},{LABEL[i] if i % 2 else LABEL[i].title()}"), ("'Bus' and 'bus', 'Dog' and 'dog'",)
    ),
    "header_case": Case(table(header="Image,Label"), has=is_plain),
    "other_header": Case(table(header="filename,class"), ("--from csv --root",), code=1),
    "no_header": Case(
        table(header=""), ("such as image,label; it is '00.jpg,bus'. That is about a photo: put the line image,label above it",),
        code=1,
    ),
    "no_header_semicolons": Case(
        table(header="", write=lambda text: text.replace(",", ";").encode()), ("put the line image;label above it",), code=1
    ),
    "no_header_three": Case(
        table(lambda name, i: f"{known(name, i)},train", header=""), ("about a photo: put such a line above it",), code=1
    ),
    "excel": Case(table(write=lambda text: f"\ufeff{text}".replace(",", ";").replace("\n", "\r\n").encode()), has=is_plain),
    "windows": Case(table(lambda name, i: f".\\{known(name, i)}"), ("line 2, .\\00.jpg is 00.jpg (backslashes)",), is_plain),
    "windows_elsewhere": Case(
        table(lambda name, i: f"C:\\photos\\{known(name, i)}"),
        ("leads out of the folder; names must be relative to it; to look for all photos below it: python run.py import ",),
        code=1, then=import_again,
    ),
    "elsewhere": Case(
        table(lambda name, i: f"photos/{known(name, i)}"),
        ("of the 30 photos that it names none is there: line 2, photos/00.jpg may be 00.jpg (folders that are not below the",),
        code=1, then=import_again,
    ),
    "jpeg": Case(
        table(lambda name, i: f"{name.replace('jpg', 'jpeg')},{LABEL[i]}"),
        ("none is there: line 2, 00.jpeg may be 00.jpg (another suffix); ",), code=1, then=import_again,
    ),
    "converted": Case(
        table(lambda name, i: f"{name.replace('jpg', 'HEIC') if i == 7 else name},{LABEL[i]}"),
        ("07.HEIC: listed in {root}/labels.csv:9, but there is no such file; 07.jpg is meant (the name has another suffix)",),
        code=1,
    ),
    "table_in_capitals": Case(
        called("Labels.CSV"), ("{root}/labels.csv: no such file, but Labels.CSV; rename it labels.csv",), code=1
    ),
    "table_with_a_hidden_suffix": Case(called("labels.csv.txt"), ("but labels.csv.txt; rename it labels.csv",), code=1),
    "one_of_all": Case(table(header="image,labels"), ("if more may be, call that column `label`",)),
    "extra_column": Case(
        table(lambda name, i: f"{known(name, i)},seen twice", "image,label,note"), ("columns that are not read: 'note'",),
        is_plain,
    ),
    "crlf": Case(table(write=lambda text: text.replace("\n", "\r\n").encode()), has=is_plain),
    "semicolon": Case(table(write=lambda text: text.replace(",", ";").encode()), has=is_plain),
    "utf16": Case(table(write=lambda text: text.encode("utf-16")), ("save it as CSV UTF-8",), code=1),
    "latin1": Case(
        table(lambda name, i: f"{name},caf\xe9 {LABEL[i]}", write=lambda text: text.encode("latin-1")), ("save it as CSV UTF-8",),
        code=1,
    ),
    "comma_labels": Case(
        table(lambda name, i: f'{name},{LABEL[i]},"{",".join(FULL[i])}"', "image,label,labels"), ("separate them by |",), code=1
    ),
    "upper_suffix": Case(
        lambda root: write_table(root, [name.lower() for name in photos(root, "{:02d}.JPG".format)]),
        ("30 photos are called otherwise than the table says: line 2, 00.jpg is 00.JPG (another case)",), is_plain,
    ),
    "one_class": Case(table(lambda name, i: f"{name},thing"), ("one class, 'thing': there is nothing to tell it apart from",)),
    "test_known_only": Case(
        table(lambda name, i: f"{known(name, i)},{('train', 'train', 'train', 'val', 'test')[i % 5]}", "image,label,split"),
        ("the 6 test photos are judged by their known labels",), are(18, 6, 6),
    ),
    "not_in_table": Case(
        lambda root: write_table(root, photos(root)[:20]),
        ("10 photos are left out, as the table does not name them: 20.jpg, 21.jpg",), are(16, 4, 0),
    ),
    "bad_files": Case(
        bad_files,
        ("28 of 30 can be read", "04.jpg: listed in {root}/labels.csv:6, can", "03.jpg: listed in {root}/labels.csv:5, can"),
        code=1, then=may_be_left_out_and_repaired,
    ),
    "same_picture": Case(
        same_picture,
        ("the same file 2 times, across splits (train, val): ", "with different labels: bus, zebra: 00.jpg (line 2), 29.jpg"),
    ),
    "phone": Case(phone, ("30 are turned upright, as the camera noted",), looks_plain),
    "modes": Case(modes, ("30 of 30 can be read",), looks_plain),
    "two_photos": Case(
        two_photos, ("of 2 photos none with a label is left to validate with; label more",), code=1, then=leaves_no_run
    ),
    "heic": Case(heic, ("x.heic: HEIC, as telephones save it, is read with pillow-heif: pip install 'aevlp[photos]'",), is_plain),
}  # fmt: skip


@pytest.fixture
def _without_heic(monkeypatch):
    """As where the extra is not installed."""
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    decoding.knows_heic.cache_clear()
    yield
    decoding.knows_heic.cache_clear()


@pytest.mark.usefixtures("_without_heic")
@pytest.mark.parametrize("name", CASES)
def test_a_folder_as_people_have_it(name, tmp_path, capsys):
    case, root = CASES[name], tmp_path / name
    case.make(root)
    assert main(["prepare", "folder", "--root", str(root)]) == case.code
    output, error = capsys.readouterr()
    for words in case.says:
        assert words.format(root=root) in output + error
    if case.code:
        (line,) = error.splitlines()
        assert case.says[-1].format(root=root) in line
        assert str(root) in line
    else:
        case.has(root, load(root))
    case.then(root)


def test_what_lies_in_a_folder_and_is_no_photo_is_named_and_never_waited_for(tmp_path, capsys):
    table()(tmp_path / "mine")
    os.mkfifo(tmp_path / "mine/x.jpg")
    (tmp_path / "mine/circle").symlink_to(tmp_path / "mine")
    (tmp_path / "mine/a.jpg").symlink_to("a.jpg")
    assert main(["prepare", "folder", "--root", str(tmp_path / "mine")]) == 0
    output = capsys.readouterr().out
    assert "x.jpg is left out (is a named pipe, not a file)" in output
    assert "a.jpg is left out (Too many levels of symbolic links)" in output
    assert "links to folders are not followed: circle" in output


def test_most_bad_photos_are_ten_or_a_share_and_never_all(tmp_path):
    table()(tmp_path)
    assert [most_bad(count) for count in (0, 28, 1000, 1999, 20_000)] == [10, 10, 10, 19, 200]
    assert most_bad(28, 0) == 0
    bad = load(tmp_path).val.images
    for i in range(6):
        (tmp_path / bad.name(i)).unlink()
    with pytest.raises(DataError, match="6 of 6 validation images are absent or cannot be read, and nothing is left"):
        load(tmp_path, on_bad_image="quarantine")


def test_a_picture_of_60_000_pixels_a_side_is_refused_before_it_is_decoded(tmp_path, capsys):
    table()(tmp_path)
    Image.new("1", (60_000, 1)).save(tmp_path / "00.jpg", "PNG")
    head = bytearray((tmp_path / "00.jpg").read_bytes())
    head[20:24] = (60_000).to_bytes(4, "big")
    head[29:33] = zlib.crc32(head[12:29]).to_bytes(4, "big")
    (tmp_path / "00.jpg").write_bytes(head)
    assert main(["prepare", "folder", "--root", str(tmp_path)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {tmp_path}/00.jpg: listed in {tmp_path}/labels.csv:2, cannot be read as an image: ")
    assert "3600000000 pixels" in line
