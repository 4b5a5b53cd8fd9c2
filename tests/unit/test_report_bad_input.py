"""Reports of runs that are unfinished, damaged, old, renamed, huge or hostile: shown with their state, never a crash."""

import csv
import io
import json
import re
import shutil

import numpy as np
import pytest

from aevlp.cli import main
from aevlp.reporting import report
from aevlp.reporting.budget import embedded
from aevlp.reporting.page import render
from aevlp.reporting.report import report_data

HOSTILE = ["</script><script>alert(1)</script>", "😀 <b>&amp;", "\u202eevil", '=HYPERLINK("x")', "line\u2028break"]
CONFIG = "name: {name}\nschema_version: {version}\nseed: {seed}\nloss:\n  name: {name}\ntrainer:\n  epochs: 2\n"


@pytest.fixture
def run(tmp_path):
    """Make a run folder by hand: `summary=None` for a run that was cut off, `classes` for the names in per_class.csv."""

    def make(name="gpr", seed=0, *, test_map=90.0, classes=("a", "b"), summary=True, version=1, root="runs", folder=None):
        path = tmp_path / root / (folder or f"{name}-{seed}")
        path.mkdir(parents=True)
        (path / "config.yaml").write_text(CONFIG.format(name=name, seed=seed, version=version))
        rows = [
            {"trainer/step": 2 * e, "trainer/epoch": e, "train/loss": 1 / e, "val/mAP": 40.0 + e, "perf/images_per_second": 10.0}
            for e in (1, 2)
        ]
        (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        (path / "environment.json").write_text('{"python": "3.11", "git": {"commit": "abcdef0123456789", "dirty": false}}')
        if summary:
            values = {"state": "finished", "experiment": name, "seed": seed, "config_hash": name * 3, "test/mAP": test_map}
            (path / "summary.json").write_text(json.dumps(values))
            text = io.StringIO()
            csv.writer(text).writerows([["class", "test_AP", "test_positives"], *([one, "50.0", "3"] for one in classes)])
            (path / "per_class.csv").write_text(text.getvalue(), encoding="utf-8")
        return path

    return make


def data_of(page):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)[1])


def entry(data, name):
    return next(run for run in data["runs"] if run["name"] == name)


def test_unfinished_damaged_and_old_runs_appear_with_what_is_missing(run):
    good = run()
    run("cut", summary=False)
    (run("torn", summary=False) / "metrics.jsonl").write_text('{"train/loss": 1\n{"train/loss": 2}\n')
    (run("broken") / "summary.json").write_text("{not json")
    (run("yaml") / "config.yaml").write_text("a: [")
    run("old", version=0)
    for name in ("config.yaml", "environment.json", "per_class.csv"):
        (run("bare", folder=f"without-{name}") / name).unlink()
    (run("binary") / "per_class.csv").write_bytes(b"\xff\xfe\x00class")
    data = report_data([good.parent])
    assert entry(data, "gpr-0")["state"] == "finished"
    cut = entry(data, "cut-0")
    assert (cut["state"], cut["problems"][0]) == ("unfinished", "not finished: 2 of 2 epochs")
    assert cut["curves"]["train/loss"] == [1.0, 0.5]
    assert entry(data, "torn-0")["state"] == entry(data, "broken-0")["state"] == "damaged"
    assert any("summary.json cannot be read" in line for line in entry(data, "broken-0")["problems"])
    assert any("config.yaml cannot be read" in line for line in entry(data, "yaml-0")["problems"])
    assert any("layout version 0, this is 1" in line for line in entry(data, "old-0")["problems"])
    assert any("per_class.csv cannot be read" in line for line in entry(data, "binary-0")["problems"])
    for name in ("config.yaml", "environment.json", "per_class.csv"):
        assert any(name in line for line in entry(data, f"without-{name}")["problems"])
    assert data_of(render(data)) == json.loads(json.dumps(data))


def test_text_of_a_run_never_becomes_markup(run):
    folder = run(classes=HOSTILE)
    (folder / "environment.json").write_text(json.dumps({"python": HOSTILE[0], "command": HOSTILE}))
    page = render(report_data([folder]))
    assert page.count("<script") == page.count("</script>") == 2  # the data and the page's own
    assert "alert(1)</script>" not in page
    assert "\u2028" not in page
    assert list(data_of(page)["runs"][0]["classes"]) == data_of(page)["runs"][0]["class_names"] == HOSTILE
    assert "unsafe-inline" not in page


@pytest.mark.parametrize("text", [*HOSTILE, "<!--", "]]>", "\u2029", "&lt;"])
def test_embedded_json_is_ascii_without_markup(text):
    packed = embedded({text: text})
    assert packed.isascii()
    assert not set("<>&") & set(packed)
    assert json.loads(packed) == {text: text}


def test_two_runs_of_one_id_are_told_apart_and_one_folder_counts_once(run, tmp_path):
    first, second = run(root="one", test_map=90.0), run(root="two", test_map=80.0)
    data = report_data([first, first.parent, second])
    assert sorted(run["name"] for run in data["runs"]) == ["one/gpr-0", "two/gpr-0"]
    assert data["groups"][0]["seeds"] == [0]
    assert sum("counts instead" in " ".join(run["problems"]) for run in data["runs"]) == 1


def test_empty_folders_are_said_and_nothing_at_all_is_an_error(run, tmp_path, capsys):
    good = run()
    (good.parent / "empty").mkdir()
    assert report_data([good.parent])["notes"] == ["empty: holds no file of a run"]
    shutil.rmtree(good)
    target = tmp_path / "report.html"
    assert main(["report", str(good.parent), "-o", str(target)]) == 2
    assert "there is no run in" in capsys.readouterr().err
    assert main(["report", "nowhere", "-o", str(target)]) == 2
    assert not target.exists()


def test_a_page_that_cannot_be_written_is_an_error_and_leaves_nothing(run, tmp_path, capsys):
    assert main(["report", str(run()), "-o", str(tmp_path / "absent" / "report.html")]) == 2
    assert "there is no folder" in capsys.readouterr().err


def test_numbers_that_are_none_do_not_reach_the_page(run):
    folder = run()
    (folder / "summary.json").write_text(
        '{"state": "finished", "experiment": "gpr", "seed": 0, "config_hash": "x", "test/mAP": NaN}'
    )
    (folder / "metrics.jsonl").write_text('{"trainer/epoch": 1, "train/loss": Infinity}\n')
    data = data_of(render(report_data([folder])))
    assert data["runs"][0]["curves"]["train/loss"] == [None]


def test_a_thousand_classes_fit_and_what_does_not_fit_is_left_out_and_said(run, monkeypatch):
    names = [f"class {i}" for i in range(1000)]
    folders = [run(name, classes=names, test_map=value) for name, value in (("best", 90.0), ("next", 80.0), ("last", 70.0))]
    rng = np.random.default_rng(0)
    for folder in folders:
        np.savez(folder / "val_scores.npz", logits=rng.normal(size=(50, 1000)), targets=rng.random((50, 1000)) < 0.01)
    data = report_data(folders)
    assert len(render(data)) < 5_000_000
    assert len(data["groups"][0]["scored"]["shown"]) == 40
    monkeypatch.setattr(report, "MAX_BYTES", report.RESERVED_BYTES + 1_000_000)
    small = report_data(folders)
    assert [group["scored"] is not None for group in small["groups"]] == [True, False, False]
    assert "thresholds left out 2 times, first of next" in " ".join(small["notes"])


def test_an_unknown_baseline_is_an_error_with_the_near_name(run, tmp_path, capsys):
    assert main(["report", str(run()), "-o", str(tmp_path / "r.html"), "--baseline", "gpp"]) == 2
    assert "did you mean 'gpr'" in capsys.readouterr().err


def test_classes_of_an_unfinished_run_have_their_names(run, tmp_path):
    for name, content in (("cut", '["cat", "dog"]'), ("torn", '["cat"'), ("odd", '{"cat": 1}')):
        (run(name, summary=False) / "classes.json").write_text(content)
    data = report_data([tmp_path / "runs"])
    assert [entry(data, name)["class_names"] for name in ("cut-0", "torn-0", "odd-0")] == [["cat", "dog"], [], []]
    told = [name for name in ("cut", "torn", "odd") if "classes.json cannot" in " ".join(entry(data, f"{name}-0")["problems"])]
    assert told == ["torn", "odd"]
