"""What is wrong with a download is said in one message that names the place; nothing already written is damaged."""

import errno
import json
import os
import shutil

import numpy as np
import pytest
from file_effects import Effects, watched
from miniatures import MAKE, draw, make_coco, make_cub, make_nuswide, make_voc
from PIL import Image

from aevlp.cli import main
from aevlp.config import registry
from aevlp.config.errors import DataError
from aevlp.data import quarantine
from aevlp.data.images import ImageFiles
from aevlp.data.prepare import prepare
from aevlp.data.protocol import split_train_val


def refused(capsys, *words):
    """Run a command that must fail with exit code 1; returns what it wrote to stderr."""
    assert main([*map(str, words)]) == 1
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert "Traceback" not in err
    return err


@pytest.mark.parametrize("name", ["voc", "coco", "cub", "nuswide", "folder"])
def test_another_layout_shows_the_expected_tree_and_the_command(name, tmp_path, capsys):
    root = tmp_path / "data"
    root.mkdir()
    err = refused(capsys, "prepare", name, "--root", root)
    assert str(root) in err
    assert "FOLDER/" in err
    assert ("--root FOLDER" in err) or ("dataset.root=FOLDER" in err)
    assert list(root.iterdir()) == []


@pytest.mark.parametrize("name", ["voc", "coco", "cub", "nuswide", "folder"])
def test_a_root_that_is_not_there_is_one_line(name, tmp_path, capsys):
    root = tmp_path / "data"
    assert refused(capsys, "prepare", name, "--root", root) == f"error: --root {root}: there is no such folder\n"
    assert not root.exists()


def test_a_dataset_without_preparation_and_an_unknown_one_are_usage_errors(tmp_path, capsys):
    assert main(["prepare", "digits", "--root", str(tmp_path)]) == 2
    assert "dataset 'digits' needs no preparation" in capsys.readouterr().err
    assert main(["prepare", "cocoo", "--root", str(tmp_path)]) == 2
    assert "did you mean 'coco'" in capsys.readouterr().err


def edit_coco(root, change):
    path = root / "annotations/instances_val2014.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_annotations_cut_short_are_named(tmp_path, capsys):
    root = make_coco(tmp_path)
    path = root / "annotations/instances_train2014.json"
    path.write_bytes(path.read_bytes()[:-200])
    assert f"{path}: not a whole JSON file: " in refused(capsys, "prepare", "coco", "--root", root)
    path.write_text("[" * 100_000)
    said = refused(capsys, "prepare", "coco", "--root", root)
    assert f"{path}: not a whole JSON file: cannot be read: nested too deeply; download it again" in said
    assert not list(root.glob("*.npy"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["annotations"][4].update(category_id=2), "annotations[4] has category_id 2, which is not among the 5 categ"),
        (lambda c: c["annotations"][4].pop("category_id"), "not COCO's instance annotations (KeyError: 'category_id')"),
        (lambda c: c["annotations"][4].update(category_id=[1]), "not COCO's instance annotations (TypeError"),
        (lambda c: c.pop("categories"), "not COCO's instance annotations (KeyError: 'categories')"),
        (lambda c: c["categories"].pop(), "which is not among the 4 categories"),
        (lambda c: c["categories"][0].update(name="human"), "list different categories"),
        (lambda c: c["annotations"].clear(), "holds no image with a label"),
        (lambda c: c["annotations"][4].update(image_id=float("inf")), "not COCO's instance annotations (OverflowError"),
        (lambda c: c["categories"][1].update(id=1), "2 categories have the id 1; each needs its own"),
        (lambda c: c["categories"][1].update(name="person"), "2 categories have the name 'person'; each needs its own"),
    ],
)
def test_annotations_that_contradict_themselves_are_named(tmp_path, capsys, change, message):
    root = make_coco(tmp_path)
    edit_coco(root, change)
    assert message in refused(capsys, "prepare", "coco", "--root", root)
    assert not list(root.glob("*.npy"))


def test_image_entries_are_not_needed(tmp_path):
    root = make_coco(tmp_path)
    edit_coco(root, lambda content: content.pop("images"))
    prepare("coco", root)


def test_voc_and_cub_name_the_line(tmp_path, capsys):
    root = make_voc(tmp_path / "voc")
    path = root / "VOCdevkit/VOC2012/ImageSets/Main/boat_train.txt"
    whole = path.read_text()
    for line in ("2008_000001 2", "2008_000001"):
        path.write_text(f"{whole}{line}\n")
        assert f"{path}:17: must be an image and -1, 0 or 1, is {line!r}" in refused(capsys, "prepare", "voc", "--root", root)
    root = make_cub(tmp_path / "cub")
    path = root / "CUB_200_2011/attributes/image_attribute_labels.txt"
    lines = path.read_text().splitlines()
    for changed, message in (
        ([*lines[:8], "2 1", *lines[9:]], f"{path}:9: must begin with three numbers"),
        ([*lines[:8], lines[9], lines[8], *lines[10:]], f"{path}:9: must be image, attribute and 0 or 1"),
        ([*lines[:8], "2 1 7 1", *lines[9:]], f"{path}:9: must be image, attribute and 0 or 1"),
        (lines[:-1], "must have 8 x 20 = 160 lines (attributes x images), has 159"),
        ([*lines, "21 1 0"], "has more"),
    ):
        path.write_text("\n".join(changed) + "\n")
        assert message in refused(capsys, "prepare", "cub", "--root", root)


def test_a_nuswide_list_that_matches_no_file_is_refused(tmp_path, capsys):
    root = make_nuswide(tmp_path)
    np.save(root / "formatted_val_images.npy", np.array([f"other/{i}.jpg" for i in range(6)]))
    assert "none of its 6 names, such as 'other/0.jpg', is a file below" in refused(capsys, "prepare", "nuswide", "--root", root)


def spoil(path, how):
    """Replace an image by something that is none; 'gigantic' is whole, but has more pixels than anybody's photo."""
    whole = path.read_bytes()
    if how == "gigantic":
        Image.new("1", (30_000, 3_000)).save(path.with_suffix(".png"))
        path.with_suffix(".png").rename(path)
        return
    content = {"truncated": whole[: len(whole) // 2], "empty": b"", "HTML": b"<!DOCTYPE html><p>404"}
    path.write_bytes(content[how]) if how in content else path.unlink()


@pytest.mark.parametrize("how", ["truncated", "empty", "HTML", "absent", "gigantic"])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_bad_images_are_listed_and_training_stops_before_it_begins_or_leaves_them_out(how, tmp_path, capsys):
    root = make_coco(tmp_path / "coco")
    prepare("coco", root)
    arrays = {path: path.read_bytes() for path in root.glob("*.npy")}
    names = np.load(root / "formatted_train_images.npy")
    name = names[split_train_val(14)[0][4]]
    path = root / name
    spoil(path, how)
    err = refused(capsys, "prepare", "coco", "--root", root)
    assert str(path) in err
    assert f"1 such image (all in {root}/quarantine.json): replace them and prepare again, or leave them out with" in err
    assert {path: path.read_bytes() for path in root.glob("*.npy")} == arrays
    assert list(json.loads((root / "quarantine.json").read_text())) == [name]

    def load(**settings):
        return registry.build("datasets", registry.get("datasets", "coco").config(name="coco", root=str(root), **settings))

    with pytest.raises(DataError, match=r"1 of 11 training images are absent or cannot be read: replace them"):
        load()
    with pytest.raises(DataError, match=r"more than the 0 that dataset\.max_quarantined=0 allows"):
        load(on_bad_image="quarantine", max_quarantined=0)
    data = load(on_bad_image="quarantine")
    assert len(data.train) == len(data.train.observed) == len(data.train.targets) == 10
    assert name not in [data.train.images.name(i) for i in range(10)]
    assert data.notes[0].startswith("1 of 11 training images are left out because they cannot be read, the first: ")
    draw(path, 1)
    prepare("coco", root)
    assert len(load().train) == 11


def test_images_of_uncommon_kinds_pass_the_check(tmp_path, capsys):
    root = MAKE["folder"](tmp_path)
    Image.new("CMYK", (20, 20)).save(root / "photos/a.jpg")
    Image.fromarray(np.full((20, 20), 40_000, np.uint16)).save(root / "photos/b.png")
    frames = [Image.new("P", (20, 20), i) for i in range(3)]
    frames[0].save(root / "photos/c.gif", save_all=True, append_images=frames[1:])
    with (root / "labels.csv").open("a") as file:
        file.writelines(f"photos/{name},red,train,red\n" for name in ("a.jpg", "b.png", "c.gif"))
    prepare("folder", root)
    assert "23 of 23 can be read" in capsys.readouterr().out


def test_tiny_images_are_said_and_pass(tmp_path, capsys):
    root = MAKE["folder"](tmp_path)
    for i in range(7):
        Image.new("RGB", (15 + i, 200 if i % 2 else 1)).save(root / f"photos/tiny{i}.png")
    with (root / "labels.csv").open("a") as file:
        file.writelines(f"photos/tiny{i}.png,red,train,red\n" for i in range(7))
    prepare("folder", root)
    names = ", ".join(f"photos/tiny{i}.png" for i in (0, 2, 4, 6))
    assert f"4 with a side of less than 16 pixels, which is no photo any more: {names}\n" in capsys.readouterr().out


def test_without_the_image_check_nothing_is_decoded(tmp_path, capsys):
    root = make_voc(tmp_path)
    for path in (root / "VOCdevkit/VOC2012/JPEGImages").iterdir():
        path.write_bytes(b"")
    assert main(["prepare", "voc", "--root", str(root), "--no-image-check"]) == 0
    assert "not looked at" in capsys.readouterr().out


def test_files_that_say_something_else_are_not_overwritten(tmp_path, capsys):
    root = make_voc(tmp_path)
    prepare("voc", root)
    path = root / "formatted_val_labels.npy"
    np.save(path, 1 - np.load(path))
    before = {file: file.read_bytes() for file in root.glob("formatted_*")}
    assert f"{path}: is there already and says something else" in refused(capsys, "prepare", "voc", "--root", root)
    assert {file: file.read_bytes() for file in root.glob("formatted_*")} == before


def test_files_that_a_killed_prepare_left_are_refused_until_it_is_run_again(tmp_path):
    """Killed at any effect: whoever reads the arrays sees all old ones, all new ones, or the reason why not."""
    root = MAKE["folder"](tmp_path / "data")
    out = tmp_path / "out"
    config = registry.get("datasets", "arrays").config(name="arrays", root=str(root), arrays=str(out))
    table = (root / "labels.csv").read_text().splitlines(keepends=True)

    def begin(act):
        (root / "labels.csv").write_text("".join(table))
        shutil.rmtree(out, ignore_errors=True)
        prepare("folder", root, out, check=False)
        (root / "labels.csv").write_text("".join([table[0], *reversed(table[1:])]))
        with watched(Effects([out], act)) as effects:
            prepare("folder", root, out, check=False)
        return effects.names

    def names():
        return np.load(out / "formatted_train_images.npy").tolist(), np.load(out / "formatted_train_labels.npy").tolist()

    count, new, told = len(begin(lambda *_: None)), names(), 0
    for number in range(1, count + 1):
        child = os.fork()
        if child == 0:
            begin(lambda now, *_, number=number: os._exit(1) if now == number else None)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
        try:
            registry.build("datasets", config)
        except DataError as error:
            assert "run it again" in str(error)  # noqa: PT017  (the others are read without an error)
            told += 1
        else:
            assert names() == new or (names()[0] == new[0][::-1] and names()[1] == new[1][::-1])
        prepare("folder", root, out, check=False)
        assert names() == new
        assert not [path for path in out.iterdir() if path.name.startswith(".")]
    assert told >= 6


def test_an_output_folder_that_cannot_be_made_is_named(tmp_path, capsys):
    root = make_voc(tmp_path / "voc")
    (tmp_path / "file").write_text("")
    err = refused(capsys, "prepare", "voc", "--root", root, "--out", tmp_path / "file/out")
    assert "cannot be written" in err
    assert "choose another folder with --out" in err


def test_a_class_list_of_wrong_length_is_refused_when_training(tmp_path):
    root = make_voc(tmp_path)
    prepare("voc", root)
    (root / "short.txt").write_text("one\ntwo\n")
    config = registry.get("datasets", "voc").config(name="voc", root=str(root), classes="short.txt")
    with pytest.raises(DataError, match="has 20 columns, but the class list names 2 classes"):
        registry.build("datasets", config)


def test_an_unprepared_dataset_names_the_command(tmp_path):
    config = registry.get("datasets", "voc").config(name="voc", root=str(make_voc(tmp_path)))
    with pytest.raises(DataError, match=r"no such file; .* which `python run\.py prepare voc --root .*` writes"):
        registry.build("datasets", config)


def test_names_that_lead_out_of_the_image_folder_are_refused(tmp_path, capsys):
    root = make_nuswide(tmp_path)
    for name in ("../secret.jpg", "/etc/passwd", "a/../../b.jpg", "C:\\photo.jpg", "..\\b.jpg"):
        names = np.load(root / "formatted_train_images.npy").astype("U40")
        names[2] = name
        np.save(root / "own_images.npy", names)
        (root / "own_images.npy").rename(root / "formatted_train_images.npy")
        assert "row 2 holds" in refused(capsys, "prepare", "nuswide", "--root", root)


def contents(folder):
    return {file: file.read_bytes() for file in folder.iterdir() if file.is_file()}


def test_arrays_of_other_photos_are_not_overwritten(tmp_path, capsys):
    out = tmp_path / "out"
    prepare("voc", make_voc(tmp_path / "voc"), out, check=False)
    before = contents(out)
    root = MAKE["folder"](tmp_path / "mine")
    said = refused(capsys, "prepare", "folder", "--root", root, "--out", out)
    assert f"{out / 'formatted_train_images.npy'}: is there already and says something else; move it away" in said
    assert contents(out) == before


def test_arrays_of_the_same_photos_are_not_overwritten_by_those_of_a_table_nor_is_what_belongs_to_them(tmp_path, capsys):
    root = make_coco(tmp_path / "coco")
    (root / "val2014/COCO_val2014_000000000009.jpg").write_bytes(b"nonsense")
    refused(capsys, "prepare", "coco", "--root", root)
    assert main(["import", str(root / "annotations"), "--root", str(root)]) == 0
    lines = (root / "labels.csv").read_text().splitlines(keepends=True)
    (root / "labels.csv").write_text("".join(line for line in lines if not line.startswith("val2014")))
    before = contents(root)
    capsys.readouterr()
    assert "is there already and says something else" in refused(capsys, "prepare", "folder", "--root", root, "--out", root)
    assert contents(root) == before
    prepare("folder", root)
    assert contents(root) == before


def test_what_was_put_beside_the_arrays_of_a_table_is_not_overwritten_and_what_it_wrote_is(tmp_path, capsys):
    root, out = MAKE["folder"](tmp_path / "mine"), tmp_path / "out"
    prepare("folder", root, out, check=False)
    table = (root / "labels.csv").read_text()
    (root / "labels.csv").write_text(table.replace("test", "train"))
    prepare("folder", root, out, check=False)
    assert not list(out.glob("formatted_val_*"))
    np.save(out / "formatted_val_labels_obs.npy", np.zeros((6, 3)))
    before = contents(out)
    for text in (table, table.replace("test", "train")):
        (root / "labels.csv").write_text(text)
        said = refused(capsys, "prepare", "folder", "--root", root, "--out", out)
        assert f"{out / 'formatted_val_labels_obs.npy'}: is there already and says something else" in said
        assert contents(out) == before
    (out / "prepare_folder.json").write_text("[1]")
    assert "must map names of files to lists of hashes" in refused(capsys, "prepare", "folder", "--root", root, "--out", out)


def test_arrays_of_a_table_that_an_earlier_version_wrote_are_refused_with_what_to_do(tmp_path, capsys):
    root, out = MAKE["folder"](tmp_path / "mine"), tmp_path / "out"
    prepare("folder", root, out, check=False)
    new = contents(out)
    (out / "prepare_folder.json").unlink()
    path = out / "formatted_train_labels_obs.npy"
    np.save(path, 1 - np.load(path))  # known labels as they were drawn then
    said = refused(capsys, "prepare", "folder", "--root", root, "--out", out)
    assert said.endswith(
        f"{path}: is there already and says something else; move it away, or write elsewhere with --out; without "
        "prepare_folder.json it cannot be told whose the arrays are: those of an earlier version of aevlp may be removed\n"
    )
    for file in out.iterdir():
        file.unlink()
    prepare("folder", root, out, check=False)
    assert contents(out) == new


@pytest.mark.parametrize("is_bad", [False, True])
@pytest.mark.parametrize("there", [None, "{}\n", "{cut sh", '{"gone.jpg": "is damaged"}\n'])
def test_the_list_of_bad_images_beside_arrays_of_others_holds_those_of_a_table_as_well(there, is_bad, tmp_path):
    root = MAKE["folder"](tmp_path / "mine")
    prepare("folder", root, root, check=False)
    (root / "prepare_folder.json").unlink()
    listed = root / "quarantine.json"
    if there is not None:
        listed.write_text(there)
    if is_bad:
        (root / "photos/2.png").write_bytes(b"nonsense")
    assert main(["prepare", "folder", "--root", str(root)]) == int(is_bad)
    kept = ["gone.jpg"] if there and "gone" in there else []
    assert listed.exists() == (is_bad or there is not None)
    if listed.exists():
        assert list(json.loads(listed.read_text())) == [*kept, *(["photos/2.png"] if is_bad else [])]


def test_a_damaged_list_of_hashes_is_told_before_photos_are_decoded(tmp_path, monkeypatch, capsys):
    root = MAKE["folder"](tmp_path / "mine")
    prepare("folder", root, root, check=False)
    (root / "prepare_folder.json").write_text("[1]")
    monkeypatch.setattr("aevlp.data.prepare.check_images", lambda *_: pytest.fail("they were decoded"))
    assert "must map names of files to lists of hashes" in refused(capsys, "prepare", "folder", "--root", root)


def test_images_are_looked_at_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(quarantine, "PART", 3)
    for i in range(8):
        draw(tmp_path / f"{i}.png", i)
    for i in (2, 7):
        (tmp_path / f"{i}.png").write_bytes(b"nonsense")
    Image.new("RGB", (9, 90)).save(tmp_path / "3.png")
    waiting, done = [], []

    def look(row, _):
        waiting.append(row // 3 - len(done) // 3)

    bad, tiny = quarantine.check_images(ImageFiles(tmp_path, [f"{i}.png" for i in range(8)]), 2, done.append, look)
    assert (list(bad), tiny, done) == (["2.png", "7.png"], ["3.png"], list(range(1, 9)))
    assert max(waiting) == 0  # none before the last part is done


def test_rows_of_val_are_counted_by_themselves(tmp_path, capsys):
    root = make_coco(tmp_path)
    prepare("coco", root, check=False)
    (root / np.load(root / "formatted_val_images.npy")[2]).unlink()
    assert "listed in row 2 of val, but there is no such file" in refused(capsys, "prepare", "coco", "--root", root)


def test_names_stored_as_bytes_say_the_same(tmp_path):
    root = make_nuswide(tmp_path)
    for split in ("train", "val"):
        path = root / f"formatted_{split}_images.npy"
        np.save(path, np.load(path).astype("S"))
    before = contents(root)
    prepare("nuswide", root)
    assert before.items() <= contents(root).items()


def test_a_folder_that_cannot_be_written_has_its_bad_photos_named_all_the_same(tmp_path, capsys):
    root = MAKE["folder"](tmp_path / "mine")
    for i in (2, 5):
        (root / f"photos/{i}.png").write_bytes(b"nonsense")

    def stop(_number, _name, _half):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    with watched(Effects([root], stop)):
        assert main(["prepare", "folder", "--root", str(root)]) == 1
    output, error = capsys.readouterr()
    for i in (2, 5):
        assert f"photos/{i}.png: listed in {root}/labels.csv:{i + 2}, cannot be read as an image" in " ".join(output.split())
    assert "the same file 2 times" in " ".join(output.split())
    assert error.endswith(f"cannot be written: {os.strerror(errno.EROFS)}; choose another folder with --out\n")
