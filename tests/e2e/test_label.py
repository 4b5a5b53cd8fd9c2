"""`label`: the labels of a run as a file, whole or not at all."""

import csv
import signal
from dataclasses import replace

import numpy as np
import pytest
import small_runs

import aevlp
from aevlp.cli import main
from aevlp.config import registry
from aevlp.config.errors import DataError
from aevlp.data.digits import CLASS_NAMES
from aevlp.inference import label as labeling
from aevlp.inference.label_file import COLUMNS, label_file
from aevlp.labelers.damp import DAMP

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
    assert capsys.readouterr().out == f"{len(rows)} pseudo-labels of 40 training images: {tmp_path}/labels.csv\n"
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
            if kind == "float32":
                assert value == pytest.approx(float(other[name]), rel=1e-5)
            else:
                assert ("" if value is None else str(value)) == other[name]


@pytest.mark.parametrize("name", ["labels.csv", "labels.parquet"])
def test_stopped_in_the_middle_leaves_nothing_and_keeps_what_was_there(tmp_path, few_at_a_time, monkeypatch, name):
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    (tmp_path / name).write_text("before")
    cosines, calls = DAMP.cosines, []

    def stop_in_the_second_chunk(self, *args, **kwargs):
        calls.append(1)
        if len(calls) == 2:
            signal.raise_signal(signal.SIGINT)
        return cosines(self, *args, **kwargs)

    monkeypatch.setattr(DAMP, "cosines", stop_in_the_second_chunk)
    assert main([*COMMAND, "-o", str(tmp_path / name)]) == 130
    assert len(calls) == 2
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == [name]
    assert (tmp_path / name).read_text() == "before"


def test_names_are_written_exactly(tmp_path):
    values = {name: [None] for name in COLUMNS} | {"image": ['=1+1,"x\udcff.jpg'], "class": ["@a\tb"], "score": [0.1234567]}
    with label_file(tmp_path / "a.csv") as append:
        append(values)
    with (tmp_path / "a.csv").open(newline="", errors="surrogateescape") as file:
        (row,) = csv.DictReader(file)
    assert (row["image"], row["class"], row["score"]) == ('=1+1,"x\udcff.jpg', "@a\tb", "0.123457")
    pytest.importorskip("pyarrow")
    with pytest.raises(DataError, match="Parquet holds only UTF-8"), label_file(tmp_path / "a.parquet") as append:
        append(values)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv"]


def test_image_without_an_observed_label_and_one_with_two(tmp_path):
    data = registry.build("datasets", small_runs.config("dataset.num_train=4").dataset)
    observed = np.zeros_like(data.train.observed)
    observed[0, [2, 5]] = 1
    found = labeling.Explained(
        *(np.array(values) for values in ([0, 1], [1, 1], [1, 1], [0.5, 0.5], [0, 0], [0.5, 0.5], [np.nan] * 2))
    )
    columns = labeling.as_columns(found, replace(data.train, observed=observed), list(CLASS_NAMES))
    assert columns["observed"] == ["two;five", ""]
    assert (columns["view"], columns["tile_row"], columns["tile_probability"]) == (["whole"] * 2, [None] * 2, [None] * 2)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--exp", "digits_an", "-o", "x.csv"], "labeler none assigns no pseudo-labels that it could explain"),
        (["--exp", "digits_gpr", "-o", "x.json"], "-o x.json: the name must end in .csv or .parquet"),
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
    assert capsys.readouterr().err == "error: .parquet needs pyarrow: pip install 'aevlp[parquet]', or name a .csv file\n"
    assert [path.name for path in tmp_path.iterdir() if path.name != "runs"] == []
