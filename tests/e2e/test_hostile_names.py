"""Names that others chose, or that no file system takes: one harmless line each, by every verb."""

from __future__ import annotations

import csv
import json
import shutil
import unicodedata

import numpy as np
import pytest
import small_runs as runs
from PIL import Image

from aevlp.cli import main

HOSTILE = "x\x1b]0;owned\x07\x1b[2J\x9b1m\r\u202egpj\u2066\x7f"
WHITE = Image.new("RGB", (16, 16), "white")


def is_harmless(text):
    return not any(
        letter != "\n" and (unicodedata.category(letter) in ("Cc", "Cs") or letter in "\u2028\u2029\u202a\u202b\u202c\u202d\u202e"
                            or "\u2066" <= letter <= "\u2069")
        for letter in text
    )  # fmt: skip


@pytest.fixture
def say(capfd):
    """Run a command; what it printed, which must be harmless and no traceback."""

    def run(*words, code=0):
        try:
            found = main([str(word) for word in words])
        except SystemExit as usage:
            found = usage.code
        out, err = capfd.readouterr()
        assert found == code, (words, out, err)
        assert is_harmless(out), out
        assert is_harmless(err), err
        assert "Traceback" not in err
        return out + err

    return run


@pytest.fixture
def evil_run(trained_run, tmp_path):
    """A finished run whose every name is hostile: its folder, experiment, classes, images, settings, machine and state."""
    folder = tmp_path / "runs" / f"run{HOSTILE}"
    shutil.copytree(trained_run, folder)
    names = [f"{HOSTILE}{number}" for number in range(10)]
    (folder / "classes.json").write_text(json.dumps(names))
    for name in ("per_class.csv", "pseudo_per_class.csv"):
        if (folder / name).is_file():
            rows = list(csv.reader((folder / name).read_text().splitlines()))
            column = rows[0].index("class")
            with (folder / name).open("w", newline="") as file:
                csv.writer(file).writerows([rows[0], *([*r[:column], HOSTILE + r[column], *r[column + 1 :]] for r in rows[1:])])
    summary = json.loads((folder / "summary.json").read_text())
    (folder / "summary.json").write_text(json.dumps(summary | {"experiment": f"exp{HOSTILE}"}))
    environment = json.loads((folder / "environment.json").read_text())
    (folder / "environment.json").write_text(json.dumps(environment | {"processor": HOSTILE, "command": [HOSTILE]}))
    (folder / "config.yaml").open("a").write(f"{json.dumps('key' + HOSTILE)}: {json.dumps(HOSTILE)}\n")
    return folder


def test_of_a_run(evil_run, tmp_path, say):
    other = shutil.copytree(evil_run, evil_run.with_name(f"cut{HOSTILE}"))
    (other / "summary.json").unlink()
    (other / "val_scores.npz").write_bytes(b"PK")
    for form in ("json", "csv", "markdown", "latex"):
        assert "exp" in say("compare", evil_run, other, f"--{form}")
    assert "left out" in say("compare", evil_run.parent)
    say("compare", evil_run, "--baseline", HOSTILE, code=2)
    say("report", evil_run.parent, "-o", tmp_path / f"{HOSTILE}.html")
    say("eval", evil_run, code=2)  # a setting of another version
    say("predict", evil_run, evil_run, "-o", tmp_path / "s.csv", code=2)
    say("export", evil_run, "-o", tmp_path / f"export{HOSTILE}", code=2)
    say("--resume", evil_run, code=2)
    say("sync", evil_run, code=2)
    say("sync", evil_run, "--dry-run", code=2)


def test_of_classes_and_photos(trained_run, tmp_path, say):
    folder = shutil.copytree(trained_run, tmp_path / f"run{HOSTILE}")
    (folder / "classes.json").write_text(json.dumps([f"{HOSTILE}{number}" for number in range(10)]))
    photos = tmp_path / f"photos{HOSTILE}"
    photos.mkdir()
    for number in range(3):
        WHITE.save(photos / f"{number}{HOSTILE}.png")
    (photos / f"bad{HOSTILE}.png").write_bytes(b"no image")
    target = tmp_path / f"{HOSTILE}.csv"
    say("predict", folder, photos, "-o", target, code=1)
    assert "left out" in say("predict", folder, photos, "-o", target, "--on-bad-image", "quarantine")
    say("export", folder, "-o", tmp_path / f"out{HOSTILE}")
    say("eval", folder, code=1)  # the dataset has other classes


def test_of_a_table_of_photos(tmp_path, say, small):
    word = HOSTILE.replace("\r", "")  # which ends a line of the table
    root = tmp_path / f"data{word}"
    root.mkdir()
    names = [f"{number}{word}.png" for number in range(24)]
    for number, name in enumerate(names):
        Image.new("RGB", (16, 16), (10 * number, 9, 9)).save(root / name)
    classes = [f"class{number % 3}{word}" for number in range(24)]
    splits = ["train", "val", "test"] * 8
    rows = zip(names, classes, splits, classes, strict=True)
    with (root / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["image", "label", "split", "labels"], *rows])
    say("prepare", "folder", "--root", root, "--out", tmp_path / f"out{word}")
    (root / names[0]).write_bytes(b"no image")
    say("prepare", "folder", "--root", root, "--out", tmp_path / "out", code=1)
    (root / names[0]).unlink()
    say("prepare", "folder", "--root", root, "--out", tmp_path / "out", code=1)
    words = ["dataset.on_bad_image=quarantine", "dataset.max_quarantined=1", f"dataset.root={json.dumps(str(root))}"]
    words += ["labeler=none", "model=small_cnn", "dataset.image_size=32", "trainer.epochs=1", "trainer.batch_size=4"]
    (root / "quarantine.json").write_text(json.dumps({names[0]: f"reason{word}"}))
    assert "left out" in say("--exp", "folder_an", "--tracking", "off", "--set", *words)
    say("eval", "latest")
    (root / "labels.csv").write_text(f"image,label,split\n{names[1]},a,train\n{names[1]},a,val\n", newline="")
    say("prepare", "folder", "--root", root, code=1)
    (root / "labels.csv").write_text(f"{word},label\n", newline="")
    say("prepare", "folder", "--root", root, code=1)


def test_of_arrays_and_class_lists(tmp_path, say):
    np.save(tmp_path / "formatted_train_images.npy", np.array([f"../{HOSTILE}"]))
    (tmp_path / "classes.txt").write_text(f"a{HOSTILE}\na{HOSTILE}\n", newline="")
    words = ["--set", "dataset=arrays", f"dataset.root={tmp_path}", "labeler=none"]
    say("--exp", "voc_an", *words, code=1)
    (tmp_path / "classes.txt").write_text("a\nb\n")
    say("--exp", "voc_an", *words, code=1)


def test_of_configurations_studies_and_suites(tmp_path, say):
    word = json.dumps(HOSTILE)
    path = tmp_path / f"exp{HOSTILE}.yaml"
    for text in (f"{word}: 1", f"base: {word}", f"base: digits_gpr\nloss: {word}", f"base: digits_gpr\nloss: {{{word}: 1}}",
                 f"base: digits_gpr\nseed: {word}", f"base: digits_gpr\nname: {word}", "a: [", "\x1b: 1"):  # fmt: skip
        path.write_text(text)
        for words in (["--exp", path], ["show", "--exp", path], ["sweep", "run", path], ["suite", path, "--dataset", "digits"]):
            say(*words, code=2)
    path = tmp_path / "fine.yaml"
    path.write_text(f"base: digits_gpr\ntracking: {{tags: [{word}]}}")
    assert "fine" in say("show", "--exp", path)
    say("show", "--exp", path, "--diff", "digits_an")
    study = "base: digits_gpr\nspace: {{{}: {{choice: [{}]}}}}"
    for key, value in ((word, "1"), ("loss.rho", word)):
        path.write_text(study.format(key, value))
        say("sweep", "run", path, "--trials", "1", code=2)
    path.write_text(f"rows: {{{word}: {word}}}")
    say("suite", path, "--dataset", "digits", code=2)
    (tmp_path / "plugin.py").write_text(f"raise ValueError({HOSTILE!r})")
    say("list", "--plugin", tmp_path / "plugin.py", code=2)


LONG = "x" * 300
AWFUL = {
    "long": LONG, "long path": f"{LONG}/{LONG}", "long home": f"~nobody/{LONG}", "no home": "~nobody-at-all/x",
    "deep": "x/" * 3000 + "x", "nul": "nul\0l", "below a file": "/dev/null/x", "empty": "",
}  # fmt: skip


@pytest.mark.parametrize("name", AWFUL.values(), ids=AWFUL)
def test_that_no_file_system_takes(name, trained_run, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    yaml = f"{name}.yaml"
    commands = [
        ["--exp", name], ["--exp", yaml], ["--resume", name], ["list", "--plugin", name], ["list", "--plugin", f"{name}.py"],
        ["--exp", "voc_an", "--set", f"dataset.root={name}"], ["--exp", "folder_an", "--set", f"dataset.root={name}"],
        ["--exp", "nuswide_an", "--set", f"dataset.root={name}"], ["--exp", "coco_an", "--set", f"dataset.root={name}"],
        ["--exp", "voc_an", "--set", f"dataset.root={tmp_path}", f"dataset.arrays={name}"],
        ["--exp", "digits_an", "--set", *runs.FAST, "model=resnet50", f"model.weights={name}"],
        ["show", "--exp", yaml], ["show", "--exp", "digits_an", "--diff", name], ["prepare", "voc", "--root", name],
        ["prepare", "folder", "--root", name], ["prepare", "coco", "--root", name], ["prepare", "cub", "--root", name],
        ["prepare", "nuswide", "--root", name], ["eval", name], ["eval", name, "--exp", "digits_an"],
        ["predict", name, str(tmp_path), "-o", "s.csv"], ["predict", str(trained_run), name, "-o", "s.csv"],
        ["export", name, "-o", "out"], ["label", "--exp", "digits_gpr", "-o", f"{name}.csv"],
        ["compare", name], ["report", name], ["sync", name], ["watch", name], ["suite", name, "--dataset", "digits"],
        ["suite", yaml, "--dataset", "digits"], ["suite", "losses", "--dataset", name], ["sweep", "run", name],
        ["sweep", "run", yaml], ["sweep", "show", name], ["sweep", "best", name], ["sweep", "dashboard", name],
        ["sweep", "run", "digits_eta", "--new-study-from", name or "none", "--name", "other", "--trials", "1"],
        ["cache", "clear", name], ["cache", "build", "--exp", name],
    ]  # fmt: skip
    if name:
        commands += [
            ["sweep", "run", "digits_eta", "--name", name],
            ["sweep", "show", "digits_eta", "--storage", name], ["sweep", "show", "digits_eta", "--storage", f"sqlite:///{name}"],
            ["eval", str(trained_run), "-o", f"{trained_run}/summary.json/{name}"],
            ["export", str(trained_run), "-o", f"{name}/{LONG}"], ["report", str(trained_run), "-o", f"{name}/{LONG}"],
            ["predict", str(trained_run), str(tmp_path), "-o", f"{name}/{LONG}.csv"],
        ]  # fmt: skip
    wrong = []
    for words in commands:
        try:
            code = main(words)
        except SystemExit as usage:
            code = usage.code
        except Exception as error:
            code = repr(error)
        out, err = capfd.readouterr()
        if code not in (1, 2) or "error: " not in err or "Traceback" in err or not is_harmless(out + err):
            wrong.append((words, code, out, err))
    assert wrong == []


@pytest.mark.parametrize("variable", ["AEVLP_RUNS", "AEVLP_CACHE", "AEVLP_DATA", "AEVLP_STORAGE"])
@pytest.mark.parametrize("name", [LONG, f"~nobody-at-all/{LONG}", "/dev/null/x"])
def test_of_a_root_in_the_environment(variable, name, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(variable, name)
    commands = {
        "AEVLP_RUNS": [["--exp", "digits_an", "--set", *runs.FAST], ["--resume", "latest"], ["report"], ["compare", "x"],
                       ["sync", "x"],
                       ["sweep", "run", "digits_eta", "--trials", "1", "--in-process"], ["sweep", "show", "x"],
                       ["suite", "losses", "--dataset", "digits", "--seeds", "1"]],
        "AEVLP_CACHE": [["cache", "clear", "x"]],
        "AEVLP_DATA": [["--exp", "voc_an"], ["--exp", "folder_an"]],
        "AEVLP_STORAGE": [["sweep", "show", "digits_eta"], ["sweep", "run", "digits_eta", "--trials", "1"]],
    }[variable]  # fmt: skip
    wrong = []
    for words in commands:
        try:
            code = main(words)
        except Exception as error:
            code = repr(error)
        err = capfd.readouterr().err
        if code not in (1, 2) or "error: " not in err or "Traceback" in err:
            wrong.append((words, code, err))
    assert wrong == []
