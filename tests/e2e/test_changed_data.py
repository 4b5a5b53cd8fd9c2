"""A table that was edited under its path: nothing trained before passes for a run on it, whatever the command."""

from __future__ import annotations

import json
import shutil

import pytest
import small_runs as runs
import suite_runs as suites
import sweep_runs as sweeps
from miniatures import make_folder

import aevlp
from aevlp.cli import main
from aevlp.config import registry, settings
from aevlp.config.schema import SPEED_AND_METERS
from aevlp.data.formats.folder import FolderConfig
from aevlp.reporting.report import report_data
from aevlp.runs.folder import RunFolder, runs_root

SETS = (
    "model=small_cnn", "dataset.image_size=32", "trainer.batch_size=4", "trainer.epochs=1", "trainer.precision=fp32",
    "trainer.num_workers=0", "trainer.channels_last=false", "trainer.threads=1", "trainer.patience=null", "tracking.mode=off",
)  # fmt: skip
CHANGE = "5 training images instead of 10, 1 validation images instead of 2"


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Folder of 12 training photos, two of which validate, and 4 test photos; found by $AEVLP_DATA."""
    monkeypatch.setenv("AEVLP_DATA", str(tmp_path / "data"))
    return make_folder(tmp_path / "data" / "folder", train=12, test=4)


@pytest.fixture
def table(photos):
    """Write the whole table, or the half of its training rows."""
    path = photos / "labels.csv"
    lines = path.read_text().splitlines()

    def write(half=False):
        path.write_text("\n".join(lines[:7] + lines[13:] if half else lines) + "\n")

    return write


@pytest.fixture
def run(photos):
    """Folder of a finished run."""
    return aevlp.train(aevlp.load_experiment("folder_an", SETS)).run_dir


def forget_data(run):
    """Make a run what an older version left."""
    (run / "data.json").unlink()
    summary = json.loads((run / "summary.json").read_text())
    del summary["data_fingerprint"]
    (run / "summary.json").write_text(json.dumps(summary))


def files(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def suite(tmp_path, monkeypatch):
    """Run a suite of one row with further words; returns the exit code. `.began` are the runs begun."""
    processes = suites.InThisProcess(monkeypatch)
    path = suites.write(tmp_path, "rows: {AN: an}\n")

    def command(*words):
        return main(["suite", path, "--dataset", "folder", "--seeds", "1", *words, "--set", *SETS])

    command.began = processes.began
    return command


def test_a_suite_trains_again_on_an_edited_table_and_the_results_are_told_apart(suite, table, photos, tmp_path, capsys):
    assert suite() == 0
    table(half=True)
    capsys.readouterr()
    assert suite() == 0
    said = capsys.readouterr().out
    whole, half = (path.parent for path in sorted(runs_root().glob("*/config.yaml"), key=lambda path: path.stat().st_mtime_ns))
    reverse = "10 training images instead of 5, 2 validation images instead of 1"
    assert f"1 run of these settings: on other data, {reverse}; not taken\n" in said
    assert "finished before" not in said
    assert len(suite.began) == 2
    assert suite("--table", "--json") == 0
    assert json.loads(capsys.readouterr().out)["rows"][0]["runs"] == [half.name]

    assert main(["compare", str(runs_root())]) == 0
    said = capsys.readouterr().out
    titles = ["folder, 10 training, 2 validation, 4 test images", "folder, 5 training, 1 validation, 4 test images"]
    assert all(said.splitlines().count(title) == 1 for title in titles)
    assert "against" not in said  # no difference between figures of other images
    report = report_data([runs_root()])
    assert sorted(table["title"] for table in report["tables"]) == titles
    assert [len(table["groups"]) for table in report["tables"]] == [1, 1]
    assert [group["seeds"] for group in report["groups"]] == [[0], [0]]
    assert not any("a later run" in problem for run in report["runs"] for problem in run["problems"])

    table()
    assert suite() == 0
    assert "1 of 1 runs have finished before" in capsys.readouterr().out
    assert suite("--table", "--json") == 0
    assert json.loads(capsys.readouterr().out)["rows"][0]["runs"] == [whole.name]
    assert len(suite.began) == 2


def test_without_the_data_a_suite_trains_nothing_and_still_shows_its_table(suite, table, photos, capsys):
    assert suite() == 0
    shutil.rmtree(photos)
    capsys.readouterr()
    assert suite() == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: {photos}: there is no such folder")
    assert suite("--table") == 0
    said = capsys.readouterr().out
    assert f"the data cannot be read here, so runs on any data are taken: {photos}: there is no such folder" in said
    assert "AN" in said
    assert len(suite.began) == 1


def test_a_table_of_runs_on_different_data_says_so(photos, table, tmp_path, monkeypatch, capsys):
    suites.InThisProcess(monkeypatch)
    path = suites.write(tmp_path, "rows: {AN: an, Full labels: bce}\n")
    words = ["suite", path, "--dataset", "folder", "--set", *SETS, "--seeds"]
    assert main([*words, "1", "--rows", "AN"]) == 0
    table(half=True)
    assert main([*words, "1", "--rows", "Full labels"]) == 0
    shutil.rmtree(photos)
    capsys.readouterr()
    assert main([*words, "1", "--table"]) == 0
    said = capsys.readouterr().out
    # That full labels are observed by configuration is no difference.
    assert f"Full labels (seed 0): other data than AN (seed 0): {CHANGE}\n" in said


def test_resume_on_changed_data_is_refused_before_anything_is_written(run, table, capsys):
    before = files(run)
    table(half=True)
    capsys.readouterr()
    assert main(["--resume", str(run), "--set", "trainer.epochs=2"]) == 2
    error = capsys.readouterr().err
    assert error == (f"error: {run.name}: its data have changed since it was begun: {CHANGE}; restore them, or start a new run\n")
    assert files(run) == before
    table()
    assert main(["--resume", str(run), "--set", "trainer.epochs=2"]) == 0
    assert len(runs.epoch_rows(run)) == 2


def test_a_run_goes_on_where_its_data_lie_elsewhere(run, photos, tmp_path, monkeypatch):
    photos.parent.rename(tmp_path / "moved")
    monkeypatch.setenv("AEVLP_DATA", str(tmp_path / "moved"))
    assert main(["--resume", str(run), "--set", "trainer.epochs=2"]) == 0


def test_eval_says_that_the_data_are_others(run, table, capsys):
    assert main(["eval", str(run)]) == 0
    assert "not the data" not in capsys.readouterr().out
    table(half=True)
    assert main(["eval", str(run)]) == 0
    assert f"these are not the data that the run was trained on: {CHANGE}\n" in capsys.readouterr().out


def test_runs_of_an_older_version_stay_among_themselves(suite, run, capsys):
    assert suite() == 0
    assert "1 of 1 runs have finished before" in capsys.readouterr().out
    forget_data(run)
    assert suite() == 0
    said = capsys.readouterr().out
    assert "1 run of these settings: an older version began it and did not write down on what data; not taken\n" in said
    assert len(suite.began) == 1
    assert main(["compare", str(runs_root())]) == 0
    said = capsys.readouterr().out
    assert {"folder, unknown data", "folder, 10 training, 2 validation, 4 test images"} <= set(said.splitlines())
    assert "against" not in said
    for folder in runs_root().glob("folder_an-*"):
        if folder != run:
            shutil.rmtree(folder)
    assert main(["compare", str(runs_root())]) == 0
    said = capsys.readouterr().out
    assert "unknown data" not in said  # there is nothing to tell it from
    assert main(["--resume", str(run), "--set", "trainer.epochs=2"]) == 0
    assert "an older version began this run and did not write down on what data" in capsys.readouterr().out
    assert not (run / "data.json").exists()
    assert json.loads((run / "summary.json").read_text())["data_fingerprint"] is None


def test_a_study_goes_on_only_on_the_data_it_was_begun_on(photos, table, tmp_path, capsys):
    text = f"""base: folder_an
set: [{", ".join(SETS)}]
space: {{trainer.learning_rate: {{float: [0.0001, 0.01], log: true}}}}
sampler: random
pruner: none
"""
    study = sweeps.write(tmp_path, text)
    assert sweeps.run(study, "--trials", "1") == 0
    table(half=True)
    capsys.readouterr()
    assert sweeps.run(study, "--trials", "2") == 2
    error = capsys.readouterr().err
    assert error == (f"error: study tiny: its data have changed since it was begun: {CHANGE}; restore them, or give --name NEW\n")
    assert sweeps.run(study, "--trials", "2", "--name", "new", "--new-study-from", "tiny") == 2
    assert capsys.readouterr().err == (
        f"error: --new-study-from tiny: it was begun on other data, so no trial fits; here are {CHANGE}\n"
    )
    assert not (runs_root() / "sweeps" / "new").exists()
    assert sweeps.states() == ["COMPLETE"]
    table()
    assert sweeps.run(study, "--trials", "2") == 0
    assert sweeps.states() == ["COMPLETE"] * 2
    mark = sweeps.load().user_attrs["aevlp"]
    sweeps.load().set_user_attr("aevlp", {key: value for key, value in mark.items() if key != "data"})
    capsys.readouterr()
    assert sweeps.run(study, "--trials", "2") == 0
    assert "an older version began study tiny and did not write down on what data" in capsys.readouterr().out
    shutil.rmtree(photos)
    assert sweeps.run(study, "--name", "other", "--trials", "1") == 1
    assert not (runs_root() / "sweeps" / "other").exists()


@pytest.fixture(scope="module")
def labeled():
    """Train with pseudo-labels and further words; returns what must not hang on meters and speed."""
    words = (
        "labeler=damp", "labeler.encoder.source=bundled", "labeler.label_graph.enabled=false", "labeler.grid=2", "loss=gpr",
        "dataset.flip=true", "trainer.threads=1", "trainer.epochs=1", "trainer.evaluate_labeler=false",
    )  # fmt: skip

    def train(*more):
        result = aevlp.train(runs.config(*words, *more))
        outcome = runs.outcome(result.run_dir)
        return result.summary, {key: outcome[key] for key in ("weights", "task", "progress", "arrays", "per_class")}

    return train


def test_what_the_hash_leaves_out_changes_no_bit_of_a_run(labeled, monkeypatch, tmp_path):
    changes = {
        "trainer.threads": 1, "trainer.num_workers": 0, "trainer.image_cache": "ram", "trainer.image_cache_mb": 1,
        "trainer.log_every": 3, "trainer.eval_batch_size": 7, "trainer.evaluate_labeler": True,
        "trainer.stop_signals": [], "labeler.encoder.batch_size": 7, "labeler.encoder.cache": False,
        "labeler.encoder.workers": 0, "labeler.table_mb": 1,
    }  # fmt: skip
    assert set(changes) == {path for path in SPEED_AND_METERS if not path.startswith("model.")}  # of a head on features
    summary, before = labeled()
    monkeypatch.setenv("AEVLP_CACHE", str(tmp_path / "empty"))  # so that views are encoded, in batches of that size
    for words in ([f"{path}={json.dumps(value)}" for path, value in changes.items()], ["trainer.evaluate_labeler=true"]):
        other, after = labeled(*words)
        assert other["config_hash"] == summary["config_hash"]
        assert other["data_fingerprint"] == summary["data_fingerprint"]
        assert runs.differences(after, before) == []
        assert other["val/labeler_mAP"] is not None


def test_data_that_were_moved_are_found_and_the_run_stays_a_repetition(photos, table, tmp_path, capsys):
    run = aevlp.train(aevlp.load_experiment("folder_an", (*SETS, f"dataset.root={photos}"))).run_dir
    before = json.loads((run / "summary.json").read_text())["config_hash"]
    moved = photos.rename(tmp_path / "moved")
    resumed = ["--resume", run.name, "--set", "trainer.epochs=2"]
    assert main(resumed) == 1
    assert "there is no such folder (dataset.root)" in capsys.readouterr().err
    assert main([*resumed, f"dataset.root={moved}"]) == 0
    config = aevlp.load_experiment(str(run / "config.yaml"))
    assert config.dataset.root == str(moved)
    again = aevlp.train(aevlp.load_experiment("folder_an", (*SETS, f"dataset.root={moved}"))).run_dir
    assert json.loads((again / "summary.json").read_text())["config_hash"] == before


@pytest.mark.parametrize("to", ["a folder", "the variable"])
def test_a_suite_goes_on_with_a_run_whose_data_were_moved(photos, tmp_path, monkeypatch, to):
    processes = suites.InThisProcess(monkeypatch, fails=["folder_an"])
    path = suites.write(tmp_path, "rows: {AN: an}\n")
    words = ["suite", path, "--dataset", "folder", "--seeds", "1", "--set", *SETS]
    assert main([*words, f"dataset.root={photos}"]) == 1
    processes.fails = ()
    moved = photos.rename(tmp_path / "folder")
    monkeypatch.setenv("AEVLP_DATA", str(tmp_path))
    given = [f"dataset.root={moved}"] if to == "a folder" else []
    assert main([*words, *given]) == 0
    assert len(processes.began) == 2
    (run,) = runs_root().glob("folder_an-*")
    assert RunFolder(run).read_config().dataset.root == (str(moved) if given else None)


def test_where_data_cannot_be_read_a_run_on_those_of_another_place_is_none_of_the_suite(suite, photos, capsys):
    assert suite("--set", f"dataset.root={photos}") == 0
    shutil.rmtree(photos)
    assert suite("--table", "--set", f"dataset.root={photos}") == 0
    capsys.readouterr()
    assert suite("--table", "--set", "dataset.root=/elsewhere") == 2
    assert "no run of this suite has finished" in capsys.readouterr().err


def test_a_configuration_that_was_read_before_torch_trains_as_any_other(photos, monkeypatch, capsys):
    """The command line reads it then, and its settings are of stand-ins for the classes of the modules."""
    in_modules = settings._value

    def value(module, name):
        return in_modules(module, name) if module.startswith("aevlp.config") else settings._part(module).get(name)

    words = ("labeler=damp", "labeler.encoder.source=bundled", "labeler.label_graph.enabled=false", "labeler.grid=2", "loss=gpr")
    settings._part.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(settings, "_value", value)
        patch.setattr(registry, "settings", lambda kind, name: settings.settings_class(registry._module(kind, name), kind, name))
        config = aevlp.load_experiment("folder_an", SETS)
        with_encoder = runs.config(*words, "trainer.epochs=1")
    settings._part.cache_clear()
    assert not isinstance(config.dataset, FolderConfig)
    monkeypatch.setattr(RunFolder, "write_config", lambda *_: pytest.fail("config.yaml is written twice"))
    run = aevlp.train(config).run_dir
    assert f"predict {run.name} {photos} -o scores.csv" in " ".join(capsys.readouterr().out.split())
    run = aevlp.train(with_encoder).run_dir
    assert json.loads((run / "encoders.json").read_text()).keys() == {"labeler"}
