"""A study from its file to the experiment it ends with, by the command, in this process."""

from __future__ import annotations

import csv
import json
import shlex

import optuna
import pytest
import small_runs as runs
import sweep_runs as sweeps

import aevlp
from aevlp.cli import main
from aevlp.command import COMMAND
from aevlp.config.errors import TrainingError
from aevlp.reporting.report import report_data
from aevlp.runs.collect import read_run
from aevlp.sweeps.plan import JUDGED_LOW
from aevlp.sweeps.study import study_folder


@pytest.fixture
def study(tmp_path):
    """Path of the study of tiny trials."""
    return sweeps.write(tmp_path)


def error(capsys):
    text = capsys.readouterr().err
    assert "Traceback" not in text
    return text


def test_a_study_ends_with_an_experiment_that_reproduces_its_best_to_the_bit(study, tmp_path, capsys):
    assert sweeps.run(study) == 0
    assert "3/3 done, best" in capsys.readouterr().out
    assert sweeps.states() == ["COMPLETE"] * 3
    best = sweeps.load().best_trial
    base = sweeps.load().trials[0]
    assert base.params == {"trainer.learning_rate": 0.001, "trainer.weight_decay": 0.0}  # digits_gpr itself comes first
    target = tmp_path / "best.yaml"
    assert main(["sweep", "best", "tiny", "--save", str(target)]) == 0
    text = target.read_text()
    assert f"# Trial {best.number} of study tiny, its best by validation: best/val_mAP {best.value:.2f}." in text
    assert "threads: 1" in text
    assert "precision: fp32" in text
    again = aevlp.train(aevlp.load_experiment(str(target)))
    assert again.best_val_map == best.value
    assert main(["sweep", "best", "tiny", "--save", str(target)]) == 2
    assert "exists; remove it" in error(capsys)
    assert target.read_text() == text
    assert main(["sweep", "best", "tiny", "--save", "experiments/digits_gpr.yaml"]) == 2
    assert "experiments/digits/gpr.yaml is the experiment digits_gpr already; choose another name" in error(capsys)
    assert sorted(path.name for path in tmp_path.glob("*.yaml")) == ["best.yaml", "tiny.yaml"]
    assert not list(tmp_path.glob(".saving*"))


def test_the_same_command_continues_and_trials_are_counted_in_all(study, capsys):
    assert sweeps.run(study, "--trials", "2") == 0
    assert sweeps.run(study, "--trials", "2") == 0  # nothing to do
    assert len(sweeps.states()) == 2
    values = [trial.value for trial in sweeps.load().trials]
    assert sweeps.run(study) == 0
    trials = sweeps.load().trials
    assert [trial.value for trial in trials[:2]] == values
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * 3
    capsys.readouterr()
    assert main(["sweep", "show", "tiny"]) == 0
    output = capsys.readouterr().out
    assert "study tiny: 3 trials (3 complete, 0 pruned, 0 failed), 0 running" in output
    with (study_folder("tiny") / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["best/val_mAP"]) for row in rows] == [trial.value for trial in trials]
    best = sweeps.load().best_trial.number
    shown = report_data([study_folder("tiny")])["studies"][0]
    assert shown["history"][0]["values"] == [trial.value for trial in trials]
    assert shown["base_trial"]["number"] == 0  # found by base.yaml
    kept = [trial.number for trial, run in zip(trials, sweeps.run_folders(), strict=True) if (run / "checkpoints").exists()]
    assert kept == [best]


def test_a_changed_space_or_base_is_refused_with_the_difference_and_what_fits_is_taken_over(study, tmp_path, capsys):
    assert sweeps.run(study) == 0
    wider = sweeps.STUDY.replace("[0.0001, 0.01]", "[0.002, 0.1]")
    study = sweeps.write(tmp_path, wider)
    before = sweeps.load().trials
    assert sweeps.run(study) == 2
    text = error(capsys)
    assert 'space.trainer.learning_rate: {"float": [0.0001, 0.01], "log": true} -> {"float": [0.002, 0.1], "log": true}' in text
    assert "--name NEW --new-study-from tiny" in text
    assert sweeps.run(sweeps.write(tmp_path), "--set", "trainer.batch_size=24") == 2
    assert "base.trainer.batch_size: 16 -> 24" in error(capsys)
    assert sweeps.load().trials == before
    study = sweeps.write(tmp_path, wider)
    assert sweeps.run(study, "--name", "wider", "--new-study-from", "tiny", "--trials", "1") == 0
    fitting = [trial for trial in before if trial.params["trainer.learning_rate"] >= 0.002]
    assert 0 < len(fitting) < len(before)  # by the seed of the study
    taken = [trial for trial in sweeps.load("wider").trials if "imported_from" in trial.user_attrs]
    assert [trial.value for trial in taken] == [trial.value for trial in fitting]
    assert len(sweeps.load("wider").trials) == len(fitting) + 1
    whole = sweeps.load("wider").trials
    assert sweeps.run(study, "--name", "wider", "--new-study-from", "tiny", "--trials", "1") == 0  # nothing to do
    assert sweeps.load("wider").trials == whole
    target = tmp_path / "taken.yaml"
    assert main(["sweep", "best", "wider", "--trial", str(taken[0].number), "--save", str(target)]) == 0
    saved = aevlp.load_experiment(str(target))
    assert saved.trainer.learning_rate == pytest.approx(taken[0].params["trainer.learning_rate"], 1e-3)
    assert sweeps.run(study, "--name", "tiny", "--new-study-from", "wider") == 2
    assert "there is a study tiny already" in error(capsys)
    other = ("--name", "other", "--new-study-from", "tiny")
    assert sweeps.run(study, *other, "--set", "seed=5") == 2
    assert "it has another objective, seed of the base or number of seeds" in error(capsys)
    assert not study_folder("other").exists()


@pytest.mark.parametrize("kept", [0, 1])
def test_killed_as_it_takes_trials_over_the_same_command_takes_the_rest(study, tmp_path, monkeypatch, capsys, kept):
    assert sweeps.run(study) == 0
    words = ("--name", "new", "--new-study-from", "tiny", "--trials", "1")
    add, done = optuna.Study.add_trial, []

    def add_or_die(self, trial):
        if len(done) == kept:
            raise sweeps.Killed
        done.append(trial)
        add(self, trial)

    with monkeypatch.context() as patched:
        patched.setattr(optuna.Study, "add_trial", add_or_die)
        with pytest.raises(sweeps.Killed):
            sweeps.run(study, *words)
    capsys.readouterr()
    assert sweeps.run(study, "--name", "new", "--trials", "1") == 2
    assert "study new: does not have all trials of tiny yet; give --new-study-from tiny once more" in error(capsys)
    assert sweeps.run(study, *words) == 0
    taken = [trial.user_attrs["imported_from"] for trial in sweeps.load("new").trials if "imported_from" in trial.user_attrs]
    assert taken == ["tiny/0", "tiny/1", "tiny/2"]


def test_a_range_that_ends_between_two_steps_is_told_once_and_searched_as_far_as_they_reach(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("aevlp.training.run.resume", sweeps.Trained().resume)
    text = sweeps.STUDY.replace("{float: [0.0001, 0.01], log: true}", "{float: [0.001, 0.0025], step: 0.001}")
    assert sweeps.run(sweeps.write(tmp_path, text)) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert said.count("space.trainer.learning_rate: in steps of 0.001 from 0.001 the last value is 0.002, not 0.0025") == 1
    assert {trial.params["trainer.learning_rate"] for trial in sweeps.load().trials} <= {0.001, 0.002}


def test_a_worse_trial_is_stopped_after_an_epoch_and_its_run_is_whole(tmp_path, capsys):
    text = sweeps.STUDY.replace("pruner: none", "pruner: {startup: 1, warmup: 0}").replace("sampler: random", "sampler: grid")
    text = text.replace("{float: [0.0001, 0.01], log: true}", "{choice: [1.0e-6, 0.01]}").replace(
        "{choice: [0.0, 0.01]}", "{choice: [0.0]}"
    )
    assert sweeps.run(sweeps.write(tmp_path, text), "--trials", "2") == 0
    assert sweeps.states() == ["COMPLETE", "PRUNED"]
    pruned = sweeps.load().trials[1]
    assert pruned.intermediate_values.keys() == {1}
    run = sweeps.run_folders()[1]
    assert len(runs.epoch_rows(run)) == 1
    assert not (run / "summary.json").exists()
    assert read_run(run).state == "stopped"
    assert "trial 1 pruned epoch 1" in capsys.readouterr().out


def test_values_that_do_not_go_together_fail_at_once_with_the_reason_and_count(tmp_path):
    text = sweeps.STUDY.replace("labeler=none, loss=an", "labeler=none").replace("sampler: random", "sampler: grid")
    space = "space:\n  loss.lambda1: {choice: [0.5, 0.9]}\n  loss.lambda2: {choice: [0.4, 0.7]}\n"
    head, _, rest = text.partition("space:")
    assert sweeps.run(sweeps.write(tmp_path, head + space + rest[rest.index("sampler:") :]), "--trials", "4") == 0
    assert sweeps.states() == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
    failed = sweeps.load().trials[1]
    assert "lambda1 (0.5) must not be below lambda2 (0.7)" in failed.user_attrs["reason"]
    assert "runs" not in failed.user_attrs
    assert len(sweeps.run_folders()) == 3


def test_seeds_are_averaged_and_a_run_that_diverges_fails_its_trial(tmp_path, monkeypatch, capsys):
    text = sweeps.STUDY.replace("trials: 3", "trials: 1\nseeds: 2")
    assert sweeps.run(sweeps.write(tmp_path, text)) == 0
    summaries = [json.loads((run / "summary.json").read_text()) for run in sweeps.run_folders()]
    assert sorted(summary["seed"] for summary in summaries) == [0, 1]
    (trial,) = sweeps.load().trials
    with (study_folder("tiny") / "trials.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["2"]  # of the last run, whose steps go on from the first
    assert trial.value == pytest.approx(sum(summary["best/val_mAP"] for summary in summaries) / 2)

    def fail():
        raise TrainingError("the loss is not finite at step 2")

    runs.after_step(monkeypatch, 2, fail)
    assert sweeps.run(sweeps.write(tmp_path, name="diverging"), "--trials", "1") == 1
    assert "no trial came to its end; the last one: the loss is not finite at step 2" in error(capsys)
    assert sweeps.states("diverging") == ["FAIL"]  # it would fail again, so it is not tried again
    assert sweeps.run(sweeps.write(tmp_path, name="diverging"), "--trials", "9") == 1
    assert "the last 3 trials failed alike: the loss is not finite" in error(capsys)
    assert sweeps.states("diverging") == ["FAIL"] * 4


def test_bad_input_is_refused_before_anything_is_written(study, tmp_path, capsys):
    for words, message in [
        (["--trials", "0"], "--trials 0: must be above 0"),
        (["--workers", "0"], "--workers 0: must be above 0"),
        (["--workers", "2"], "--in-process runs one trial at a time"),
        (["--name", "a/b"], "letters, digits"),
        (["--set", "loss.rhoo=1"], "loss.rhoo: unknown key"),
        (["--dry-run", "--new-study-from", "other"], "--dry-run does not count what --new-study-from takes over"),
        (["--new-study-from", "other"], "there is no study 'other'"),
        (["--storage", "postgresql://nobody@127.0.0.1:1/x"], "cannot be opened"),
    ]:
        assert sweeps.run(study, *words) == 2
        assert message in error(capsys)
        assert not study_folder("tiny").exists()
    for words in (["show", "tiny"], ["best", "tiny"], ["dashboard", "tiny"]):
        assert main(["sweep", *words]) == 2
        assert "there is no study 'tiny'" in error(capsys)
    foreign = study_folder("tiny")
    foreign.mkdir(parents=True)
    (foreign / "notes.txt").write_text("mine")
    assert sweeps.run(study) == 2
    assert "holds files, but no study" in error(capsys)
    assert [path.name for path in foreign.iterdir()] == ["notes.txt"]


def test_a_study_can_be_after_known_labels_and_what_is_not_logged_is_told_with_what_is(tmp_path, capsys):
    text = sweeps.STUDY.replace("trials: 3", "trials: 1\nobjective: best/val_mAP_observed")
    assert sweeps.run(sweeps.write(tmp_path, text, "known"), "--set", "selection.labels=observed") == 0
    (run,) = sweeps.run_folders("known")
    assert sweeps.load("known").best_value == max(row["val/mAP_observed"] for row in runs.epoch_rows(run))
    capsys.readouterr()
    assert sweeps.run(sweeps.write(tmp_path, text, "full")) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "has no value for best/val_mAP_observed; full labels choose its epoch: take objective best/val_mAP, or selec" in said


@pytest.mark.parametrize(
    ("words", "objective", "is_low"),
    [
        (["selection.labels=observed"], "best/val_mAP", True),
        (["selection.labels=observed"], "train/loss", False),
        ([], "best/val_mAP", False),
        (["selection.labels=observed", "dataset.known={share: 0.5}"], "best/val_mAP", False),  # absent ones are known as well
    ],
)
def test_that_known_labels_punish_what_finds_much_is_said_at_the_start_when_shown_and_where_saved(
    tmp_path, capsys, words, objective, is_low
):
    given = "".join(f"{json.dumps(word)}, " for word in words)
    text = sweeps.STUDY.replace("set: [", f"set: [{given}").replace("trials: 3", "trials: 1")
    path = sweeps.write(tmp_path, f"{text}objective: {objective}\n")
    assert sweeps.run(path) == 0
    said = capsys.readouterr().out
    assert said.count(JUDGED_LOW) == is_low
    assert not is_low or said.index(JUDGED_LOW) < said.index("1 trial, 0 of them done")
    assert main(["sweep", "show", "tiny"]) == 0
    assert capsys.readouterr().out.count(JUDGED_LOW) == is_low
    saved = tmp_path / "found.yaml"
    assert main(["sweep", "best", "tiny", "--save", str(saved)]) == 0
    assert saved.read_text().count(f"#   {JUDGED_LOW}\n") == is_low


def test_several_objectives_end_with_a_front_to_choose_from(tmp_path, capsys):
    text = sweeps.STUDY.replace("sampler: random", "sampler: nsga2\nobjective: [best/val_mAP, train/loss]")
    assert sweeps.run(sweeps.write(tmp_path, text)) == 0
    assert [direction.name for direction in sweeps.load().directions] == ["MAXIMIZE", "MINIMIZE"]
    front = [trial.number for trial in sweeps.load().best_trials]
    capsys.readouterr()
    assert main(["sweep", "best", "tiny"]) == 0
    assert capsys.readouterr().out.count("trial ") == len(front)
    page = tmp_path / "page.html"
    assert main(["sweep", "show", "tiny", "--html", str(page)]) == 0
    content = page.read_text()
    for title in ("History: best/val_mAP", "Slices: train/loss", "Parallel coordinates", "Contours", "Pareto front"):
        assert f"<h2>{title}" in content
    assert 'src="http' not in content  # it needs no network
    theirs = tmp_path / "theirs.html"
    theirs.write_text("<title>tiny</title>")
    for flag, name, own in (("--html", page, True), ("--html", theirs, False), ("--csv", theirs, False)):
        assert main(["sweep", "show", "tiny", flag, str(name)]) == (0 if own else 2)
    assert theirs.read_text() == "<title>tiny</title>"
    assert capsys.readouterr().err.count("so it stays as it is; give another name") == 2
    assert main(["sweep", "best", "tiny", "--trial", str(front[0]), "--save", str(tmp_path / "one.yaml")]) == 0


def test_the_command_in_the_head_of_what_is_saved_names_the_plugin_it_needs(tmp_path, capsys):
    plugin = tmp_path / "my own.py"
    plugin.write_text("""
from aevlp.config.registry import register
from aevlp.losses.an import ANConfig, ANLoss

class MineConfig(ANConfig):
    pass

@register("losses", "mine", config=MineConfig)
class Mine(ANLoss):
    pass
""")
    path = sweeps.write(tmp_path, sweeps.STUDY.replace("trainer.threads=1", "trainer.threads=1, loss=mine"))
    target = tmp_path / "best.yaml"
    assert sweeps.run(path, "--trials", "1", "--plugin", str(plugin)) == 0
    assert main(["sweep", "best", "tiny", "--save", str(target), "--plugin", str(plugin)]) == 0
    command = target.read_text().splitlines()[1].removeprefix(f"#   {COMMAND} ")
    assert shlex.split(command) == ["--exp", str(target), "--plugin", str(plugin)]
    assert main([*shlex.split(command), "--dry-run"]) == 0
