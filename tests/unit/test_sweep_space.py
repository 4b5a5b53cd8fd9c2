"""Search spaces and study files: what they mean, and what is refused."""

from __future__ import annotations

import optuna
import pytest
import sweep_runs as sweeps

from aevlp import load_experiment
from aevlp.config.errors import ConfigError
from aevlp.sweeps import study
from aevlp.sweeps.ledger import IMPORTED_FROM
from aevlp.sweeps.plan import Plan
from aevlp.sweeps.space import UnfitError, by_name
from aevlp.sweeps.study import num_wanted, open_study, study_folder
from aevlp.sweeps.study_file import load_study

SPACE = """
base: digits_gpr
trials: 2
space:
  loss.lambda2: {fraction_of: loss.lambda1, low: 0.2, high: 0.95}
  loss.lambda1: {float: [0.5, 1]}
  loss.beta[1]: {float: [0, 10]}
  loss.alpha: {choice: [[0.5, 2, 0.8, 0.5], [0.5, 2, 1.0, 0.3]]}
  labeler.grid: {int: [2, 6], step: 2}
  labeler.negative_ratio: {float: [0.1, 0.5], when: {labeler.negatives: on}}
  labeler.negatives: {choice: [off, on]}
  local views: {cases: {with: [], without: [labeler.grid=0, labeler.threshold=0.6]}}
"""
CODES = {
    "loss.lambda1": 0.8, "loss.lambda2 / loss.lambda1": 0.5, "loss.beta[1]": 7.5, "loss.alpha": "[0.5, 2, 1.0, 0.3]",
    "labeler.grid": 4, "labeler.negatives": "on", "labeler.negative_ratio": 0.25, "local views": "with",
}  # fmt: skip


@pytest.fixture
def plan(tmp_path):
    return Plan.load(sweeps.write(tmp_path, SPACE))


def test_codes_become_the_configuration_and_come_back_out_of_it(plan):
    codes, words = plan.space.walk(plan.values, by_name(CODES))
    assert codes == CODES
    config = plan.resolve(words)
    assert (config.loss.lambda1, config.loss.lambda2) == (0.8, 0.4)
    assert config.loss.beta == (0.0, 7.5, -2.0, -2.0)
    assert config.loss.alpha == (0.5, 2.0, 1.0, 0.3)
    assert (config.labeler.grid, config.labeler.negatives, config.labeler.negative_ratio) == (4, "on", 0.25)
    assert plan.space.codes_in(config.to_dict()) == {**CODES, "loss.alpha": "[0.5, 2, 1.0, 0.3]"}


def test_a_parameter_whose_condition_fails_is_neither_searched_nor_set(plan):
    codes, words = plan.space.walk(plan.values, by_name({**CODES, "labeler.negatives": "off"}))
    assert "labeler.negative_ratio" not in codes
    assert not any(word.startswith("labeler.negative_ratio") for word in words)


def test_a_case_sets_all_its_words_and_what_lies_outside_a_range_does_not_fit(plan):
    _, words = plan.space.walk(plan.values, by_name({**CODES, "local views": "without"}))
    assert [word for word in words if word.startswith("labeler.threshold")] == ["labeler.threshold=0.6"]
    base = load_experiment("digits_gpr", ["labeler.grid=4"])
    assert plan.space.codes_in(base.to_dict())["local views"] == "with"
    for word in ("labeler.grid=3", "labeler.grid=8", "loss.lambda1=0.45", "loss.alpha[0]=0.4"):
        with pytest.raises(UnfitError):
            plan.space.codes_in(load_experiment("digits_gpr", ["labeler.grid=4", word]).to_dict())


def test_a_start_that_the_space_does_not_hold_is_told_with_the_reason_and_left_out(tmp_path):
    starts = "[], [labeler.grid=4], [labeler.grid=5], [labeler.grid=4, loss.rho=0.8, loss.lambda1=0.45]"
    text = f"{SPACE}start: [{starts}]\n"
    told: list[str] = []
    assert [codes["labeler.grid"] for codes in Plan.load(sweeps.write(tmp_path, text)).starts(told.append)] == [4]
    assert told == [
        "start: the base itself lies outside the space, and is not tried: labeler.grid: 3 is not of 2 to 6 in steps of 2",
        "start: [labeler.grid=5] lies outside the space, and is not tried: labeler.grid: 5 is not of 2 to 6 in steps of 2",
        "start: [labeler.grid=4, loss.rho=0.8, loss.lambda1=0.45] lies outside the space, and is not tried: "
        "loss.lambda1: 0.45 is not of 0.5 to 1.0",
    ]


@pytest.mark.parametrize(
    ("words", "difference"),
    [
        ("trainer.weight_decay=0.01", "trainer.weight_decay: is 0.01, and 0.0 in the trial nearest to it"),
        ("loss.rho=0.5", "loss.rho: is 0.5, and 0.9 in the trial nearest to it"),
        ('"loss.beta=[1, 7.5, -2, -2]"', "loss.beta: is [1.0, 7.5, -2.0, -2.0], and [0.0, 7.5, -2.0, -2.0] in the trial"),
        ("labeler.negative_ratio=0.2", "labeler.negative_ratio: is 0.2, and 0.3 in the trial"),  # without its condition
        ("labeler.threshold=0.6", "labeler.threshold: is 0.6, and 0.4 in the trial"),  # half of a case
        ("trainer.epochs=9", "trainer.epochs: is 9, and 8 in the trial"),
        ("dataset.num_train=2001", "dataset.num_train: is 2001, and 3000 in the trial"),  # whole numbers are not rounded
    ],
)  # fmt: skip
def test_a_start_that_the_space_holds_in_part_is_told_and_never_something_else(tmp_path, words, difference):
    told: list[str] = []
    path = sweeps.write(tmp_path, f"{SPACE}start: [[labeler.grid=4, {words}], [labeler.grid=4, loss.lambda1=0.71234567]]\n")
    (held,) = Plan.load(path).starts(told.append)  # to 4 digits, as all trials are
    assert held["loss.lambda1"] == 0.71234567
    (line,) = told
    assert difference in line


def test_a_component_by_name_is_not_that_of_the_base_which_has_settings_of_its_own(tmp_path):
    plan = Plan.load(sweeps.write(tmp_path, "base: digits_gpr\ntrials: 1\nspace: {loss: {choice: [an, gpr]}}\n"))
    told: list[str] = []
    assert (plan.starts(told.append), plan.base_codes) == ([], None)
    assert "loss.regularizer: is 0.01, and 0.0 in the trial nearest to it" in told[0]
    plan = Plan.load(sweeps.write(tmp_path, "base: digits_gpr\nspace: {kind: {cases: {as it is: [], an: [loss=an]}}}\n"))
    assert plan.base_codes == {"kind": "as it is"}


@pytest.mark.parametrize(
    ("space", "epochs"),
    [
        ("loss.rho: {float: [0, 1]}", 8),
        ("trainer.epochs: {int: [2, 20]}", 20),
        ("trainer.epochs: {choice: [6, 3]}", 6),  # those of the base are not tried
        ("length: {cases: {short: [], long: [trainer.epochs=11]}}", 11),
        ("length: {cases: {short: [trainer.epochs=2], long: [trainer=probe]}}", 20),
        ("trainer.epochs: {choice: [3, 4], when: {loss.rho: 0.5}}\n  loss.rho: {choice: [0.5, 1.0]}", 8),
    ],
)
def test_the_longest_trial_is_known(tmp_path, space, epochs):
    assert Plan.load(sweeps.write(tmp_path, f"base: digits_gpr\nspace:\n  {space}\n")).most_epochs == epochs


def test_a_grid_lists_every_combination_once(tmp_path):
    text = """
base: digits_gpr
sampler: grid
space:
  labeler.negatives: {choice: [off, on]}
  labeler.negative_ratio: {choice: [0.1, 0.2, 0.3], when: {labeler.negatives: on}}
"""
    plan = Plan.load(sweeps.write(tmp_path, text))
    combinations = plan.space.combinations(plan.values)
    assert combinations == [{"labeler.negatives": "off"}] + [
        {"labeler.negatives": "on", "labeler.negative_ratio": ratio} for ratio in (0.1, 0.2, 0.3)
    ]


def test_whole_components_come_before_their_settings(tmp_path):
    text = "base: digits_gpr\ntrials: 1\nspace: {loss.rho: {float: [0.5, 1], when: {loss: gpr}}, loss: {choice: [an, gpr]}}"
    plan = Plan.load(sweeps.write(tmp_path, text))
    _, words = plan.space.walk(plan.values, by_name({"loss": "gpr", "loss.rho": 0.7}))
    assert plan.resolve(words).loss.rho == 0.7
    assert plan.resolve(plan.space.walk(plan.values, by_name({"loss": "an"}))[1]).loss.name == "an"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("loss.rhoo: {float: [0, 1]}", "tiny.yaml:4: space.loss.rhoo: --set loss.rhoo=0.0: loss.rhoo: unknown key; did you mean"),
        ("los.rho: {float: [0, 1]}", "unknown section; did you mean 'loss'?"),
        ("loss.beta[7]: {float: [0, 1]}", "does not exist; the value is a list of 4"),
        ("loss.rho: {float: [1, 1]}", "tiny.yaml:4: space.loss.rho: the range [1, 1] is empty"),
        ("loss.rho: {float: [0, 1], log: true}", "a log range must lie above 0, starts at 0"),
        ("loss.rho: {float: [0.5, 1.5]}", "loss.rho: input should be less than or equal to 1 (got 1.5)"),
        ("loss.rho: {choice: [0.5, high]}", "choice mixes types: 0.5, 'high'"),
        ("loss.rho: {choice: [0.5, true]}", "choice mixes types"),
        ("loss: {choice: [gpr, grp]}", "unknown loss 'grp'; did you mean 'gr' or 'gpr'?"),
        ("loss.rho: {float: [0, 1], int: [0, 1]}", "exactly one of float, int, choice, fraction_of, cases; has float and int"),
        ("loss.rho: {flaot: [0, 1]}", "space.loss.rho.flaot: unknown key"),
        ("loss.rho: {fraction_of: loss.lambda1}", "fraction_of, low and high come together"),
        ("loss.rho: {fraction_of: loss.alpha, low: 0.1, high: 0.9}", "loss.alpha is no number of the base"),
        ("loss.rho: {float: [0, 1], when: {loss.lambda1: 1}}", "when names 'loss.lambda1', which is not in the space"),
        ("loss.rho: {choice: [0.5, 0.5]}", "names a value twice"),
        ("loss.rho: {float: [0, 1]}\nobjective: val/mAPP", "no run logs 'val/mAPP'; did you mean 'val/mAP'"),
        ("loss.rho: {float: [0, 1]}\nobjective: test/mAP", "would choose settings by the test images"),
        ("loss.rho: {float: [0, 1]}\ntrials: 0", "trials: input should be greater than or equal to 1 (got 0)"),
        ("loss.rho: {float: [0, 1]}\nsampler: tpee", "sampler.name: input should be 'tpe'"),
        ("loss.rho: {float: [0, 1]}\nsampler: grid", "the grid sampler needs a choice or cases"),
        ("loss.rho: {float: [0, 1]}\nobjective: [val/mAP, train/loss]", "with several objectives"),
    ],
)  # fmt: skip
def test_a_study_that_cannot_be_is_refused_with_file_line_and_path(tmp_path, line, message):
    path = sweeps.write(tmp_path, f"# A study.\nbase: digits_gpr\nspace:\n  {line}\n")
    with pytest.raises(ConfigError) as refused:
        Plan.load(path)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        ("choice: [off, on]", "onn", "onn; it has no such value; did you mean 'on'?"),
        ("choice: [off, on]", "true", "True; it has no such value; known: off, on"),
        ("cases: {with: [], without: [labeler.grid=0]}", "wihtout", "wihtout; it has no such value; did you mean 'without'?"),
        ("cases: {with: [], without: [labeler.grid=0]}", "null", "None; it has no such value"),
        ("int: [2, 6]", "7", "7; it has no such value"),
        ("int: [2, 6], step: 2", "3", "3; it has no such value"),
        ("int: [2, 6]", "two", "two; it has no such value"),
        ("float: [0.5, 1]", "2", "2; it has no such value"),
        ("float: [0.5, 1]", "null", "None; it has no such value"),
        ("fraction_of: loss.lambda1, low: 0.2, high: 0.9", "0.5", "0.5; that is a share of loss.lambda1; name a choice or cases"),
    ],
)
def test_a_condition_that_can_never_hold_is_refused_with_line_and_path(tmp_path, kind, value, message):
    text = f"base: digits_gpr\nspace:\n  loss.rho: {{float: [0, 1], when: {{other: {value}}}}}\n  other: {{{kind}}}\n"
    with pytest.raises(ConfigError) as refused:
        Plan.load(sweeps.write(tmp_path, text))
    assert f"space.loss.rho: when asks for other: {message}" in str(refused.value)


def test_a_space_with_some_invalid_combinations_is_allowed_and_one_without_a_valid_one_is_not(tmp_path):
    text = "base: digits_gpr\nspace:\n  loss.lambda1: {float: [0.1, 0.9]}\n  loss.lambda2: {float: [0.1, 0.9]}\n"
    assert Plan.load(sweeps.write(tmp_path, text)).name == "tiny"
    text = "base: digits_gpr\nspace:\n  loss.lambda1: {float: [0.1, 0.2]}\n  loss.lambda2: {float: [0.3, 0.9]}\n"
    with pytest.raises(ConfigError, match=r"must not be below lambda2.*\(no combination tried is valid\)"):
        Plan.load(sweeps.write(tmp_path, text))


def test_unknown_studies_and_bases_are_named(tmp_path):
    with pytest.raises(ConfigError, match="unknown study 'digits_gpt'; did you mean 'digits_gpr'"):
        load_study("digits_gpt")
    path = sweeps.write(tmp_path, "base: digits_gprr\nspace: {loss.rho: {float: [0, 1]}}")
    with pytest.raises(ConfigError, match=r"tiny.yaml:1: unknown experiment 'digits_gprr'; did you mean 'digits_gpr'"):
        Plan.load(path)


def test_what_wandb_has_of_a_study_are_values_and_no_text_of_them(plan):
    from aevlp.sweeps.wandb_summary import _settings

    told = _settings(plan)
    assert (told["objective"], told["seeds"]) == ({"best/val_mAP": "maximize"}, 1)
    assert told["space"]["loss.beta[1]"] == {"float": [0, 10]}
    assert told["space"]["labeler.negative_ratio"]["when"] == {"labeler.negatives": "on"}
    assert told["base"]["loss"]["rho"] == load_experiment("digits_gpr").loss.rho


def test_another_protocol_of_known_labels_is_another_study(tmp_path):
    path = sweeps.write(tmp_path, SPACE + "start: [[labeler.grid=4]]\n")
    before, now = Plan.load(path), Plan.load(path, ("dataset.known={share: 0.1}",))
    told: list[str] = []
    folder = study_folder("one")
    open_study(before, "one", None, told.append)
    for first, second, name in ((before, now, "one"), (now, before, "two")):
        open_study(first, name, None, told.append)
        with pytest.raises(ConfigError, match=r"base\.dataset\.known"):
            open_study(second, name, None, told.append)
    assert folder.exists()


def test_of_a_grid_no_more_is_wanted_than_no_other_study_has_tried(tmp_path, said):
    """Of a dry run as of the run itself."""
    text = "base: digits_gpr\nsampler: grid\nspace: {loss.rho: {choice: [0.5, 0.7, 0.9]}}\n"
    plan, made = Plan.load(sweeps.write(tmp_path, text)), optuna.create_study()
    assert [num_wanted(plan, None, trials, said.append) for trials in (None, 2, 3)] == [3, 2, 3]
    distributions = {parameter.name: parameter.distribution for parameter in plan.space.parameters}
    made.add_trial(optuna.trial.create_trial(
        value=1.0, params={"loss.rho": 0.7}, distributions=distributions, user_attrs={IMPORTED_FROM: "other/0"},
    ))  # fmt: skip
    assert [num_wanted(plan, made, trials, said.append) for trials in (None, 1, 2)] == [2, 1, 2]
    assert said == []
    assert num_wanted(plan, made, 3, said.append) == 2
    assert said == ["the grid has 2 combinations to try: no more than that are"]


def test_whether_a_study_is_there_is_found_out_by_reading_its_storage_once(tmp_path, monkeypatch):
    plan, opened, open_it = Plan.load(sweeps.write(tmp_path, SPACE + "start: [[labeler.grid=4]]\n")), [], study.open_storage

    def count(place, notify):
        opened.append(place)
        return open_it(place, notify)

    monkeypatch.setattr(study, "open_storage", count)
    assert (study.find_study(plan, "one", None, print), opened) == (None, [])
    open_study(plan, "one", None, print)
    opened.clear()
    assert study.find_study(plan, "one", None, print).study_name == "one"
    assert len(opened) == 1
    assert study.find_study(plan, "two", str(opened[0]), print) is None  # the storage is there, and has no such study
    assert len(opened) == 2
