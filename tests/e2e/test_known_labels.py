"""Photos of which not all labels are known: what a run and `eval` tell of them, and that it is called what it is."""

import csv
import json
import re
import shlex
import shutil
import signal
from dataclasses import replace

import browser
import numpy as np
import pytest
from miniatures import MAKE
from small_runs import epoch_rows, only_run

import aevlp
from aevlp.cli import main
from aevlp.config import registry
from aevlp.inference.evaluate import evaluate
from aevlp.inference.evaluation_tables import print_evaluation
from aevlp.inference.open import open_trained
from aevlp.labelers.damp import DAMP
from aevlp.metrics import mean_average_precision
from aevlp.reporting.report import report_data
from aevlp.tracking.metrics import BY_KNOWN
from aevlp.training.signals import RunStopped
from aevlp.training.task import Task

WORDS = (
    "dataset.image_size=32", "model=small_cnn", "trainer.epochs=2", "trainer.batch_size=8", "trainer.num_workers=0",
    "trainer.precision=fp32", "tracking.mode=off",
)  # fmt: skip
KNOWN = ("known_recall_1", "known_recall_3", "known_recall_5", "known_rank", "labels_per_image")


def photos(folder, known_only=("train", "val", "test"), without_green=()):
    """`labels.csv` of which the splits named tell one label a photo, and no label green in others."""
    root = MAKE["folder"](folder, train=24, test=6)
    rows = list(csv.DictReader((root / "labels.csv").open()))
    for i, row in enumerate(rows):
        row["split"] = ("train", "val", "test")[0 if i < 18 else 1 if i < 24 else 2]
        if row["split"] in without_green:
            row["labels"] = "|".join({"red", *row["labels"].split("|")} - {"green"})
            row["label"] = row["labels"].split("|")[0]
        if row["split"] in known_only:
            row["labels"] = ""
    with (root / "labels.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    return root


@pytest.fixture(scope="module")
def run(tmp_path_factory, encoder):
    """A finished run on photos with one label each, with a labeler; and what it said."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("known")
        patch.setenv("AEVLP_RUNS", str(folder / "runs"))
        patch.setenv("AEVLP_CACHE", str(folder / "cache"))
        words = [
            *WORDS,
            f"dataset.root={photos(folder / 'photos')}",
            f"labeler.encoder.source={encoder}",
            "labeler.threshold=0.2",
        ]
        return aevlp.train(aevlp.load_experiment("folder_gpr", words)).run_dir


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_epoch_is_told_by_known_labels_and_what_is_not_known_is_left_out(run):
    for row in epoch_rows(run):
        assert {f"val/{name}" for name in (*KNOWN, "mAP_observed", "mAP_classes", "agreement")} <= row.keys()
        assert row["best/val_mAP_observed"] == row["best/val_mAP"]
        assert row["pseudo/positive/count"] > 0
        assert not {"val/mAP", "pseudo/positive/precision", "pseudo/negative/count", "val/labeler_mAP"} & row.keys()
        assert None not in row.values()
    summary = json.loads((run / "summary.json").read_text())
    assert {f"test/{name}" for name in (*KNOWN, "mAP_observed", "mAP_classes", "agreement")} <= summary.keys()
    assert summary["test/mAP"] is None
    assert summary["val/mAP"] is None
    assert not (run / "per_class.csv").exists()  # which is by full labels
    with np.load(run / "test_scores.npz") as scores:
        assert mean_average_precision(scores["observed"], scores["logits"]) == summary["test/mAP_observed"]


def test_figures_beside_those_of_the_best_epoch_are_of_it_too(tmp_path, encoder, monkeypatch, capsys):
    step_of_task = Task.step

    def spoiled_at_the_end(self, batch, *, epoch, step):
        loss = step_of_task(self, batch, epoch=epoch, step=step)
        if epoch == 2:  # a model that ranks nothing, so that every known label comes last
            [weight.data.zero_() for weight in self.model.parameters()]
        return loss

    monkeypatch.setattr(Task, "step", spoiled_at_the_end)
    root = photos(tmp_path / "photos")
    words = [*WORDS, f"dataset.root={root}", f"labeler.encoder.source={encoder}", "labeler.threshold=0.2", "selection.epoch=best"]
    assert main(["--exp", "folder_gpr", "--set", *words]) == 0
    output, run = capsys.readouterr().out, only_run()
    summary = json.loads((run / "summary.json").read_text())
    first, last = epoch_rows(run)
    assert summary["best/epoch"] == 1
    assert last["val/known_rank"] == 3 > first["val/known_rank"]
    best = {name: summary[f"best/val_{name}"] for name in BY_KNOWN}
    for row in (first, last):
        assert best == {name: row[f"best/val_{name}"] for name in BY_KNOWN}
    assert best == {name: first[f"val/{name}"] for name in BY_KNOWN}
    assert best == evaluate(open_trained(str(run)), "val").known
    told = re.search(r"\n  known labels +(\S+)  % first, (\S+) in first 3, (\S+) in 5\n  mean rank +(\S+)  .*"
                     r"\n  labels an image +(\S+)  .*\n  agreement +(\S+)  ", output)  # fmt: skip
    digits = (1, 1, 1, 2, 2, 1)
    assert list(told.groups()) == [f"{value:.{places}f}" for value, places in zip(best.values(), digits, strict=True)]
    assert main(["compare", str(run), "--json"]) == 0
    metrics = json.loads(capsys.readouterr().out)["experiments"][0]["metrics"]
    assert best == {name: metrics[f"best/val_{name}"]["mean"] for name in BY_KNOWN}


def test_the_last_lines_are_commands_that_do_as_they_stand(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    root = photos(tmp_path / "my photos")
    assert main(["--exp", "folder_an", "--set", *WORDS, f"dataset.root={root}"]) == 0
    lines, run = capsys.readouterr().out.splitlines()[-3:], only_run()
    assert [line.split("  ")[0].strip() for line in lines] == ["run folder", "report", "predict"]
    for line in lines[1:]:
        words = shlex.split(line)[1:]
        assert words[:2] == ["python", "run.py"]
        assert run.name in words
        assert main(words[2:]) == 0
    assert (tmp_path / "report.html").is_file()
    assert len(read(tmp_path / "scores.csv")) == 30


def test_the_terminal_says_once_what_the_figures_are(tmp_path, encoder, capsys):
    root = photos(tmp_path / "photos")
    words = [*WORDS, f"dataset.root={root}", f"labeler.encoder.source={encoder}", "labeler.threshold=0.2"]
    assert main(["--exp", "folder_gpr", "--set", *words]) == 0
    output = capsys.readouterr().out
    told = (
        "not all labels of the validation images are known: all epochs are trained, and the last is taken; they are measured by"
    )
    assert output.count(f"{told} val mAP (known labels), a lower bound") == 1
    header = next(line for line in output.splitlines() if line.strip().startswith("epoch"))
    assert re.split(r"  +", header.strip()) == ["epoch", "loss val mAP (known labels)", "pseudo-labels", "images/s", "time"]
    assert len(header) <= 80
    assert re.search(r"\n  test mAP \(known labels\) +\d+\.\d\d  a lower bound", output)
    assert re.search(r"\n  val mAP \(known labels\) +\d+\.\d\d  at epoch 2, a lower bound", output)
    assert "best" not in output.partition("finished")[0].partition("epoch  ")[2]  # none is marked
    assert re.search(r"\n  agreement +\d", output)


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_eval_judges_any_split_by_its_known_labels(run, split, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("AEVLP_CACHE", str(run.parents[1] / "cache"))
    assert main(["eval", str(run), "--split", split, "-o", str(tmp_path)]) == 0
    output = capsys.readouterr().out
    assert "not all labels of these images are known: mAP by the known ones is a lower bound" in output.replace("\n", " ")
    found = evaluate(open_trained(str(run)), split)
    assert f"\nmAP (known labels) {found.mean_average_precision:.2f}" in output
    for part in ("% come first", "in the first 3", "mean rank", "labels predicted an image", "agreement with the labeler"):
        assert part in output
    header = [line.split() for line in output.splitlines() if line.startswith(("threshold ", "class "))]
    assert header == [["threshold", "micro", "recall", "macro", "recall"], ["class", "positives", "AP", "threshold", "recall"]]
    assert "precision  " not in output
    summary = json.loads((run / "summary.json").read_text())
    if split == "test":
        assert found.mean_average_precision == summary["test/mAP_observed"]
        assert {name: summary[f"test/{name}"] for name in found.known} == found.known
    for row in read(tmp_path / f"{split}_per_class.csv"):
        assert row["precision"] == row["F1"] == ""
        assert (row["AP"] == "") == (row["recall"] == "") == (row["positives"] == "0")
    with np.load(tmp_path / f"{split}_scores.npz") as scores:
        assert set(scores) == {"logits", "observed"}
        assert mean_average_precision(scores["observed"], scores["logits"]) == found.mean_average_precision


def test_thresholds_at_which_nothing_changes_share_a_row(run, capsys):
    found = evaluate(open_trained(str(run)), "val")
    same, other = found.by_threshold[0.1], found.by_threshold[0.9]
    assert same.micro[1] != other.micro[1]
    by_threshold = {threshold: other if 0.3 < threshold < 0.9 else same for threshold in found.by_threshold}
    print_evaluation(replace(found, by_threshold=by_threshold, at_best=same), "run")
    rows = [re.split("  +", line)[0] for line in capsys.readouterr().out.splitlines()]
    assert rows[rows.index("threshold") + 1 :][:4] == ["0.1 to 0.3", "0.4 to 0.8", "0.9", "best"]


def test_a_labeler_that_cannot_be_asked_is_told_and_the_rest_stands(run, monkeypatch, capsys):
    trained = open_trained(str(run))
    config = trained.config.to_dict()
    config["labeler"]["encoder"]["source"] = "/gone/clip"
    trained = trained.__class__(**{**vars(trained), "config": aevlp.config.loading.from_dict(config, "test")})
    found = evaluate(trained, "val")
    assert "agreement" not in found.known
    print_evaluation(found, "run")
    assert "agreement with the labeler is not told: " in capsys.readouterr().out


def test_a_signal_while_the_labeler_is_asked_ends_eval(run, monkeypatch):
    def stop(*_):
        raise RunStopped(signal.SIGTERM)

    monkeypatch.setattr(DAMP, "evaluate", stop)
    with pytest.raises(RunStopped):
        evaluate(open_trained(str(run)), "val")


def test_the_report_says_what_it_lacks_and_offers_nothing_that_is_not_there(run, tmp_path):
    for place in ("first", "second"):
        shutil.copytree(run, tmp_path / "runs" / place)
        path = tmp_path / "runs" / place / "environment.json"
        command = [
            "python",
            "run.py",
            "--exp",
            "folder_gpr",
            "--set",
            f"dataset.root=/a/{place}/{'long_' * 9}",
            "trainer.epochs=2",
        ]
        path.write_text(json.dumps(json.loads(path.read_text()) | {"command": command}))
    page = tmp_path / "page.html"
    assert not [line for told in report_data([tmp_path / "runs"])["runs"] for line in told["problems"] if "without" in line]
    assert main(["report", str(tmp_path / "runs"), "-o", str(page)]) == 0
    browser.require_chromium()
    with browser.chromium(tmp_path / "profile") as driver:

        def text(selector):
            return " ".join(element.text for element in driver.find_elements("css selector", selector))

        for width in (1280, 390):
            browser.resize(driver, width)
            driver.get(page.as_uri())
            assert driver.execute_script("return document.documentElement.dataset.ready") == "true"
            assert driver.execute_script("return document.documentElement.scrollWidth") <= width
            assert "(known labels) is a lower bound" in text("#main > div .note")
            assert "judged on 6 validation images" in text("#main > div .note")
            lacking = re.findall(
                r"(\w[\w-]*)\s*They need full labels of the validation photos: column .labels.", text(".nothing")
            )
            assert lacking == ["Thresholds", "Co-occurrence"]
            assert driver.find_elements("css selector", "#mistakes .choice") == []
            assert "false" not in text("#mistakes .samples")
            assert " to " not in text("#ranking th")
            fits = "const e = document.querySelector('#environment .scroll'); return e.scrollWidth <= e.clientWidth"
            assert driver.execute_script(fits) or width == 1280
        assert driver.execute_script("return getComputedStyle(document.querySelector('nav')).maskImage") != "none"
        heights = "return [...document.querySelectorAll('#runs tbody tr')].map((row) => row.clientHeight)"
        assert max(driver.execute_script(heights)) < 70  # two lines
        assert driver.get_log("browser") == []


def test_full_labels_of_test_alone_are_used_there_and_absent_classes_have_no_figure(tmp_path, capsys):
    root = photos(tmp_path / "photos", known_only=("train", "val"), without_green=("test",))
    assert main(["--exp", "folder_an", "--set", *WORDS, f"dataset.root={root}"]) == 0
    output = capsys.readouterr().out
    assert "mAP on test is over 2 of 3 classes; without an image: green" in output
    assert re.search(r"\n  test mAP +\d+\.\d\d  of 6 photos, over 2 of 3 classes\n", output)
    assert "pseudo" not in output
    assert main(["eval", "latest", "-o", str(tmp_path / "out")]) == 0
    output = capsys.readouterr().out
    assert re.search(r"\nmAP \d+\.\d\d of 6 photos, over 2 of 3 classes\n", output)
    assert re.search(r"\ngreen +0 +– +\S+ +– +– +–\n", output)  # noqa: RUF001
    (run,) = (path.parent for path in (tmp_path / "runs").glob("*/summary.json"))
    summary = json.loads((run / "summary.json").read_text())
    assert summary["test/mAP_classes"] == 2
    assert not [name for name in summary if name.startswith("test/known")]
    table = {row["class"]: row["test_AP"] for row in read(run / "per_class.csv")}
    assert table["green"] == ""
    assert summary["test/mAP"] == pytest.approx((float(table["blue"]) + float(table["red"])) / 2, abs=1e-3)
    assert main(["compare", str(run)]) == 0
    assert main(["report", str(run), "-o", str(tmp_path / "page.html")]) == 0
    assert "per_class.csv has not" not in capsys.readouterr().out


def test_a_validation_split_that_could_choose_nothing_is_refused(tmp_path, monkeypatch, capsys):
    build = registry.get("datasets", "digits").build

    def unlabelled(config):
        data = build(config)
        data.val.observed[:], data.val.targets[:] = 0, 0
        return data

    component = registry.get("datasets", "digits")
    monkeypatch.setitem(
        registry._components["datasets"], "digits", component.__class__(**{**vars(component), "build": unlabelled})
    )
    small = ["dataset.num_train=20", "dataset.num_val=20", "dataset.num_test=20"]
    assert main(["--exp", "digits_an", "--set", *WORDS, *small]) == 1
    assert "no image of the validation split has a label, so no epoch can be chosen" in capsys.readouterr().err


def test_eval_takes_validation_where_there_is_no_test_split_and_says_so(run, tmp_path, capsys):
    root = photos(tmp_path / "photos")
    said = "the dataset has no test split: these are the figures of validation, which chose "  # the run took the last epoch
    command = ["eval", str(run), "--set", f"dataset.root={root}", "trainer.evaluate_labeler=false"]
    for split in ("test", "val"):
        assert main([*command, "-o", str(tmp_path / split)]) == 0
        assert {path.name.partition("_")[0] for path in (tmp_path / split).iterdir()} == {split}
        output = " ".join("".join(capsys.readouterr()).split())
        assert (f"{said}thresholds" in output) == (split == "val")
        assert ("optimistic: the same images chose thresholds " in output) == (split == "val")
        assert "chose the epoch" not in output
        (root / "labels.csv").write_text((root / "labels.csv").read_text().replace(",test", ",train"))
    assert main([*command, "--split", "test"]) == 1
    assert capsys.readouterr().err.endswith("the dataset has no test split; take --split val\n")
