"""A file that a command would write over is one that it wrote: tables, answers and pages of others stay as they are."""

import json
import zipfile

import numpy as np
import pytest

from aevlp.cli import main
from aevlp.config.errors import ConfigError
from aevlp.inference.label import COLUMNS
from aevlp.inference.label_files import is_own
from aevlp.inference.label_formats import FORMATS, Photo, labels_file
from aevlp.inference.predict import _columns, _photo
from aevlp.reporting.html import html_page, require_page
from aevlp.review.simulate import MARK, is_simulated

NAME = "a\udcff\n.jpg"  # bytes that are no text, in a name of two lines
ONE_ROW = (NAME, ("cat",), (), "dog", 1, 0.5, "whole", None, None, 0.5, None, ("cat",))
WRITTEN = {
    "predict": (_columns(["cat", "split"]), [_photo(NAME, ["cat", "split"], np.array([0.0, 1.0]), np.array([True, False]))]),
    "label": (COLUMNS, [Photo(NAME, NAME, {"cat": None}, [ONE_ROW])]),
    "label, of no photo": (COLUMNS, []),
}


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("verb", WRITTEN)
def test_what_predict_and_label_wrote_is_theirs_in_every_format(form, verb, tmp_path):
    columns, photos = WRITTEN[verb]
    if form == "parquet":
        pytest.importorskip("pyarrow")  # it holds UTF-8 alone
        photos = [Photo("a.jpg", "a.jpg", one.labels, [("a.jpg", *one.rows[0][1:])]) for one in photos]
    with labels_file(tmp_path / "a", form, columns, ["cat", "split"]) as append:
        append(photos)
    assert (tmp_path / "a").stat().st_size == 0 or is_own(tmp_path / "a")


THEIRS = {
    "labels.csv": "image,label\n1.jpg,cat\n",
    "all.csv": "image,label,absent,labels,split\n1.jpg,cat,,,\n",
    "more.csv": "image,note,labels\n1.jpg,blurred,cat\n",
    "german.csv": "\ufeffimage;label\r\n1.jpg;cat\r\n",
    "answers.csv": "image,class,answer,split,source\n1.jpg,cat,yes,,20261128-093000-folder_gpr\n",
    "tasks.json": json.dumps([{"id": 1, "data": {"image": "1.jpg"}, "predictions": [{"model_version": "aevlp"}]}]),
    "coco.json": json.dumps({"images": [], "labels": {}}, indent=1),
    "labels.jsonl": '{"image": "1.jpg", "note": "blurred", "labels": ["cat"]}\n',
    "cut.jsonl": '{"image": "1.jpg", ',
    "folds.csv": "image,fold,labels\n0.jpg,0,\n1.jpg,1,cat\n",
    "rated.jsonl": '{"image": "1.jpg", "rating": 0.5, "labels": ["cat"]}\n',
    "lists.jsonl": '{"image": "1.jpg", "cat": 0.5, "labels": []}\n[1]\n',
    "nested.jsonl": '{"image": "1.jpg", "cat": 0.5, "labels": [{}]}\n',
    "long.csv": "image,cat,labels\n" + "1" * 2_000_000,
    "blank.csv": "\n\n",
    "cut.parquet": "PAR1",
    "photo.csv": "\x00\x01\xff\n",
    "page.html": "<!doctype html>\n<title>My photos</title>\n",
}


@pytest.fixture
def theirs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, text in THEIRS.items():
        (tmp_path / name).write_text(text, encoding="utf-8", newline="")
    with zipfile.ZipFile("photos.zip", "w") as archive:
        archive.writestr("photos/1.jpg", b"")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    yield before
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_file_of_somebody_else_is_refused_by_whatever_writes_one(theirs, trained_run, capsys):
    run = str(trained_run)

    def refused(*words):
        assert main([*words]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        return line

    stays = "so it stays as it is; give another name"
    labels = f"is there already and is no file that `predict` or `label` wrote, {stays}"
    pages = {"report": ["report", run], "review": ["review", run]}
    for name in theirs:
        if name == "cut.parquet":
            pytest.importorskip("pyarrow")
        for words in (["predict", run, ".", "--format", "csv"], ["label", run, "--format", "csv"]):
            assert refused(*words, "-o", name) == f"error: -o {name}: {labels}"
        for template, words in pages.items():
            why = "is to be a page for a browser; give a name that ends in .html"
            if name == "page.html":
                why = f"is there already and is no {template} page, {stays}"
            assert refused(*words, "-o", name) == f"error: -o {name}: {why}"
        assert refused("bench", "-o", name) == f"error: -o {name}: is there already and is no file that `bench` wrote, {stays}"
        answers = f"is there already and is no file whose answers are all marked `--simulate`, {stays}"
        assert refused("review", run, "--simulate", "-o", name) == f"error: -o {name}: {answers}"
        assert refused("report", run, "--bundle", name) == f"error: --bundle {name}: is there already and is no bundle, {stays}"


def test_what_these_commands_wrote_is_written_again(trained_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = str(trained_run)
    for words in (
        ["report", run], ["review", run, "--count", "3"], ["review", run, "--count", "3", "--simulate"],
        ["report", run, "--bundle", "runs.zip"],
    ):  # fmt: skip
        assert [main(words), main(words)] == [0, 0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["answers.csv", "report.html", "review.html", "runs.zip"]
    with (tmp_path / "answers.csv").open("a") as file:  # what a person added is no longer all ours
        file.write(f"1.jpg,cat,no,,{trained_run.name}\n")
    assert main(["review", run, "--count", "3", "--simulate"]) == 2
    assert is_simulated(tmp_path / "answers.csv") is False
    assert MARK in (tmp_path / "answers.csv").read_text()


def test_a_report_and_a_review_do_not_write_over_each_other(tmp_path):
    (tmp_path / "page.html").write_text(html_page({}, "review", ("dom", "theme", "review"), ("report", "review")))
    require_page(tmp_path / "page.html", "review")
    with pytest.raises(ConfigError, match="is no report page"):
        require_page(tmp_path / "page.html", "report")
