"""`predict`: the model's own scores for files and folders, in memory that does not grow, and what it makes of bad files."""

import csv
import json
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from aevlp.cli import main
from aevlp.config import registry
from aevlp.config.errors import ConfigError, DataError
from aevlp.data import decoding
from aevlp.data.table import read_table
from aevlp.inference import predict as predicting
from aevlp.inference.open import open_trained
from aevlp.inference.predict import find_images
from aevlp.inference.trained import Scorer
from aevlp.metrics.thresholds import best_thresholds, sigmoid

THRESHOLDS = "labels by the run's thresholds, chosen on 40 validation photos; --threshold 0.5 sets one"


@pytest.fixture(scope="module")
def photos(trained_run, tmp_path_factory):
    """The 40 validation scenes as PNG files, half of them in a folder below."""
    folder = tmp_path_factory.mktemp("photos")
    (folder / "below").mkdir()
    data = registry.build("datasets", open_trained(str(trained_run)).config.dataset)
    for row in range(40):
        pixels = data.val.images[row].permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(folder / ("below" if row >= 20 else "") / f"{row:03d}.png")
    (folder / "notes.txt").write_text("not an image")
    (folder / "._000.png").write_text("left by a Mac")
    return folder


@pytest.fixture
def mixed(photos, tmp_path):
    """A copy with 10 files that are no whole images."""
    folder = shutil.copytree(photos, tmp_path / "mixed")
    whole = (folder / "000.png").read_bytes()
    for number in range(10):
        (folder / f"bad{number}.png").write_bytes([b"", b"<html>no</html>", whole[: len(whole) // 2]][number % 3])
    return folder


def read_csv(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_scores_are_the_runs_own_and_labels_follow_the_thresholds(trained_run, photos, tmp_path, capsys):
    assert main(["predict", str(trained_run), str(photos), "-o", str(tmp_path / "s.csv"), "--batch-size", "7"]) == 0
    assert capsys.readouterr().out.startswith(f"40 images scored: {tmp_path}/s.csv\n{THRESHOLDS}\n")
    rows = read_csv(tmp_path / "s.csv")
    names = json.loads((trained_run / "classes.json").read_text())
    assert list(rows[0]) == ["image", *names, "labels"]
    expected = [photos / "below" / f"{row:03d}.png" if row >= 20 else photos / f"{row:03d}.png" for row in range(40)]
    assert [row["image"] for row in rows] == [str(path) for path in expected]
    with np.load(trained_run / "val_scores.npz") as file:
        probabilities, targets = sigmoid(file["logits"]), file["targets"]
    np.testing.assert_allclose([[float(row[name]) for name in names] for row in rows], probabilities, rtol=1e-4)
    above = probabilities >= best_thresholds(targets, probabilities)
    assert [row["labels"] for row in rows] == ["|".join(np.array(names)[line]) for line in above]
    assert not list(tmp_path.glob("*.quarantine.csv"))


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_a_class_may_be_called_as_a_column_of_a_table_is(form, trained_run, photos, tmp_path):
    run = shutil.copytree(trained_run, tmp_path / "run", symlinks=True)
    names = ["image", "Labels", "set", "tag", "label", "split", "absent", "file", "dog", "cat"]
    (run / "classes.json").write_text(json.dumps(names))
    file = tmp_path / f"found.{form}"
    assert main(["predict", str(run), str(photos / "000.png"), "-o", str(file), "--threshold", "0"]) == 0
    row = json.loads(file.read_text()) if form == "jsonl" else read_csv(file)[0]
    assert list(row) == ["image", *(f"{name} (probability)" for name in names[:8]), "dog", "cat", "labels"]
    if form == "csv":
        assert main(["import", str(file), "--root", str(photos), "--set", "image=image"]) == 0
        assert set(read_table(photos / "labels.csv").rows[0].known) == set(names)
        (photos / "labels.csv").unlink()


def test_parquet_holds_the_same_as_csv(trained_run, photos, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    for name in ("s.csv", "s.parquet"):
        assert main(["predict", str(trained_run), str(photos), "-o", str(tmp_path / name)]) == 0
    table, expected = parquet.read_table(tmp_path / "s.parquet"), read_csv(tmp_path / "s.csv")
    assert table.column_names == list(expected[0])
    for row, other in zip(table.to_pylist(), expected, strict=True):
        assert (row.pop("image"), row.pop("labels")) == (other.pop("image"), other.pop("labels"))
        assert list(row.values()) == pytest.approx(list(map(float, other.values())), rel=1e-5)


def test_on_standard_output_there_is_nothing_but_the_labels(trained_run, mixed, tmp_path, capsys):
    command = ["predict", str(trained_run), str(mixed), "--on-bad-image", "quarantine", "-o"]
    assert main([*command, str(tmp_path / "s.csv")]) == 0
    out, err = capsys.readouterr()
    told = out.partition("\n")[2]
    assert main([*command, "-"]) == 0
    assert capsys.readouterr() == ((tmp_path / "s.csv").read_text(), f"{err}40 images scored, 10 left out\n{told}")


def test_a_name_that_looks_like_a_secret_is_written_as_it_is(trained_run, photos, tmp_path, monkeypatch, capsys):
    name = "token=abcdef123.png"
    shutil.copy(photos / "000.png", tmp_path / name)
    monkeypatch.chdir(tmp_path)
    for form in ("csv", "jsonl"):
        assert main(["predict", str(trained_run), name, "-o", "-", "--format", form]) == 0
        assert name in capsys.readouterr().out


def test_one_threshold_for_all(trained_run, photos, tmp_path):
    for threshold, count in (("0", 10), ("1", 0)):
        command = ["predict", str(trained_run), str(photos / "000.png"), "-o", str(tmp_path / "s.csv"), "--threshold", threshold]
        assert main(command) == 0
        (row,) = read_csv(tmp_path / "s.csv")
        assert len(row["labels"].split("|") if row["labels"] else []) == count


def test_what_is_predicted_goes_in_again_as_known_labels(trained_run, photos, tmp_path, monkeypatch):
    copy, labels = shutil.copytree(photos, tmp_path / "copy"), {}
    monkeypatch.chdir(copy)
    for form in ("csv", "labelstudio", "jsonl", "fiftyone"):
        file = tmp_path / f"found.{form}"
        assert main(["predict", str(trained_run), ".", "-o", str(file), "--format", form, "--threshold", "0.02"]) == 0
        if form == "jsonl":
            labels[form] = {row["image"]: set(row["labels"]) for row in map(json.loads, file.read_text().splitlines())}
        elif form == "fiftyone":
            found = json.loads(file.read_text())["labels"]
            labels[form] = {
                str(Path(path).relative_to(copy)): {one["label"] for one in said or ()} for path, said in found.items()
            }
        else:
            file = file.rename(file.with_suffix({"csv": ".csv", "labelstudio": ".json"}[form]))
            assert main(["import", str(file), "--root", str(copy), "--replace"]) == 0
            rows = read_table(copy / "labels.csv").rows
            labels[form] = {row.image: set(row.known) for row in rows}
            assert not any(row.labels for row in rows)  # a model's guesses are never all labels
    assert len(labels["csv"]) == 40
    assert any(len(found) > 1 for found in labels["csv"].values())
    assert labels["csv"] == labels["labelstudio"] == labels["jsonl"] == labels["fiftyone"]
    shutil.copy(tmp_path / "found.csv", copy / "labels.csv")
    with pytest.raises(
        DataError, match=r"is what `predict` wrote, a model's guesses.*: python run\.py (import .* --replace)"
    ) as told:
        read_table(copy / "labels.csv")
    assert main(str(told.value).partition("run.py ")[2].split()) == 0
    assert {row.image: set(row.known) for row in read_table(copy / "labels.csv").rows} == labels["csv"]


def test_files_and_folders_are_found_once_and_in_order(photos, monkeypatch):
    monkeypatch.chdir(photos)
    images = find_images(["below", "000.png", "./000.png", "notes.txt", "."]).images
    found = [images.name(row) for row in range(len(images))]
    assert found[:22] == [*(f"below/{row:03d}.png" for row in range(20, 40)), "000.png", "notes.txt"]
    assert found[22:] == [f"{row:03d}.png" for row in range(1, 20)]
    with pytest.raises(ConfigError, match="nothing: no such file or folder"):
        find_images(["nothing"])


def test_after_a_bad_image_none_is_scored_and_all_that_are_bad_are_named(trained_run, mixed, tmp_path, monkeypatch, capsys):
    shutil.copy(mixed / "bad0.png", mixed / "0.png")  # the first
    monkeypatch.delattr(Scorer, "logits")
    (tmp_path / "s.csv").write_text("image,cat,labels\n1.png,0.5,cat\n")
    assert main(["predict", str(trained_run), str(mixed), "-o", str(tmp_path / "s.csv")]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: {mixed}/0.png: ")
    others = ", ".join(f"{mixed}/bad{number}.png" for number in range(10))
    assert error.endswith(f"leave such files out with --on-bad-image quarantine; 10 more cannot be read: {others}\n")
    assert error.count("\n") == 1
    assert (tmp_path / "s.csv").read_text() == "image,cat,labels\n1.png,0.5,cat\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mixed", "s.csv"]


def test_quarantine_counts_and_lists_bad_images(trained_run, mixed, photos, tmp_path, capsys):
    command = ["predict", str(trained_run), str(mixed), "-o", str(tmp_path / "s.csv"), "--on-bad-image", "quarantine"]
    assert main([*command, "--batch-size", "3"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"40 images scored, 10 left out ({tmp_path}/s.csv.quarantine.csv): {tmp_path}/s.csv\n")
    assert err.count("left out  ") == 10
    assert [row["image"] for row in read_csv(tmp_path / "s.csv.quarantine.csv")] == [f"{mixed}/bad{n}.png" for n in range(10)]
    assert all(row["problem"] for row in read_csv(tmp_path / "s.csv.quarantine.csv"))
    assert len(read_csv(tmp_path / "s.csv")) == 40
    command[2] = str(photos)
    assert main(command) == 0
    assert not (tmp_path / "s.csv.quarantine.csv").exists()


def test_more_bad_images_than_the_limit_stop_even_in_quarantine(trained_run, mixed, tmp_path, capsys):
    (mixed / "one_more.png").write_bytes(b"")
    command = ["predict", str(trained_run), str(mixed), "-o", str(tmp_path / "s.csv"), "--on-bad-image", "quarantine"]
    assert main(command) == 1
    assert "more than 10 of 51 images cannot be read, so nothing was written" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mixed"]
    command[2] = str(mixed / "bad0.png")
    assert main(command) == 1
    assert "none of 1 images could be read" in capsys.readouterr().err


@pytest.fixture
def closed(photos, tmp_path, monkeypatch):
    """A copy whose folder `below` may not be read, by whoever runs this test."""
    folder, scandir = shutil.copytree(photos, tmp_path / "closed"), os.scandir

    def refuse(path):
        if os.path.basename(path) == "below":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    return folder


def test_a_folder_that_may_not_be_read_is_an_image_that_cannot(trained_run, closed, tmp_path, capsys):
    command = ["predict", str(trained_run), str(closed), "-o", str(tmp_path / "s.csv")]
    said = f"{closed}/below: a folder that cannot be read: Permission denied"
    assert main(command) == 1
    assert capsys.readouterr().err.startswith(f"error: {said}; repair or remove it, or leave such files out with")
    assert not (tmp_path / "s.csv").exists()
    assert main([*command, "--on-bad-image", "quarantine"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"20 images scored, 1 left out ({tmp_path}/s.csv.quarantine.csv): {tmp_path}/s.csv\n")
    assert err.endswith(f"notes.txt\nleft out  {said}\n")
    assert read_csv(tmp_path / "s.csv.quarantine.csv") == [{"image": f"{closed}/below", "problem": said}]
    assert main([*command[:2], str(closed / "below"), *command[3:]]) == 1
    assert capsys.readouterr().err == f"error: {said}; there is no image beside it\n"


def test_files_that_are_not_named_as_photos_are_told(trained_run, photos, tmp_path, capsys):
    folder = shutil.copytree(photos, tmp_path / "mixed")
    (folder / "below" / "raw.CR2").write_bytes(b"")
    (folder / "README").write_text("")
    command = ["predict", "-o", str(tmp_path / "s.csv"), str(trained_run), str(folder)]
    assert main(command) == 0
    assert capsys.readouterr().err == (
        "note  3 files are passed over, as their names do not end as those of photos do (none 1, .txt 1, .cr2 1): "
        f"{folder}/README, {folder}/notes.txt, {folder}/below/raw.CR2\n"
    )
    assert main([*command[:-1], str(folder / "below")]) == 0
    assert "note  1 file is passed over, as its name does not end as those of photos do (.cr2 1): " in capsys.readouterr().err
    assert main([*command, str(folder / "notes.txt")]) == 1  # named by itself, it is tried
    assert "notes.txt: cannot be read as an image" in capsys.readouterr().err


def test_what_is_named_by_itself_and_left_out_is_a_failure(trained_run, mixed, tmp_path, capsys):
    command = ["predict", "-o", str(tmp_path / "s.csv"), "--on-bad-image", "quarantine", str(trained_run), str(mixed)]
    assert main(command) == 0
    assert main([*command, f"{mixed}/./bad3.png"]) == 1
    assert capsys.readouterr().err.count("left out  ") == 20
    assert len(read_csv(tmp_path / "s.csv")) == 40


def test_heic_that_nothing_here_reads_is_told_with_what_would(trained_run, photos, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(decoding, "knows_heic", lambda: False)
    folder = shutil.copytree(photos, tmp_path / "telephone")
    (folder / "x.heic").write_bytes(b"")
    command = ["predict", str(trained_run), str(folder), "-o", str(tmp_path / "s.csv")]
    reads = "HEIC, as telephones save it, is read with pillow-heif: pip install 'aevlp[photos]'"
    assert main(command) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"error: {folder}/x.heic: cannot be read as an image: {reads}; ")
    assert main([*command, "--on-bad-image", "quarantine"]) == 0
    assert f"left out  {folder}/x.heic: cannot be read as an image: {reads}\n" in capsys.readouterr().err


def test_a_link_to_a_folder_is_named_and_not_followed(trained_run, photos, tmp_path, capsys):
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "elsewhere").symlink_to(photos)
    (tmp_path / "links" / "round").symlink_to(tmp_path / "links")
    shutil.copy(photos / "000.png", tmp_path / "links")
    assert main(["predict", str(trained_run), str(tmp_path / "links"), "-o", str(tmp_path / "s.csv")]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("1 image scored: ")
    assert [line.split(":")[0] for line in err.splitlines()] == [f"note  {tmp_path}/links/{n}" for n in ("elsewhere", "round")]


@pytest.mark.usefixtures("never_waits")
def test_a_named_pipe_is_no_image_and_is_not_waited_for(trained_run, photos, tmp_path, capsys):
    (tmp_path / "mixed").mkdir()
    shutil.copy(photos / "000.png", tmp_path / "mixed")
    os.mkfifo(tmp_path / "mixed" / "pipe.jpg")
    command = ["predict", str(trained_run), str(tmp_path / "mixed"), "-o", str(tmp_path / "s.csv")]
    assert main(command) == 1
    assert "pipe.jpg: cannot be read as an image: is a named pipe, not a file; repair" in capsys.readouterr().err
    assert main([*command, "--on-bad-image", "quarantine"]) == 0
    assert len(read_csv(tmp_path / "s.csv")) == 1


def test_stopped_in_the_middle_leaves_nothing(trained_run, photos, tmp_path, monkeypatch):
    logits, calls = Scorer.logits, []

    def stop_in_the_second_batch(self, images):
        calls.append(len(images))
        if len(calls) == 2:
            signal.raise_signal(signal.SIGTERM)
        return logits(self, images)

    monkeypatch.setattr(Scorer, "logits", stop_in_the_second_batch)
    assert main(["predict", str(trained_run), str(photos), "-o", str(tmp_path / "s.csv"), "--batch-size", "8"]) == 143
    assert calls == [8, 8]
    assert list(tmp_path.iterdir()) == []


def test_memory_does_not_grow_with_the_number_of_images(trained_run, tmp_path, monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (512, 512, 3), dtype=np.uint8)  # 0.8 MB each, 240 MB together
    (tmp_path / "photos").mkdir()
    Image.fromarray(pixels).save(tmp_path / "photos" / "0.bmp")
    for number in range(1, 300):
        (tmp_path / "photos" / f"{number}.bmp").symlink_to("0.bmp")
    logits, memory = Scorer.logits, []

    def watch(self, images):
        memory.append(psutil.Process().memory_info().rss / 2**20)
        return logits(self, images)

    monkeypatch.setattr(Scorer, "logits", watch)
    assert main(["predict", str(trained_run), str(tmp_path / "photos"), "-o", str(tmp_path / "s.csv"), "--batch-size", "10"]) == 0
    assert len(memory) == 30
    assert max(memory[10:]) - memory[5] < 30  # MB


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["{run}", "{empty}", "-o", "s.csv"], 2, "holds no image (names ending in .avif, .bmp, "),
        (["{run}", "absent.jpg", "-o", "s.csv"], 2, "absent.jpg: no such file or folder"),
        (["{run}", "{photos}", "-o", "absent/s.csv"], 2, "-o absent/s.csv: there is no folder absent; make it first"),
        (["{run}", "{photos}", "-o", "{empty}"], 2, "is a folder; give the name of a file"),
        (["{run}", "{photos}", "-o", "s.csv", "--threshold", "1.5"], 2, "--threshold 1.5: must be a probability"),
        (["{run}", "{photos}", "-o", "s.csv", "--batch-size", "0"], 2, "--batch-size 0: must be from 1 to 65536"),
        (["nowhere", "{photos}", "-o", "s.csv"], 2, "run 'nowhere': no folder"),
        (["{photos}/000.png", "{photos}", "-o", "s.csv"], 2, "is a file; predict takes a run or an exported folder"),
    ],
)
def test_a_wrong_command_says_what_is_wrong(trained_run, photos, tmp_path, monkeypatch, capsys, words, code, message):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    places = {"run": trained_run, "photos": photos, "empty": tmp_path / "empty"}
    assert main(["predict", *(word.format(**places) for word in words)]) == code
    assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_output_that_cannot_be_written_is_refused_before_anything_is_computed(trained_run, photos, tmp_path, monkeypatch, capsys):
    def no_space(self):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "touch", no_space)
    monkeypatch.setattr(predicting, "Scorer", None)
    assert main(["predict", str(trained_run), str(photos), "-o", str(tmp_path / "s.csv")]) == 1
    assert capsys.readouterr().err == f"error: -o {tmp_path}/s.csv: cannot be written: No space left on device\n"


def test_two_commands_with_one_output_do_not_meet_and_the_last_wins(trained_run, photos, tmp_path, monkeypatch, capsys):
    batches, output = predicting._batches, tmp_path / "s.csv"

    def both(*arguments):
        monkeypatch.setattr(predicting, "_batches", batches)
        assert main(["predict", str(trained_run), str(photos), "-o", str(output), "--threshold", "1"]) == 0
        other.append(output.read_bytes())
        yield from batches(*arguments)

    other: list[bytes] = []
    monkeypatch.setattr(predicting, "_batches", both)
    assert main(["predict", str(trained_run), str(photos), "-o", str(output), "--threshold", "0"]) == 0
    rows = list(csv.DictReader(output.open(newline="")))
    assert len(rows) == len(list(csv.DictReader(other[0].decode().splitlines())))
    assert all(len(row["labels"].split("|")) == 10 for row in rows)
    assert [path.name for path in tmp_path.iterdir()] == ["s.csv"]


def test_run_from_before_class_names_were_kept(trained_run, photos, tmp_path, capsys):
    old = shutil.copytree(trained_run, tmp_path / "old", symlinks=True)
    (old / "classes.json").unlink()
    assert main(["predict", str(old), str(photos / "000.png"), "-o", str(tmp_path / "s.csv")]) == 0  # from per_class.csv
    (old / "per_class.csv").unlink()
    assert main(["predict", str(old), str(photos / "000.png"), "-o", str(tmp_path / "s.csv")]) == 1
    assert "does not tell its class names" in capsys.readouterr().err
    (old / "classes.json").write_text(json.dumps(list("abcdefghij")))
    (old / "val_scores.npz").unlink()
    assert main(["predict", str(old), str(photos / "000.png"), "-o", str(tmp_path / "s.csv")]) == 2
    assert "give --threshold T" in capsys.readouterr().err


def test_by_which_thresholds_labels_are_chosen_is_told_and_how_far_to_trust_them(trained_run, photos, tmp_path, capsys):
    command = ["predict", "-o", str(tmp_path / "s.csv"), str(trained_run), str(photos / "000.png")]
    with np.load(trained_run / "val_scores.npz") as scores:
        few = int((scores["targets"].sum(axis=0) < 10).sum())
    assert 0 < few < 10
    assert main(command) == 0
    warning = f"note  {few} of 10 classes have fewer than 10 of these photos: thresholds from so few are chance"
    assert capsys.readouterr().out.splitlines()[1:] == [THRESHOLDS, warning]
    assert main([*command, "--threshold", "0.5"]) == 0
    assert capsys.readouterr().out == f"1 image scored: {tmp_path}/s.csv\n"
    assert main(["export", str(trained_run), "-o", str(tmp_path / "model")]) == 0
    capsys.readouterr()
    assert main([*command[:3], str(tmp_path / "model"), command[-1]]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == ["labels by the run's thresholds; --threshold 0.5 sets one"]
