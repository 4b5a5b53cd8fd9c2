"""`report --bundle`: enough to compare, and nothing of the photos or of the machine."""

import json
import os
import shutil
import zipfile

import pytest

import aevlp
from aevlp.cli import main
from aevlp.reporting.bundle import FILES, HIDDEN, _hidden, _without_paths

SECRET = "s3cretword"


@pytest.fixture
def run(trained_run, tmp_path):
    """A copy of a finished run that tells more than it should."""
    folder = tmp_path / "private place" / trained_run.name
    shutil.copytree(trained_run, folder)
    environment = json.loads((folder / "environment.json").read_text())
    environment["command"] = [
        "run.py",
        "--exp",
        "digits_gpr",
        "--set",
        f"dataset.root={tmp_path}/private place",
        f"password={SECRET}",
    ]
    environment["git"] = {"commit": "abc", "dirty": True, "diff": "+my own idea"}
    (folder / "environment.json").write_text(json.dumps(environment))
    config = (folder / "config.yaml").read_text()
    for line, more in (("  entity: null", "  entity: our-team"), ("  notes: null", f"  notes: '{tmp_path}/x'")):
        assert line in config
        config = config.replace(line, more)
    (folder / "config.yaml").write_text(config)
    return folder


def bundle(run, tmp_path, capsys, code=0):
    """The archive as {name: bytes} and what was printed."""
    target = tmp_path / "out.zip"
    assert main(["report", str(run), "--bundle", str(target)]) == code
    said = capsys.readouterr()
    with zipfile.ZipFile(target) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}, said.out


def test_it_holds_what_a_comparison_needs_and_nothing_else(run, tmp_path, capsys):
    held, out = bundle(run, tmp_path, capsys)
    there = [name for name in FILES if (run / name).is_file()]
    assert {"config.yaml", "environment.json", "summary.json", "data.json", "metrics.jsonl", "per_class.csv"} <= set(there)
    assert list(held) == [f"{run.name}/{name}" for name in there]
    for name in there:
        assert f"{name} (1)" in out
    assert "without  photos, their names, scores and labels of single photos, weights" in out
    text = b"\n".join(held.values()).decode()
    for word in (str(tmp_path), "private", SECRET, "my own idea", "our-team", os.path.expanduser("~") + "/"):
        assert word not in text, word
    environment = json.loads(held[f"{run.name}/environment.json"])
    assert environment["git"] == {"commit": "abc", "dirty": True}
    assert environment["command"][:5] == ["run.py", "--exp", "digits_gpr", "--set", f"dataset.root={HIDDEN}"]


def test_what_was_unpacked_is_compared_and_reported_as_the_run_itself(run, tmp_path, capsys):
    held, _ = bundle(run, tmp_path, capsys)
    for name, content in held.items():
        path = tmp_path / "sent" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    tables = []
    for folder in (run.parent, tmp_path / "sent"):
        assert main(["compare", str(folder), "--json"]) == 0
        tables.append(capsys.readouterr().out.replace(str(folder), ""))
    assert tables[0] == tables[1]
    assert main(["report", str(tmp_path / "sent"), "-o", str(tmp_path / "page.html")]) == 0
    before, after = (aevlp.load_experiment(str(folder / run.name / "config.yaml")) for folder in (run.parent, tmp_path / "sent"))
    assert before.hash == after.hash


def test_what_is_damaged_is_left_out_with_a_word(run, tmp_path, capsys):
    (run / "summary.json").write_text("{not json")
    (run / "per_class.csv").unlink()
    os.mkfifo(run / "per_class.csv")
    held, out = bundle(run, tmp_path, capsys)
    assert not {f"{run.name}/summary.json", f"{run.name}/per_class.csv"} & set(held)
    notes = [line for line in out.splitlines() if line.startswith("note ")]
    assert [note.split()[1] for note in notes] == ["summary.json", "per_class.csv"]


def test_runs_called_alike_do_not_overwrite_each_other(run, tmp_path, capsys):
    shutil.copytree(run, tmp_path / "other" / run.name)
    target = tmp_path / "out.zip"
    assert main(["report", str(run), str(tmp_path / "other"), "--bundle", str(target)]) == 0
    assert "2 runs" in capsys.readouterr().out
    assert {name.split("/")[0] for name in zipfile.ZipFile(target).namelist()} == {run.name, f"{run.name}-2"}


@pytest.mark.parametrize("more", [["-o", "page.html"], ["--baseline", "digits_an"]])
def test_it_is_instead_of_the_page(more, run, tmp_path, capsys):
    assert main(["report", str(run), "--bundle", str(tmp_path / "out.zip"), *more]) == 2
    assert "--bundle: is written instead of the page" in capsys.readouterr().err
    assert not (tmp_path / "out.zip").exists()


def test_where_there_is_no_run_or_no_place(run, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert main(["report", str(tmp_path / "empty"), "--bundle", str(tmp_path / "out.zip")]) == 2
    assert main(["report", str(run), "--bundle", str(tmp_path / "absent/out.zip")]) == 2
    assert f"--bundle {tmp_path}/absent/out.zip: there is no folder" in capsys.readouterr().err
    assert not (tmp_path / "out.zip").exists()


@pytest.mark.parametrize(
    ("text", "left"),
    [
        *(
            (path, HIDDEN)
            for path in ("/data/voc", "~/x", "~anna/x", "../x/y", "./x", "C:\\Users\\a", "file:///a", "a/b/c.jpg", "a//c.jpg")
        ),
        *((f"{first}clients/acme/photos", HIDDEN) for first in (".", "@", "+", "-", "#", "(old)/")),
        ("\\\\host\\share", HIDDEN),
        ("dataset.root=/my data/voc", f"dataset.root={HIDDEN}"),
        ("--set=x=[/a/b,1]", f"--set=x={HIDDEN}"),
        ("dataset.root=clients/acme/2026/photos", f"dataset.root={HIDDEN}"),
        ("--set=dataset.root=clients/acme", f"--set=dataset.root={HIDDEN}"),
        ("--out=a/b/c", f"--out={HIDDEN}"),
        ("dataset.images=my photos/anna/x", f"dataset.images={HIDDEN}"),
        ("model.weights=lr=0.1/(old) x.pth", f"model.weights={HIDDEN}"),
        *((words, words) for words in ("km/h, m/s", "it runs 3/4 of day/night here")),
        *((f"{name}=openai/clip", f"{name}=openai/clip") for name in ("labeler.encoder.source", "--set=model.encoder.source")),
        ("labeler.prompts=a {} by day/night, in/out", "labeler.prompts=a {} by day/night, in/out"),
        *(
            (name, name)
            for name in ("openai/clip-vit-base-patch16", "V1", "https://a.b/c", "test/mAP", "3/4 of it", "tv/monitor")
        ),
        *((name, name) for name in ("", "trainer.learning_rate=1e-4", "timm:vit_base.augreg")),
    ],
)
def test_paths_are_hidden_and_names_of_models_are_not(text, left, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert _hidden(text) == left


def test_the_value_of_a_setting_of_files_is_hidden_in_a_configuration():
    config = {"dataset": {"images": "anna/2026", "known": "single"}, "labeler": {"encoder": {"source": "openai/clip"}}}
    hidden = {"dataset": {"images": HIDDEN, "known": "single"}, "labeler": {"encoder": {"source": "openai/clip"}}}
    assert _without_paths(config) == hidden


def test_a_relative_path_that_is_there_is_hidden(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("weights", "Anna Smith"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "anna.pth").touch()
        assert _hidden(f"{folder}/anna.pth") == HIDDEN
