"""`label`: the labels of a run as a file, whole or not at all."""

import csv
import io
import json
import signal
from dataclasses import replace
from urllib.parse import unquote

import numpy as np
import pytest
import small_runs
import torch

import aevlp
from aevlp.cli import main
from aevlp.config import registry
from aevlp.config.errors import DataError
from aevlp.data.digits import CLASS_NAMES
from aevlp.data.images import ArrayImages
from aevlp.data.table import read_table
from aevlp.inference import label as labeling
from aevlp.inference.label import COLUMNS, Labeled
from aevlp.inference.label_formats import FORMATS, Photo, labels_file
from aevlp.inference.label_summary import print_labeled
from aevlp.labelers.damp import DAMP
from aevlp.terminal import Terminal
from aevlp.vision_language.embedder import Embedder

SMALL = ["dataset.num_train=40", "dataset.num_val=8", "dataset.num_test=8", "labeler.grid=2", "labeler.negatives=on"]
COMMAND = ["label", "--exp", "digits_gpr", "--set", *SMALL]


def read_csv(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def few_at_a_time(monkeypatch):
    monkeypatch.setattr(labeling, "CHUNK", 16)


def test_labels_are_those_the_run_trains_with(tmp_path, few_at_a_time, capsys):
    run = [*small_runs.FAST[2:], *SMALL, "trainer.epochs=1"]
    pseudo = aevlp.train(aevlp.load_experiment("digits_gpr", run)).pseudo_labels
    capsys.readouterr()
    assert main([*COMMAND, "-o", str(tmp_path / "labels.csv")]) == 0
    rows = read_csv(tmp_path / "labels.csv")
    assert {row["image"] for row in rows} == {f"image {i}" for i in range(40)}
    rows = [row for row in rows if row["class"]]
    assert capsys.readouterr().out.startswith(f"{len(rows)} pseudo-labels of 40 training images: {tmp_path}/labels.csv\nclass ")
    found = np.zeros_like(pseudo)
    for row in rows:
        found[int(row["image"].removeprefix("image ")), CLASS_NAMES.index(row["class"])] = int(row["sign"])
    np.testing.assert_array_equal(found, pseudo)
    assert list(rows[0]) == list(COLUMNS)
    assert {row["view"] for row in rows if row["sign"] == "1"} == {"tile"}
    assert {row["tile_row"] for row in rows} | {row["tile_column"] for row in rows} == {"0", "1", ""}
    for row in rows:
        middle = (float(row["global_probability"]) + float(row["tile_probability"])) / 2
        assert float(row["score"]) == pytest.approx(middle, rel=1e-4)
        assert row["observed"] in CLASS_NAMES
        assert row["class"] != row["observed"]
        assert row["label"] == row["observed"] + (f"|{row['class']}" if row["sign"] == "1" else "")
        assert row["absent"] == (row["class"] if row["sign"] == "-1" else "")


def test_the_csv_is_a_table_of_the_training_photos(tmp_path, few_at_a_time):
    assert main([*COMMAND, "-o", str(tmp_path / "labels.csv")]) == 0
    data = registry.build("datasets", aevlp.load_experiment("digits_gpr", SMALL).dataset)
    expected = {f"image {i}": ({CLASS_NAMES[j] for j in np.flatnonzero(data.train.observed[i])}, set()) for i in range(40)}
    for row in read_csv(tmp_path / "labels.csv"):
        if row["class"]:
            expected[row["image"]][0 if row["sign"] == "1" else 1].add(row["class"])
    found = {row.image: (set(row.known), set(row.absent)) for row in read_table(tmp_path / "labels.csv").rows}
    assert found == expected


@pytest.mark.parametrize("words", [["labeler.encoder.cache=false"], []])
def test_where_nothing_is_kept_no_view_is_encoded_for_the_cache(tmp_path, few_at_a_time, monkeypatch, words):
    assert main([*COMMAND, "-o", str(tmp_path / "cached.csv")]) == 0
    if not words:
        monkeypatch.setattr(ArrayImages, "identity", lambda *_: None)
    encoded, encode = [], Embedder._encode
    monkeypatch.setattr(Embedder, "_encode", lambda self, batch: encoded.append(sum(map(len, batch))) or encode(self, batch))
    monkeypatch.setattr(labeling.labels_worth, "PHOTOS", 0)  # a forecast looks at some besides
    assert main([*COMMAND, *words, "-o", str(tmp_path / "labels.csv")]) == 0
    assert sum(encoded) == 40 * 5
    assert read_csv(tmp_path / "labels.csv") == read_csv(tmp_path / "cached.csv")


def test_parquet_holds_the_same_as_csv(tmp_path, few_at_a_time):
    parquet = pytest.importorskip("pyarrow.parquet")
    for name in ("labels.csv", "labels.parquet"):
        assert main([*COMMAND, "-o", str(tmp_path / name)]) == 0
    rows = parquet.read_table(tmp_path / "labels.parquet").to_pylist()
    expected = read_csv(tmp_path / "labels.csv")
    assert len(rows) == len(expected)
    for row, other in zip(rows, expected, strict=True):
        for name, kind in COLUMNS.items():
            value = row[name]
            if kind == "float32" and value is not None:
                assert value == pytest.approx(float(other[name]), rel=1e-5)
            else:
                assert ("" if value is None else str(value)) == other[name]


@pytest.mark.parametrize("name", ["labels.csv", "labels.parquet"])
def test_stopped_in_the_middle_leaves_nothing_and_keeps_what_was_there(tmp_path, few_at_a_time, monkeypatch, name):
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    before = f"{','.join(COLUMNS)}\n"  # as this command writes it
    (tmp_path / name).write_text(before)
    explained, calls = DAMP._explained, []

    def stop_in_the_second_chunk(self, *args, **kwargs):
        calls.append(1)
        if len(calls) == 2:
            signal.raise_signal(signal.SIGINT)
        return explained(self, *args, **kwargs)

    monkeypatch.setattr(DAMP, "_explained", stop_in_the_second_chunk)
    assert main([*COMMAND, "-o", str(tmp_path / name)]) == 130
    assert len(calls) == 2
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == [name]
    assert (tmp_path / name).read_text() == before


def test_names_are_written_exactly(tmp_path):
    row = ['=1+1,"x\udcff.jpg', ("@a\tb",), (), "@a\tb", 1, 0.1234567, "whole", *[None] * 4, ()]
    photos = [Photo(str(row[0]), f"/{row[0]}", {"@a\tb": 0.1234567}, [tuple(row)])]
    path = tmp_path / "a"
    for name in ("csv", "jsonl", "labelstudio", "fiftyone"):
        with labels_file(path, name, COLUMNS, ["@a\tb"]) as append:
            append(photos)
        text = path.read_text(errors="surrogateescape")
        if name == "csv":
            (read,) = csv.DictReader(text.splitlines())
            assert (read["image"], read["class"], read["score"]) == (row[0], "@a\tb", "0.123457")
        elif name == "jsonl":
            assert json.loads(text) == dict(zip(COLUMNS, [[*v] if isinstance(v, tuple) else v for v in row], strict=True)) | {
                "score": 0.123457
            }
        elif name == "labelstudio":
            (task,) = json.loads(text)
            assert unquote(task["data"]["image"], errors="surrogateescape") == f"/data/local-files/?d={row[0]}"
            assert task["predictions"][0]["result"][0]["value"] == {"choices": ["@a\tb"]}
            assert task["predictions"][0]["score"] == 0.123457
        else:
            assert json.loads(text) == {"labels": {f"/{row[0]}": [{"label": "@a\tb", "confidence": 0.123457}]}}
    pytest.importorskip("pyarrow")
    with pytest.raises(DataError, match="Parquet holds only UTF-8"), labels_file(path, "parquet", COLUMNS, []) as append:
        append(photos)


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_whole_without_a_photo(tmp_path, name):
    if not FORMATS[name].is_text:
        pytest.importorskip("pyarrow")
    with labels_file(tmp_path / "a", name, COLUMNS, []):
        pass
    if FORMATS[name].is_text:
        empty = {"csv": f"{','.join(COLUMNS)}\n", "jsonl": "", "labelstudio": "[\n]\n", "fiftyone": '{"labels": {\n}}\n'}
        assert (tmp_path / "a").read_text() == empty[name]


@pytest.mark.parametrize("name", FORMATS)
def test_a_class_whose_name_separates_labels_is_refused_where_it_would(tmp_path, name):
    if name in ("csv", "parquet"):
        with pytest.raises(DataError, match=rf"^class 'a|b' holds \|, which separates labels in {name}; take --format jsonl"):
            labels_file(tmp_path / "a", name, COLUMNS, ["a", "a|b"]).__enter__()
    else:
        with labels_file(tmp_path / "a", name, COLUMNS, ["a", "a|b"]):
            pass


def test_image_without_an_observed_label_and_one_with_two(tmp_path):
    data = registry.build("datasets", small_runs.config("dataset.num_train=4").dataset)
    observed = np.zeros(data.train.observed.shape, dtype=np.int8)
    observed[0, [2, 5]], observed[1, 3] = 1, -1
    found = labeling.Explained(
        *(torch.tensor(values) for values in ([0, 1, 1], [1, 1, 4], [1, 1, -1], [0.5] * 3, [0] * 3, [0.5] * 3, [np.nan] * 3))
    )
    photos = labeling.as_photos(found, replace(data.train, observed=observed), list(CLASS_NAMES), data.train.images)
    rows = [dict(zip(COLUMNS, row, strict=True)) for photo in photos for row in photo.rows]
    assert [row["observed"] for row in rows] == [("two", "five"), (), (), (), ()]
    assert [row["label"] for row in rows] == [("two", "five", "one"), ("one",), (), (), ()]
    assert [row["absent"] for row in rows] == [(), ("three",), ("three", "four"), (), ()]
    assert [row["view"] for row in rows] == ["whole"] * 3 + [None] * 2
    assert {row["tile_row"] for row in rows} | {row["tile_probability"] for row in rows} == {None}
    assert [photo.labels for photo in photos] == [{"two": None, "five": None, "one": 0.5}, {"one": 0.5}, {}, {}]


def labeled(assigned, known, **more):
    assigned, known = np.array(assigned), np.array(known)
    fields = {"absent": np.zeros_like(assigned), "correct": None, "notes": []} | more
    return Labeled([f"class{j}" for j in range(len(assigned))], 1000, known, assigned, **fields)


def summary(found):
    text = io.StringIO()
    print_labeled(found, Terminal(file=text, width=80, force_terminal=True, color_system=None))
    return [line.rstrip() for line in text.getvalue().splitlines()]


@pytest.mark.parametrize("flip", ["true", "false"])
def test_where_a_run_mirrors_photos_it_is_said_that_it_may_assign_others(tmp_path, flip, capsys):
    assert main([*COMMAND, f"dataset.flip={flip}", "-o", str(tmp_path / "labels.csv")]) == 0
    last = " ".join(capsys.readouterr().out.split())[-200:]
    assert ("a run mirrors each by chance in each epoch, so it may assign a few more or fewer" in last) == (flip == "true")


def test_the_summary_begins_with_what_is_assigned_most_beyond_what_is_known():
    lines = summary(labeled([600, 637, 0, 60, 0], [300, 12, 40, 0, 0]))
    assert lines[0].split() == ["class", "assigned", "known", "share", "%"]
    assert [line.split()[0] for line in lines[1:6]] == ["class3", "class1", "class0", "class4", "class2"]
    assert lines[2].split() == ["class1", "637", "12", "63.7"]
    assert (
        " ".join(lines[6:]).split()
        == (
            "far beyond what is known, so look at these before you train: class3 assigned to 60 photos, known in 0; "
            "class1 assigned to 637 photos, known in 12"
        ).split()
    )


def test_the_summary_of_many_classes_fits_the_screen():
    found = labeled(np.arange(80), np.full(80, 9), correct=np.arange(80) // 2, absent=np.ones(80, dtype=int))
    lines = summary(found)
    assert len(lines) == 13
    assert lines[0].split() == ["class", "assigned", "known", "share", "%", "precision", "%", "absent"]
    assert lines[1].split() == ["class79", "79", "9", "7.9", "49.4", "1"]
    assert lines[12] == "... 69 more"
    assert max(map(len, lines)) <= 80


def test_a_precision_of_nothing_is_not_known():
    assert summary(labeled([0], [3], correct=np.array([0])))[1].split() == ["class0", "0", "3", "0.0", "–"]  # noqa: RUF001


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--exp", "digits_an", "-o", "x.csv"], "labeler none assigns no pseudo-labels that it could explain"),
        (
            ["--exp", "digits_gpr", "-o", "x.txt"],
            "-o x.txt: the name must end in .csv, .json, .jsonl, .parquet; or say --format csv|",
        ),
        (
            ["--exp", "digits_gpr", "-o", "x.json"],
            "several programs read .json; say which it is for: --format labelstudio|fiftyone",
        ),
        (["--exp", "digits_gpr", "-o", "-", "--format", "parquet"], "-o -: parquet is no text; name a file"),
        (["--exp", "digits_gpr", "-o", "absent/x.csv"], "-o absent/x.csv: there is no folder absent; make it first"),
        (["-o", "x.csv"], "give --exp NAME whose images to label"),
    ],
)
def test_a_wrong_command_says_what_is_wrong(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    assert main(["label", *words]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_parquet_without_pyarrow_says_how_to_install_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    assert main([*COMMAND, "-o", str(tmp_path / "x.parquet")]) == 1
    assert capsys.readouterr().err == "error: Parquet needs pyarrow: pip install 'aevlp[parquet]', or name a .csv file\n"
    assert [path.name for path in tmp_path.iterdir() if path.name != "runs"] == []


def test_on_standard_output_there_is_nothing_but_the_labels(tmp_path, few_at_a_time, capsys):
    assert main([*COMMAND, "-o", str(tmp_path / "labels.csv")]) == 0
    told = capsys.readouterr()
    assert main([*COMMAND, "-o", "-"]) == 0
    out, err = capsys.readouterr()
    assert out == (tmp_path / "labels.csv").read_text()
    assert err.endswith(told.out.replace(f": {tmp_path}/labels.csv", ""))


def test_a_run_is_labelled_as_its_configuration(small, tmp_path, capsys):
    run = aevlp.train(aevlp.load_experiment("digits_gpr", [*small, "dataset.image_size=32", "trainer.epochs=1"])).run_dir
    files = []
    for i, words in enumerate(([str(run)], ["latest"], ["--exp", str(run / "config.yaml")])):
        assert main(["label", *words, "-o", str(tmp_path / f"{i}.csv")]) == 0
        files.append((tmp_path / f"{i}.csv").read_bytes())
    assert files[0] == files[1] == files[2]
    assert capsys.readouterr().err.count(f"latest is {run.name}\n") == 1
    assert main(["label", str(run), "--exp", "digits_gpr", "-o", str(tmp_path / "x.csv")]) == 2
    assert capsys.readouterr().err.endswith("knows its own; give one of the two\n")


def test_the_labels_of_all_shards_in_their_order_are_those_of_the_whole(tmp_path, monkeypatch, few_at_a_time, capsys):
    monkeypatch.setattr("aevlp.vision_language.shards.ROWS", 8)
    shards, encoded = [], []
    encode = DAMP.encode

    def counted(self, dataset, flip, progress=None, rows=None):
        encode(self, dataset, flip, progress, rows)
        encoded.append(self.num_images_encoded)

    monkeypatch.setattr(DAMP, "encode", counted)
    for number in range(3):
        path = tmp_path / f"{number}.csv"
        assert main([*COMMAND, "-o", str(path), "--shard", f"{number}/3"]) == 0
        shards.append(read_csv(path))
        images = len({row["image"] for row in shards[-1]})
        assert f" pseudo-labels of {images} training images of shard {number}/3: {path}" in capsys.readouterr().out
    assert main([*COMMAND, "-o", str(tmp_path / "whole.csv")]) == 0
    assert [row for rows in shards for row in rows] == read_csv(tmp_path / "whole.csv")
    assert encoded == [5 * 8, 5 * 16, 5 * 16, 0]


def test_of_more_shards_than_chunks_some_are_empty_and_say_so(tmp_path, capsys):
    for number, count in ((0, 0), (1, 40)):
        path = tmp_path / f"{number}.csv"
        assert main([*COMMAND, "-o", str(path), "--shard", f"{number}/2"]) == 0
        assert f" of {count} training images of shard {number}/2" in capsys.readouterr().out
        assert len({row["image"] for row in read_csv(path)}) == count
