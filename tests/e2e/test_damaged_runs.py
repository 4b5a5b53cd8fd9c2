"""Reading a run never fails for what its folder holds: random damage of every file, through every verb that reads one.

A sample of seeded cases; `AEVLP_DAMAGE_SEEDS=1000:3000` runs those seeds instead, for whoever changes how runs are read.
"""

import json
import os
import random
import re
import shutil
import signal
import tempfile
from pathlib import Path

import damage
import numpy as np
import pytest
import small_runs
import sweep_runs
from PIL import Image

import aevlp
from aevlp.cli import main

FILES = (
    "config.yaml", "summary.json", "metrics.jsonl", "environment.json", "data.json", "per_class.csv", "pseudo_per_class.csv",
    "val_scores.npz", "pseudo_labels.npz", "samples.npz", "classes.json", ".lock",
)  # fmt: skip
BEST = "checkpoints/epoch-002"
NEEDED = ("config.yaml", "classes.json", "data.json", "val_scores.npz", "summary.json", "metrics.jsonl", "pseudo_per_class.csv",
          f"{BEST}/manifest.json", f"{BEST}/model.safetensors", f"{BEST}/state.pt", "checkpoints", BEST)  # fmt: skip
UNMISTAKABLE = ("empty", "missing", "folder", "dangling", "loop", "pipe", "device", "sparse")
first, _, last = os.environ.get("AEVLP_DAMAGE_SEEDS", "0:").partition(":")
SEEDS = range(int(first), int(last or int(first) + 1))
SECONDS = 60  # nothing here takes two


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A finished run with pseudo-labels, and a photo."""
    folder = tmp_path_factory.mktemp("whole")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(folder / "photo.png")
    words = ["labeler=damp", "labeler.encoder.source=bundled", "labeler.label_graph.enabled=false", "labeler.grid=2",
             "labeler.temperature=0.14", "labeler.threshold=0.4", "labeler.eta=0.3"]  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AEVLP_RUNS", str(folder))
        aevlp.train(small_runs.config(*words)).run_dir.rename(folder / "run")
    return folder


def copied(run, target):
    """A copy that may be damaged; the large files are links, which no damage writes through."""

    def copy(source, to):
        return (os.link if source.endswith((".pt", ".safetensors")) else shutil.copy2)(source, to)

    return shutil.copytree(run, target, symlinks=True, copy_function=copy)


def refuse(capsys, words, codes=(1, 2)):
    """Run a command that ends with one of the codes, in time, and one line for each error; returns the code and stderr."""

    def hangs(*_):
        raise AssertionError(f"{words} waits for something")

    before = signal.signal(signal.SIGALRM, hangs)
    signal.alarm(SECONDS)
    try:
        code = main([str(word) for word in words])
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    said = capsys.readouterr()
    assert code in codes, said.err
    assert "Traceback" not in said.out + said.err
    assert "\x1b" not in said.out + said.err
    if code:
        errors = [line for line in said.err.splitlines() if line.startswith("error: ")]
        assert 1 <= len(errors) <= 20
        assert all(len(line) < 1000 for line in errors)
    return code, said.err


@pytest.mark.parametrize("kind", damage.DAMAGES, ids=lambda kind: kind.__name__)
def test_a_report_and_a_comparison_show_the_others_and_mark_the_damaged_run(whole, tmp_path, capsys, kind):
    root = tmp_path / "runs"
    copied(whole / "run", root / "good")
    for seed in SEEDS:
        for name in FILES:
            kind(copied(whole / "run", root / f"damaged-{name}-{seed}") / name, random.Random(f"{kind.__name__} {name} {seed}"))
    refuse(capsys, ["compare", root], codes=(0,))
    refuse(capsys, ["compare", root, "--json"], codes=(0,))
    runs = reported(capsys, root, tmp_path)
    assert runs.keys() == {path.name for path in root.iterdir()}
    assert (runs["good"]["state"], runs["good"]["problems"]) == ("finished", [])
    for name in FILES[:-2] if kind.__name__ in UNMISTAKABLE else ():
        folder = root / f"damaged-{name}-{SEEDS[0]}"
        (alone,) = reported(capsys, folder, tmp_path).values()
        told = alone["state"] != "finished" or any(name in line for line in alone["problems"])
        # Not every run has pseudo_per_class.csv, and pseudo_labels.npz is read where it is not there.
        assert told or name in ("data.json", "pseudo_per_class.csv" if kind is damage.missing else "pseudo_labels.npz")


def reported(capsys, path, folder):
    """What a report says of each run, by name."""
    refuse(capsys, ["report", path, "-o", folder / "page.html"], codes=(0,))
    text = re.search(r'id="data">(.*?)</script>', (folder / "page.html").read_text(), re.S)[1]
    return {run["name"]: run for run in json.loads(text)["runs"]}


VERBS = {
    "eval": lambda run, folder: ["eval", run],
    "predict": lambda run, folder: ["predict", run, folder / "photo.png", "-o", run.parent / "scores.csv"],
    "export": lambda run, folder: ["export", run, "-o", run.parent / "exported"],
    "resume": lambda run, folder: ["--resume", run],
    "train on": lambda run, folder: ["--resume", run, "--set", "trainer.epochs=3"],
    "label": lambda run, folder: ["label", "--exp", run / "config.yaml", "-o", run.parent / "labels.csv"],
}


@pytest.mark.parametrize("number", range(len(damage.DAMAGES)), ids=lambda number: damage.DAMAGES[number].__name__)
def test_a_verb_that_needs_the_model_does_its_work_or_says_in_a_line_why_not(whole, tmp_path, capsys, number):
    kind, verbs = damage.DAMAGES[number], list(VERBS)
    for seed in SEEDS:
        draw = random.Random(f"{kind.__name__} {seed}")
        for turn in range(2):  # all files and verbs have their turn within a few kinds
            name, verb = NEEDED[(2 * number + turn + seed) % len(NEEDED)], verbs[(number + turn + seed) % len(verbs)]
            run = copied(whole / "run", tmp_path / f"{seed}-{turn}" / "run")
            if (run / name).is_dir() and kind.__name__ in ("flip", "cut", "swap", "sparse", "types"):
                name = f"{BEST}/manifest.json"
            kind(run / name, draw)
            refuse(capsys, VERBS[verb](run, whole), codes=(0, 1, 2))


@pytest.mark.parametrize("name", ["config.yaml", "checkpoints", f"{BEST}/manifest.json", f"{BEST}/state.pt"])
@pytest.mark.parametrize("kind", [damage.pipe, damage.loop, damage.folder], ids=lambda kind: kind.__name__)
def test_what_is_no_file_is_neither_waited_for_nor_followed(whole, tmp_path, capsys, name, kind):
    run = copied(whole / "run", tmp_path / "run")
    shutil.rmtree(run / "checkpoints" / "epoch-001")
    kind(run / name, random.Random(0))
    code, said = refuse(capsys, ["export", run, "-o", tmp_path / "exported"])
    assert code == (2 if name == "config.yaml" else 1)
    assert str(run) in said
    assert not (tmp_path / "exported").exists()


@pytest.fixture
def stranger(whole, capsys):
    """A folder of runs that this test reads as another user than the one who owns it."""
    assert main(["compare", str(whole)]) == 0  # what has yet to be imported may not be readable to others
    with tempfile.TemporaryDirectory(dir="/tmp") as root:
        os.chmod(root, 0o755)
        as_root = os.geteuid() == 0
        if as_root:
            os.seteuid(65534)
        try:
            yield Path(root), lambda: os.seteuid(0) if as_root else None, lambda: os.seteuid(65534) if as_root else None
        finally:
            if as_root:
                os.seteuid(0)


@pytest.mark.parametrize(("mode", "note"), [(0o000, "Permission denied"), (0o111, "Permission denied"), (0o444, "damaged")])
def test_a_folder_of_another_user_is_named_and_the_others_are_shown(whole, stranger, capsys, mode, note):
    root, own, other = stranger
    own()
    copied(whole / "run", root / "runs" / "good")
    closed = copied(whole / "run", root / "runs" / "closed")
    (root / "page").mkdir()
    (root / "page").chmod(0o777)
    closed.chmod(mode)
    other()
    try:
        _, said = refuse(capsys, ["compare", root / "runs", "--json"], codes=(0,))
        assert [line for line in said.splitlines() if "closed" in line and ("cannot be read" in line or "missing" in line)]
        refuse(capsys, ["report", root / "runs", "-o", root / "page" / "page.html"], codes=(0,))
        assert note in (root / "page" / "page.html").read_text()
        refuse(capsys, ["eval", closed], codes=(0, 1, 2))  # who may enter but not look around can evaluate
        refuse(capsys, ["report", closed, "-o", root / "page" / "page.html"], codes=(0, 1, 2))
    finally:
        own()
        closed.chmod(0o700)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Folder of all runs, with a finished study `tiny`."""
    root = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AEVLP_RUNS", str(root / "runs"))
        assert sweep_runs.run(sweep_runs.write(root), "--trials", "2") == 0
    return root / "runs"


@pytest.mark.parametrize("kind", damage.DAMAGES, ids=lambda kind: kind.__name__)
def test_a_damaged_study_is_shown_or_refused_in_a_line(study, tmp_path, monkeypatch, capsys, kind):
    for seed in SEEDS:
        for name in ("journal.log", "study.yaml", "base.yaml", "trials.csv"):
            root = tmp_path / f"{name}-{seed}"
            folder = shutil.copytree(study / "sweeps" / "tiny", root / "sweeps" / "tiny", ignore=lambda *_: ["trials"])
            monkeypatch.setenv("AEVLP_RUNS", str(root))
            draw = random.Random(f"{kind.__name__} {name} {seed}")
            for _ in range(4 if name == "journal.log" else 1):
                kind(folder / name, draw)
                refuse(capsys, ["sweep", "show", "tiny"], codes=(0, 1, 2))
                shutil.copy2(study / "sweeps" / "tiny" / name, root / "whole")
                damage.put(folder / name, (root / "whole").read_bytes())
            kind(folder / name, draw)
            refuse(capsys, ["report", folder, "-o", tmp_path / "page.html"], codes=(0,))
