"""What a report tells of a study: from its plain files, whole or damaged, and its trials' runs out of the ranking."""

import json

import hand_made
import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution
from optuna.trial import TrialState, create_trial
from scipy import stats

from aevlp.cli import main
from aevlp.reporting.page import render
from aevlp.reporting.report import report_data
from aevlp.reporting.statistics import rank_correlation
from aevlp.reporting.studies import CONFIRMED, study
from aevlp.sweeps.ledger import SURPLUS

CONFIG = "name: {name}\nseed: 0\nloss: {{name: gpr}}\ntrainer: {{epochs: 1}}\n"


@pytest.fixture
def folder(tmp_path):
    """Folder of a study with trials in every state."""
    path = tmp_path / "runs" / "sweeps" / "tiny"
    hand_made.study(path, hand_made.searched())
    return path


def run(path):
    """A finished run, by hand."""
    path.mkdir(parents=True)
    (path / "config.yaml").write_text(CONFIG.format(name=path.name))
    (path / "metrics.jsonl").write_text('{"trainer/epoch": 1, "train/loss": 0.5}\n')
    summary = {"state": "finished", "experiment": path.name, "seed": 0, "config_hash": path.name, "test/mAP": 90.0}
    (path / "summary.json").write_text(json.dumps(summary))
    return path


def test_a_study_is_told_from_its_csv_file_as_optuna_knows_it(folder):
    known = hand_made.study(folder.parent / "again", hand_made.searched())
    found = study(folder)
    assert (found["name"], found["base"], found["changes"], found["dataset"]) == (
        "tiny", "digits_gpr", ["trainer.threads=1"], "digits",
    )  # fmt: skip
    assert found["objectives"] == [{"metric": "best/val_mAP", "direction": "maximize"}]
    assert found["counts"] == {
        "complete": 10,
        "pruned": 2,
        "failed": 0,
        "running": 0,
        "waiting": 0,
    }  # the failed one was tried again
    best = known.best_trial
    assert (found["front"], found["best"][0]["values"]) == ([best.number], best.values)
    assert found["best"][0]["codes"] == list(best.params.values())
    complete = [one for one in known.trials if one.state.name == "COMPLETE"]
    ranked = sorted(complete, key=lambda one: (-one.value, one.number))
    assert [one["number"] for one in found["best"]] == [one.number for one in ranked[:10]]
    assert found["history"][0]["numbers"] == [one.number for one in complete]
    assert found["history"][0]["best"] == [max(one.value for one in complete[: i + 1]) for i in range(len(complete))]
    assert found["pruned"] == {"numbers": [9, 10], "values": [60.0, 61.0]}
    assert (found["failed"], found["problems"]) == ([], [])


def test_what_failed_for_good_is_told_with_its_reason(folder):
    lost = hand_made.trial(None, (0.5, 6, "on", "[1.0, 2.0]", 0.1), failed="loss is nan, of all things")
    hand_made.study(folder.parent / "lost", [*hand_made.searched(), lost])
    found = study(folder.parent / "lost")
    assert found["failed"] == [{"number": 13, "reason": "loss is nan, of all things"}]
    assert (found["counts"]["failed"], found["counts"]["waiting"]) == (1, 0)


def test_settings_of_the_base_stand_beside_those_of_the_trials(folder):
    found = study(folder)
    assert found["parameters"] == list(hand_made.SPACE)
    assert found["base_codes"] == pytest.approx(list(hand_made.BASE_CODES))
    assert (found["base_trial"]["number"], found["base_trial"]["values"]) == (0, [90.0])
    (folder / "base.yaml").unlink()  # of a version that wrote none
    found = study(folder)
    assert (found["base_codes"], found["base_trial"], found["problems"]) == ([None] * 5, None, [])


@pytest.mark.parametrize("ties", [False, True])
def test_rank_correlation_is_spearmans_and_chance_stays_below_its_bound(ties):
    rng = np.random.default_rng(5)
    first, second = rng.normal(size=(2, 12)).round(0 if ties else 9)
    wanted = stats.spearmanr(first, second)
    correlation, chance = rank_correlation(first, second)
    assert correlation == pytest.approx(wanted.statistic, abs=1e-12)
    assert (abs(correlation) > chance) == (wanted.pvalue < 0.05)
    unrelated = [rank_correlation(rng.normal(size=12), second)[0] for _ in range(2000)]
    assert np.mean(np.abs(unrelated) < chance) == pytest.approx(0.95, abs=0.02)
    assert rank_correlation(np.ones(12), second)[0] is None


def test_correlations_are_of_numeric_settings_over_complete_and_pruned_trials(folder):
    found = {row["parameter"]: row for row in study(folder)["correlations"]}
    assert found.keys() == {"trainer.learning_rate", "labeler.grid", "loss.lambda2 / loss.lambda1"}
    trials = [one for one in hand_made.searched() if one.state.name != "FAIL"]
    pairs = [(one.params["labeler.grid"], one.values[0] if one.values else one.intermediate_values[1]) for one in trials]
    wanted = stats.spearmanr(*zip(*pairs, strict=True)).statistic
    assert (found["labeler.grid"]["trials"], found["labeler.grid"]["correlation"]) == (12, pytest.approx(wanted))
    hand_made.study(folder.parent / "short", hand_made.searched(9))
    assert study(folder.parent / "short")["correlations"] == []  # too few to tell anything


def test_of_several_objectives_the_pareto_front_is_that_of_optuna(folder):
    rng = np.random.default_rng(6)
    trials = [hand_made.trial([float(a), float(b)]) for a, b in rng.integers(0, 6, (30, 2))]
    known = hand_made.study(folder.parent / "two", trials, ("best/val_mAP", "train/loss"))
    found = study(folder.parent / "two")
    assert [one["direction"] for one in found["objectives"]] == ["maximize", "minimize"]
    assert sorted(found["front"]) == sorted(one.number for one in known.best_trials)
    assert found["history"][1]["best"] == [min(one.values[1] for one in trials[: i + 1]) for i in range(30)]


def test_trials_of_a_study_are_runs_only_where_a_path_names_them(folder, capsys):
    ordinary, hidden = run(folder.parents[1] / "gpr"), run(folder / "trials" / "tiny.t0000")
    for paths in ([folder.parents[1]], [ordinary, folder], [ordinary, folder.parent], [ordinary, folder, folder]):
        data = report_data(paths)
        assert [one["name"] for one in data["runs"]] == ["gpr"]
        assert [one["name"] for one in data["studies"]] == ["tiny"]
        assert data["notes"] == []
    assert [one["name"] for one in report_data([folder, hidden])["runs"]] == ["tiny.t0000"]
    assert [one["name"] for one in report_data([folder / "trials"])["runs"]] == ["tiny.t0000"]
    assert main(["compare", str(ordinary), str(folder)]) == 0
    told = "left out  tiny: a study; `compare"
    assert told in capsys.readouterr().out
    assert main(["compare", str(folder)]) == 2
    assert told in capsys.readouterr().out


def test_a_study_alone_makes_a_page_and_is_found_by_its_name(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("AEVLP_RUNS", str(folder.parents[1]))
    target = tmp_path / "report.html"
    assert main(["report", "tiny", "-o", str(target)]) == 0
    data = report_data([folder])
    assert (data["runs"], data["groups"], data["datasets"]) == ([], [], ["digits"])
    assert '"name":"tiny"' in target.read_text()
    assert main(["report", "tiny", "--baseline", "an", "-o", str(target)]) == 2


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "trials.csv is missing"),
        (b"", "trials.csv is empty"),
        (b"\xff\xfe\x00trial", "trials.csv cannot be read"),
        (b"a,b,c\n1,2,3\n", "other columns than expected"),
        (b"trial,state,std,epoch,seconds,reason,retried_as,imported_from,runs\n0,complete,,8,1,,,,r0\n", "other columns"),
        (b"trial,state,best/val_mAP,std,epoch,seconds,reason,retried_as,imported_from,runs\n", None),
        (b"trial,state,best/val_mAP,std,epoch,seconds,reason,retried_as,imported_from,runs\n0,comp", "1 rows cannot be read"),
        (b"trial,state,best/val_mAP,std,epoch,seconds,reason,retried_as,imported_from,runs\n0,complete,nan,,,x,,,,\n", None),
    ],
)
def test_a_damaged_study_is_shown_with_what_is_wrong(folder, content, problem):
    if content is None:
        (folder / "trials.csv").unlink()
    else:
        (folder / "trials.csv").write_bytes(content)
    data = report_data([folder])
    (found,) = data["studies"]
    assert found["best"] == []
    assert [problem in line for line in found["problems"]] == ([] if problem is None else [True])
    assert render(data)


@pytest.mark.parametrize("words", ["1", "{a: b}", "word"])
def test_changes_that_are_no_list_are_named_as_damaged(folder, words):
    (folder / "study.yaml").write_text(f"base: digits_gpr\nset: {words}\n")
    found = study(folder)
    assert (found["changes"], found["problems"]) == ([], ["study.yaml: set is no list"])


OF_BASE = {"trainer.max_drop": None, "trainer.patience": 2, "loss.beta": "[0, 2, -2, -2]"}
CHOICES = {"trainer.max_drop": [None, 2.0], "trainer.patience": [1, 2], "loss.beta": ["[0, 2, -2, -2]", "[0, 10, -2, -8]"]}


def chosen(value, **codes):
    found = {path: codes.get(path.rpartition(".")[2], code) for path, code in OF_BASE.items()}
    distributions = {path: CategoricalDistribution(CHOICES[path]) for path in found}
    return create_trial(value=value, params=found, distributions=distributions)


@pytest.mark.parametrize("older", [False, True])
def test_the_base_trial_is_found_by_what_choices_mean(tmp_path, older):
    """null is a choice like another, and [0, 2] is [0.0, 2.0]; an older trials.csv tells nothing of null."""
    others = [chosen(75.0, max_drop=2.0), chosen(76.0, patience=1), chosen(77.0, beta="[0, 10, -2, -8]")]
    hand_made.study(tmp_path / "s", [*others, chosen(80.0)])
    loss, trainer = "loss: {name: gpr, beta: [0.0, 2.0, -2.0, -2.0]}", "trainer: {max_drop: null, patience: 2}"
    (tmp_path / "s" / "base.yaml").write_text(f"{loss}\n{trainer}\n")
    file = tmp_path / "s" / "trials.csv"
    assert file.read_text().count(",null,") == 3
    if older:
        file.write_text(file.read_text().replace(",null,", ",,"))
    found = study(tmp_path / "s")
    assert found["base_trial"]["number"] == 3
    assert found["problems"] == []
    (tmp_path / "s" / "base.yaml").write_text(f"{loss}\n{trainer.replace('null', '2.0')}\n")
    if not older:
        assert study(tmp_path / "s")["base_trial"]["number"] == 0


def test_a_trial_that_was_one_too_many_is_not_told_of(folder):
    surplus = create_trial(state=TrialState.FAIL, user_attrs={SURPLUS: True})
    hand_made.study(folder.parent / "more", [*hand_made.searched(), surplus])
    found = study(folder.parent / "more")
    assert (found["failed"], found["counts"]) == ([], study(folder)["counts"])


@pytest.mark.parametrize(
    "text", ["", "a,b\n", "{head}\n1,2\n", "{head}\nx,1,1,1,1,full,first\n", "{head}\n1,nan,1,1,1,full,first\n", "\xff"]
)
def test_what_fresh_seeds_said_is_shown_or_named_as_damaged(folder, text):
    hand_made.confirmed(folder)
    assert [(row["trial"], row["mean"], row["verdict"][:5]) for row in study(folder)["confirmed"]] == [
        (0, 89.5, "first"), (12, 89.1, "canno"), (7, 80.0, "out a"),
    ]  # fmt: skip
    (folder / "confirmed.csv").write_bytes(text.replace("{head}", ",".join(CONFIRMED)).encode("latin-1"))
    found = report_data([folder])
    assert found["studies"][0]["confirmed"] == []
    (problem,) = found["studies"][0]["problems"]
    assert problem.startswith("confirmed.csv ")
    assert found["studies"][0]["best"][0]["values"] == [95.5]
    assert render(found)


def test_a_damaged_study_file_and_hostile_names_are_only_text(folder):
    (folder / "study.yaml").write_text("base: [")
    (folder / "base.yaml").write_bytes(b"\xff\xff")
    text = (folder / "trials.csv").read_text().replace("labeler.grid", '"</script><script>alert(1)</script>"')
    (folder / "trials.csv").write_text(text)
    data = report_data([folder])
    assert [line.split()[0] for line in data["studies"][0]["problems"]] == ["study.yaml", "base.yaml"]
    assert data["studies"][0]["best"][0]["values"] == [95.5]
    assert render(data).count("<script") == 2
