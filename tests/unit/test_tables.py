"""What is compared with what: one table for each set of images and labels, names by what differs, and the bound apart."""

from __future__ import annotations

import dataclasses
import io
import itertools
import json
import re

import pytest

import aevlp
from aevlp.cli import main
from aevlp.config.yaml_reading import write_yaml
from aevlp.data.fingerprint import Fingerprint, SplitFingerprint
from aevlp.reporting.caveats import TWO
from aevlp.reporting.compare import compare
from aevlp.reporting.report import report_data
from aevlp.reporting.statistics import group_runs
from aevlp.reporting.tables import arrange
from aevlp.runs.collect import collect
from aevlp.terminal import Terminal


def split(name, images=10, targets=True):
    return SplitFingerprint(images, f"names of {name}", f"observed of {name}", f"targets of {name}" if targets else None)


def data(name="digits", images=100, **splits):
    return Fingerprint(10, f"classes of {name}", "prompts", *(
        splits.get(part, split(f"{name} {part}", images if part == "train" else 10)) for part in ("train", "val", "test")
    ))  # fmt: skip


@pytest.fixture
def finished(tmp_path):
    """Make a finished run of an experiment, without training it; `.root` is the folder of all."""
    numbers = itertools.count()

    def make(experiment, *words, value=90.0, seed=0, on=None, **summary):
        config = aevlp.load_experiment(experiment, [*words, f"seed={seed}"])
        folder = make.root / f"{experiment}-20260101-{next(numbers):06d}-abcdef"
        folder.mkdir(parents=True)
        found = on or data()
        told = {
            "state": "finished", "experiment": experiment, "seed": seed, "name": config.tracking.name, "config_hash": config.hash,
            "data_fingerprint": found.hash, "test/mAP": value, "best/val_mAP": value, "val/mAP": value, "val/mAP_observed": 20.0,
        }  # fmt: skip
        (folder / "config.yaml").write_text(write_yaml(config.to_dict()))
        (folder / "data.json").write_text(json.dumps(found.to_dict()))
        (folder / "summary.json").write_text(json.dumps(told | summary))
        return folder

    make.root = tmp_path / "runs"
    return make


def tables(finished, baseline=None):
    return arrange(group_runs(collect([finished.root]).runs), baseline)


def names(table):
    return [group.name for group in table.groups]


def told(finished, capsys, *words):
    assert main(["compare", str(finished.root), *words]) == 0
    return capsys.readouterr().out


def test_nothing_is_compared_between_two_datasets_nor_two_folders_of_one_name(finished, capsys):
    for on, root in ((data("cats"), "/a/mine"), (data("dogs"), "/b/mine")):
        for name in ("folder_an", "folder_gpr"):
            finished(name, f"dataset.root={root}", on=on)
    finished("digits_an")
    assert [(table.title, sorted(names(table))) for table in tables(finished)] == [
        ("folder, /a/mine", ["folder_an", "folder_gpr"]), ("folder, /b/mine", ["folder_an", "folder_gpr"]),
        ("digits", ["digits_an"]),
    ]  # fmt: skip
    output = told(finished, capsys)
    assert output.count("against folder_an") == 2
    found = json.loads(told(finished, capsys, "--json"))
    assert [entry["table"] for entry in found["experiments"]] == [0, 0, 1, 1, 2]
    assert [entry["difference"] is None for entry in found["experiments"]] == [True, False, True, False, True]
    report = report_data([finished.root])
    assert [len(table["groups"]) for table in report["tables"]] == [2, 2, 1]


@pytest.mark.parametrize("part", ["val", "test"])
@pytest.mark.parametrize("change", [{"images": 9}, {"names": "others"}, {"targets": "others"}, {"targets": None}])
def test_what_is_judged_on_other_images_or_labels_stands_apart(finished, part, change):
    finished("digits_an")
    finished("digits_em", on=data(**{part: dataclasses.replace(split(f"digits {part}"), **change)}))
    assert len(tables(finished)) == 2


def test_other_training_images_epochs_and_choices_are_told_above_the_table(finished, capsys):
    finished("digits_an")
    finished("digits_em", on=data(images=50))
    finished("digits_gr", "trainer.epochs=3")
    finished("digits_an_ls", "selection.labels=observed")
    (table,) = tables(finished)
    assert table.notes == [
        "rows differ in training images: 100 (digits_an, digits_gr trainer.epochs=3, digits_an_ls selection.labels=observed); "
        "50 (digits_em)",
        "rows differ in epochs: 8 (digits_an, digits_em, digits_an_ls selection.labels=observed); 3 (digits_gr trainer.epochs=3)",
        "rows differ in labels that chose the checkpoint: full (digits_an, digits_em, digits_gr trainer.epochs=3); "
        "known (digits_an_ls selection.labels=observed)",
    ]
    for form in ((), ("--markdown",), ("--latex",)):
        output = told(finished, capsys, *form).replace("\\", "")
        assert output.index("rows differ in epochs: 8") < output.index("experiment")


@pytest.mark.parametrize(
    ("epoch", "labels", "assumed", "said"),
    [
        ("last", "observed", 7, "none, the last epoch is taken"),
        ("last", "clean", None, "none, the last epoch is taken"),
        ("auto", "observed", 7, "none, the last epoch is taken"),
        ("auto", "observed", 0, "known"),
        ("best", "observed", 7, "known"),
    ],
)
def test_what_chose_the_checkpoint_is_told_or_that_nothing_did(finished, epoch, labels, assumed, said):
    finished("digits_an")
    finished("digits_em", f"selection.epoch={epoch}", f"selection.labels={labels}", **{"val/mAP_assumed": assumed})
    (table,) = tables(finished)
    told = f"rows differ in labels that chose the checkpoint: full (digits_an); {said} ("
    assert any(line.startswith(told) for line in table.notes)


def test_epochs_that_runs_ended_after_are_told_where_fewer_than_configured(finished):
    finished("digits_an", **{"trainer/epoch": 8})
    finished("digits_gr", "trainer.epochs=250", **{"trainer/epoch": 11})
    finished("digits_em", "trainer.epochs=250", **{"trainer/epoch": 14})
    (note,) = tables(finished)[0].notes
    assert "epochs: 8 (digits_an); 250, ended after 11 to 14 (digits_" in note


def by_known(finished, experiment, *words, value=67.5, **more):
    """A run on five validation photos of which one label each is known, of four of ten classes; nothing is tested."""
    known = {"known_recall_1": 60.0, "known_recall_3": 80.0, "known_recall_5": 100.0, "known_rank": 1.8, "labels_per_image": 2.0}
    summary = {"test/mAP": None, "val/mAP": None, "best/val_mAP_observed": value, "val/mAP_classes": 4}
    summary |= {f"best/val_{name}": figure for name, figure in (known | {"agreement": 40.0}).items()}
    on = data("mine", val=split("mine val", images=5, targets=False), test=None)
    return finished(experiment, *words, "dataset.root=/mine", value=value, on=on, **summary, **more)


def test_a_lower_bound_and_one_run_each_are_told_above_the_table_and_below_the_headline(finished, capsys):
    bound = "val mAP (known labels) is a lower bound, as labels that are not known count as absent; "
    bound += "judged on 5 validation images, over 4 of 10 classes"
    by_known(finished, "folder_an")
    assert report_data([finished.root])["tables"][0]["caveats"] == [bound]  # nothing to differ from
    by_known(finished, "folder_gpr")
    output = told(finished, capsys)
    assert output.index(bound) < output.index("note  one run each") < output.index("experiment")
    assert "--seed 1" in output
    (table,) = report_data([finished.root])["tables"]
    assert table["caveats"][0] == bound
    assert table["caveats"][1].startswith("one run each")
    by_known(finished, "folder_an", seed=1)
    assert report_data([finished.root])["tables"][0]["caveats"] == [bound, TWO]
    by_known(finished, "folder_an", seed=2)
    assert report_data([finished.root])["tables"][0]["caveats"] == [bound]


def test_what_is_judged_where_it_is_known_is_called_no_lower_bound(finished):
    by_known(finished, "folder_an", **{"val/mAP_assumed": 0})
    (caveat,) = report_data([finished.root])["tables"][0]["caveats"]
    assert caveat.startswith("val mAP (known labels) is on the images a class is known of; judged on 5")
    by_known(finished, "folder_em", **{"val/mAP_assumed": 1})
    assert "is a lower bound" in report_data([finished.root])["tables"][0]["caveats"][0]


def test_over_how_many_classes_full_labels_judge_is_told_where_not_over_all(finished, capsys):
    finished("digits_an", **{"test/mAP_classes": 10, "val/mAP_classes": 8})
    finished("digits_gpr", **{"test/mAP_classes": 10, "val/mAP_classes": 8})
    output = told(finished, capsys)
    assert "note  val mAP is over 8 of 10 classes: no image shows the others" in output
    assert "test mAP is over" not in output


def shown(finished):
    text = io.StringIO()
    compare([finished.root], Terminal(file=text, width=80, force_terminal=True, color_system=None))
    return text.getvalue()


def test_with_known_labels_alone_a_row_is_a_line_of_eighty_columns_and_the_rest_is_named(finished, capsys):
    by_known(finished, "folder_an", "trainer.epochs=250")
    by_known(finished, "folder_gpr", "trainer.epochs=250")
    output = shown(finished)
    line = next(line for line in output.splitlines() if line.startswith("folder_gpr "))
    assert line.split() == ["folder_gpr", "0", "67.5", "60.0", "80.0", "2.0", "40.0"]
    assert "--json and --csv also have in top 5, rank" in output.replace("\n", " ")
    assert re.search(r"^experiment .* in top 5 +rank ", told(finished, capsys), re.MULTILINE)  # a pipe has all
    by_known(finished, "folder_gpr", "trainer.epochs=250", "tracking.name=smaller batches and less smoothing", value=60.0)
    output = shown(finished)
    assert re.search(r"^smaller batches and less smoothing +0 +60.0 ", output, re.MULTILINE)
    assert "labels a photo" in output.replace("\n", " ").partition("--json and --csv also have")[2]


def test_the_legend_tells_of_what_the_table_has(finished, capsys):
    by_known(finished, "folder_an")
    output = told(finished, capsys)
    assert "agreement: F1" in output
    assert not [word for word in ("pseudo P", "labeler: ", "±") if word in output]
    for seed in range(2):
        finished("digits_an", seed=seed, value=90.0 + seed, **{"test/labeler_mAP": 50.0})
    output = told(finished, capsys)
    assert "± half a 95 % interval" in output
    assert "labeler: test mAP" in output


def test_map_by_known_labels_is_never_set_against_map_by_full_ones(finished, capsys):
    for seed in range(3):
        finished("digits_gpr", seed=seed, value=90.0 + seed)
        finished("digits_gpr", "selection.labels=observed", seed=seed, value=90.0 + seed, **{"best/val_mAP": 78.0 + seed})
    found = json.loads(told(finished, capsys, "--json"))["experiments"]
    by_full, by_known = sorted(found, key=lambda entry: entry["name"])
    assert by_full["metrics"]["best/val_mAP_observed"] is None
    assert by_known["metrics"]["best/val_mAP"] is None
    assert by_known["metrics"]["best/val_mAP_observed"]["mean"] == 79.0
    for entry in found:
        differences = entry["difference"] or {}
        assert differences.get("best/val_mAP") is None
        assert differences.get("best/val_mAP_observed") is None
    output = told(finished, capsys)
    assert "val mAP (known labels)" in output
    assert "12.0" not in output


def test_runs_are_called_by_what_they_have_otherwise_than_their_experiment(finished):
    finished("digits_gpr", value=9.0)
    finished("digits_gpr", "loss.rho=0.8", value=8.0)
    finished("digits_gpr", "loss=an_ls", value=7.0)
    finished("digits_gpr", "loss=an_ls", "loss.smoothing=0.2", value=6.0)
    finished("digits_gpr", "loss.beta=[0,1,-2,-2]", "trainer.epochs=2", "seed=1", value=5.0)
    finished("digits_gr", "trainer.threads=1", value=4.0)
    finished("digits_an", "labeler=damp", "loss=gpr", "trainer.batch_size=8", "trainer.epochs=4", value=3.0)
    (table,) = tables(finished)
    assert names(table) == [
        "digits_gpr", "digits_gpr loss.rho=0.8", "digits_gpr loss=an_ls loss.smoothing=0.1",
        "digits_gpr loss=an_ls loss.smoothing=0.2", "digits_gpr loss.beta=[0.0,1.0,-2.0,-2.0] trainer.epochs=2", "digits_gr",
        "digits_an labeler=damp loss=gpr trainer.epochs=4 and 1 more",
    ]  # fmt: skip


def test_what_all_runs_share_is_in_no_name(finished):
    for name in ("digits_gpr", "digits_an"):
        finished(name, "trainer.epochs=2", "dataset.num_train=50")
    assert sorted(names(tables(finished)[0])) == ["digits_an", "digits_gpr"]


def test_without_the_definition_runs_are_told_from_each_other(finished):
    for rho in (0.9, 0.8):
        folder = finished("digits_gpr", f"loss.rho={rho}", value=rho)
        for name in ("config.yaml", "summary.json"):
            path = folder / name
            path.write_text(path.read_text().replace("digits_gpr", "lost"))
    assert names(tables(finished)[0]) == ["lost loss.rho=0.9", "lost loss.rho=0.8"]


def test_a_given_name_is_the_name_and_parts_what_would_be_one(finished):
    for seed in range(2):
        finished("digits_gpr", "tracking.name=before", seed=seed, value=80.0)
        finished("digits_gpr", "tracking.name=after", seed=seed, value=90.0)
        finished("digits_an", *(["tracking.name=AN"] if seed else []), seed=seed, value=70.0)
    (table,) = tables(finished)
    assert [(group.name, sorted(group.by_seed)) for group in table.groups] == [
        ("after", [0, 1]), ("before", [0, 1]), ("AN", [0, 1])
    ]  # fmt: skip


def test_the_flag_names_a_run_whatever_yaml_makes_of_the_word():
    from aevlp.cli import build_parser
    from aevlp.verbs._flags import overrides

    for word in ("first try", "1e3", "null", "[a]", 'a "b"', "x: y"):
        words = overrides(build_parser().parse_args(["--exp", "digits_gpr", "--name", word]))
        assert aevlp.load_experiment("digits_gpr", words).tracking.name == word


def test_what_saw_all_labels_is_below_the_ranking_and_never_the_baseline(finished):
    finished("digits_gpr", value=80.0)
    finished("digits_bce", value=60.0)
    finished("digits_em", value=70.0)
    (table,) = tables(finished)
    assert ([group.name for group in table.ranked], [group.name for group in table.bounds]) == (
        ["digits_gpr", "digits_em"],
        ["digits_bce"],
    )
    assert table.baseline.name == "digits_em"
    text = io.StringIO()
    compare([finished.root], Terminal(file=text, width=80, force_terminal=True, color_system=None))
    assert text.getvalue().index("digits_em") < text.getvalue().index("not ranked") < text.getvalue().index("digits_bce")
    assert [group["bound"] for group in report_data([finished.root])["groups"]] == [False, False, True]


def test_a_baseline_holds_in_the_tables_that_have_it(finished, capsys):
    finished("digits_gpr")
    finished("digits_em")
    finished("folder_gpr", on=data("dogs"))
    finished("folder_an", on=data("dogs"))
    assert [table.baseline.name for table in tables(finished, "digits_gpr")] == ["digits_gpr", "folder_an"]
    assert main(["compare", str(finished.root), "--baseline", "digits_gp"]) == 2
    assert "did you mean 'digits_gpr'" in capsys.readouterr().err


def test_settings_that_differ_are_few_at_eighty_columns(finished):
    for method in ("an", "an_ls", "an_pl", "bce", "em", "gpr", "gr", "asl", "hill", "splc"):
        finished(f"digits_{method}")
    text = io.StringIO()
    compare([finished.root], Terminal(file=text, width=80, force_terminal=True, color_system=None))
    settings = text.getvalue().partition("settings that differ")[2]
    assert len(settings.splitlines()) < 60
    assert max(map(len, text.getvalue().splitlines())) <= 80


def test_experiments_that_differ_by_one_number_alone_make_a_curve(finished):
    for share in (0.9, 0.1, 0.5):
        for seed in (0, 1):
            for experiment in ("digits_gpr", "digits_an"):
                finished(experiment, f"dataset.known={{share: {share}}}", seed=seed)
    finished("digits_em", "dataset.known={share: 0.1}")
    finished("digits_em", "dataset.known={share: 0.5}")  # two points
    finished("digits_an", "dataset.known={share: 0.7}", "trainer.epochs=3")  # not alike
    report = report_data([finished.root])
    (table,) = report["tables"]
    assert {curve["setting"] for curve in table["by_setting"]} == {"dataset.known.share"}
    assert {curve["name"] for curve in table["by_setting"]} == {"digits_gpr", "digits_an"}
    for curve in table["by_setting"]:
        assert curve["values"] == [0.1, 0.5, 0.9]
        named = [report["groups"][i]["name"] for i in curve["groups"]]
        assert all(
            name.startswith(curve["name"]) and str(value) in name for name, value in zip(named, curve["values"], strict=True)
        )


def test_two_curves_of_one_experiment_are_told_apart(finished):
    for epochs in (4, 8):
        for threshold in (0.2, 0.3, 0.5):
            finished("digits_gpr", f"labeler.threshold={threshold}", f"trainer.epochs={epochs}")
    (table,) = report_data([finished.root])["tables"]
    assert [curve["setting"] for curve in table["by_setting"]] == ["labeler.threshold"] * 2
    assert len({curve["name"] for curve in table["by_setting"]}) == 2


def test_the_same_settings_on_other_training_labels_have_names_of_their_own(finished):
    corrected = data(train=dataclasses.replace(split("digits train", 100), observed="other labels"))
    for on in (data(), corrected):
        finished("digits_an", on=on)
    (table,) = tables(finished)
    names = [group.name for group in table.groups]
    assert len(set(names)) == 2
    assert all(re.fullmatch(r"digits_an \([0-9a-f]{6}, data [0-9a-f]{6}\)", name) for name in names)


def test_a_curve_by_a_setting_is_one_whatever_changes_no_result(finished):
    for threshold, threads in ((0.3, 1), (0.4, 1), (0.5, 2)):
        folder = finished("digits_gpr", f"labeler.threshold={threshold}", f"trainer.threads={threads}")
    older = folder / "config.yaml"  # of a time when there was no such setting
    assert "\n  epoch: best\n" in older.read_text()
    older.write_text(older.read_text().replace("\n  epoch: best\n", "\n"))
    (table,) = report_data([finished.root])["tables"]
    assert [curve["setting"] for curve in table["by_setting"]] == ["labeler.threshold"]


def test_what_a_name_may_hold_is_no_markup(finished, capsys):
    for name in ("[b] *", "AN <none>"):
        finished("digits_an", f'tracking.name="{name}"')
    assert main(["compare", str(finished.root), "--latex"]) == 0
    assert "\n{}[b] * & " in capsys.readouterr().out
    assert main(["compare", str(finished.root), "--markdown", "--baseline", "AN <none>"]) == 0
    assert "<none>" not in capsys.readouterr().out.replace(r"\<none\>", "")
