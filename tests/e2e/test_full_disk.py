"""A disk that fills up, or turns out read-only, at any write of a command: exit code 1, one line, and nothing half there."""

from __future__ import annotations

import errno
import os
import shutil
import signal
from pathlib import Path

import pytest
import small_runs as runs
import sweep_runs as sweeps
from file_effects import Effects, watched
from miniatures import MAKE

from aevlp.cli import main
from aevlp.data.prepare import prepare
from aevlp.runs.folder import runs_root

FEW = ["dataset.num_train=6", "dataset.num_val=4", "dataset.num_test=4", "labeler.grid=2", "labeler.encoder.cache=false"]
# A removal needs no space; the folder is there already; where there are no links, a name is given in another way.
NO_MATTER = ("unlink", "rmdir", "mkdir .", "link")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Runs folder of a study with one complete trial."""
    root = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AEVLP_RUNS", str(root / "runs"))
        text = sweeps.STUDY.replace("trials: 3", "trials: 1").replace("trainer.epochs=2", "trainer.epochs=1")
        assert sweeps.run(sweeps.write(root, text)) == 0
    return root / "runs"


@pytest.fixture
def command(request, tmp_path, monkeypatch, trained_run, photos):
    """Words of the command named by the parameter, and the name of what it writes in `out`."""
    name = request.param
    words, written = {
        "predict": (["predict", trained_run, photos, "-o", "out/scores.csv", "--on-bad-image", "quarantine"], "scores.csv"),
        "eval": (["eval", trained_run, "-o", "out"], "test_thresholds.csv"),
        "export": (["export", trained_run, "-o", "out/model"], "model"),
        "report": (["report", trained_run, "-o", "out/report.html"], "report.html"),
        "label": (["label", "--exp", "digits_gpr", "-o", "out/labels.csv", "--set", *FEW], "labels.csv"),
        "prepare": (["prepare", "coco", "--root", "coco", "--out", "out"], "formatted_val_labels.npy"),
        "prepare folder": (["prepare", "folder", "--root", "folder", "--out", "out"], "formatted_val_labels.npy"),
        "save": (["sweep", "best", "tiny", "--save", "out/best.yaml"], "best.yaml"),
        "csv": (["sweep", "show", "tiny", "--csv", "out/trials.csv"], "trials.csv"),
    }[name]
    monkeypatch.chdir(tmp_path)
    if name in ("save", "csv"):
        monkeypatch.setenv("AEVLP_RUNS", str(request.getfixturevalue("study")))
    for dataset in ("coco", "folder"):
        MAKE[dataset](tmp_path / dataset)
    return [str(word) for word in words], written


@pytest.fixture
def photos(tmp_path):
    """Two photos, and a file that is none."""
    from PIL import Image

    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        Image.new("RGB", (40, 40), "red").save(folder / name)
    (folder / "bad.png").write_bytes(b"")
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


COMMANDS = ["predict", "eval", "export", "report", "label", "prepare", "prepare folder", "save", "csv"]
EARLIER = {"predict": ["scores.csv", "scores.csv.quarantine.csv"], "eval": ["test_per_class.csv"], "report": ["report.html"],
           "label": ["labels.csv"], "prepare": ["quarantine.json"], "csv": ["trials.csv"]}  # fmt: skip
# What these commands write over only where they wrote it.
OWN = {"scores.csv": b"image,cat,labels\na.png,0.5,cat\n", "labels.csv": b"image,sign,view,global_probability\n",
       "scores.csv.quarantine.csv": b"image,problem\n", "report.html": b"<title>aevlp report</title>",
       "trials.csv": b"trial,state,\n"}  # fmt: skip


@pytest.mark.parametrize(("command", "name"), [(name, name) for name in COMMANDS], indirect=["command"])
def test_a_disk_full_at_any_write_leaves_all_as_it_was_or_all_new(command, name, tmp_path, capsys):
    words, written = command
    out = tmp_path / "out"

    def run(act) -> tuple[int, dict[str, bytes], list[str]]:
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        for file in EARLIER.get(name, []):
            (out / file).write_bytes(OWN.get(file, b"earlier"))
        if name == "prepare folder":  # of an earlier table, without a test split
            table = tmp_path / "folder/labels.csv"
            now = table.read_text()
            table.write_text(now.replace("test", "train"))
            prepare("folder", tmp_path / "folder", out)
            table.write_text(now)
        capsys.readouterr()
        with watched(Effects([out], act)) as effects:
            code = main(words)
        return code, content(out), effects.names

    def stop(_number, _name, _half):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    code, before, _ = run(stop)
    assert code == 1
    assert capsys.readouterr().err.endswith(f"cannot be written: {os.strerror(errno.EROFS)}" + (
        "; choose another folder with --out\n" if name.startswith("prepare") else "\n"))  # fmt: skip
    code, after, names = run(lambda *_: None)
    assert code == 0
    assert any(path.startswith(written) for path in after)
    failing = [number for number, effect in enumerate(names, start=1) if not effect.startswith(NO_MATTER)]
    assert len(failing) >= 2
    for number in failing:

        def fill(now, _name, half, number=number):
            if now == number:
                if half:
                    half()
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        code, found, _ = run(fill)
        error = capsys.readouterr().err
        assert (code, found in (before, after)) == (1, True), (names[number - 1], error, sorted(found))
        assert error.startswith("error: ") or "\nerror: " in error
        assert "No space left on device" in error
        assert "Traceback" not in error


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(("command", "name"), [(name, name) for name in ("report", "export", "prepare")], indirect=["command"])
def test_a_signal_while_something_is_written_leaves_nothing(command, name, number, tmp_path):
    words, _ = command
    (tmp_path / "out").mkdir()
    before = signal.getsignal(signal.SIGTERM)

    def act(now, effect, half):
        if effect.startswith("write") and half is not None:
            half()
            signal.raise_signal(number)

    with watched(Effects([tmp_path / "out"], act)):
        assert main(words) == 128 + number
    assert list((tmp_path / "out").iterdir()) == []
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_disk_full_as_a_run_begins_leaves_no_run(tmp_path, capsys, monkeypatch):
    def begin(act):
        shutil.rmtree(runs_root(), ignore_errors=True)
        with pytest.MonkeyPatch.context() as patch, watched(Effects([tmp_path], act)) as effects:
            runs.after_step(patch, 1, lambda: os.kill(os.getpid(), signal.SIGTERM))
            return main(["--exp", "digits_gpr", "--set", *runs.FAST]), effects.names

    code, names = begin(lambda *_: None)
    assert code == 143
    last = next(i for i, name in enumerate(names) if name.endswith("metrics.jsonl"))
    assert last > 5
    for number in range(1, last + 2):
        again = names[number - 1].startswith("mkdir runs/digits") and ".tmp-" not in names[number - 1]
        if names[number - 1].startswith(NO_MATTER) or names[number - 1].endswith(".lock") or again:
            continue

        def fill(now, _name, _half, number=number):
            if now == number:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        capsys.readouterr()
        assert begin(fill)[0] == 1, names[number - 1]
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert "No space left on device" in error
        assert len(error.splitlines()) == 1
        assert not runs_root().exists() or list(runs_root().iterdir()) == []
