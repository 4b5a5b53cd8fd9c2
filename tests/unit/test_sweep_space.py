"""Search spaces and study files: what they mean."""

from __future__ import annotations

import json

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
    assert plan.nearest(config.to_dict())[0] == {**CODES, "loss.alpha": "[0.5, 2, 1.0, 0.3]"}


def test_a_parameter_whose_condition_fails_is_neither_searched_nor_set(plan):
    codes, words = plan.space.walk(plan.values, by_name({**CODES, "labeler.negatives": "off"}))
    assert "labeler.negative_ratio" not in codes
    assert not any(word.startswith("labeler.negative_ratio") for word in words)


def test_a_case_sets_all_its_words_and_what_lies_outside_a_range_does_not_fit(plan):
    _, words = plan.space.walk(plan.values, by_name({**CODES, "local views": "without"}))
    assert [word for word in words if word.startswith("labeler.threshold")] == ["labeler.threshold=0.6"]
    base = load_experiment("digits_gpr", ["labeler.grid=4"])
    assert plan.nearest(base.to_dict())[0]["local views"] == "with"
    for word in ("labeler.grid=3", "labeler.grid=8", "loss.lambda1=0.45", "loss.alpha[0]=0.4"):
        with pytest.raises(UnfitError):
            plan.nearest(load_experiment("digits_gpr", ["labeler.grid=4", word]).to_dict())


@pytest.mark.parametrize(("when", "undone"), [("", True), (", when: {views: without}", True), (", when: {views: with}", False)])
def test_a_word_of_a_case_that_never_holds_is_told_with_what_undoes_it(tmp_path, when, undone):
    space = f"labeler.grid: {{int: [2, 6]{when}}}, views: {{cases: {{with: [], without: [labeler.grid=0]}}}}"
    plan = Plan.load(sweeps.write(tmp_path, f"base: digits_gpr\nspace: {{{space}}}\n"))
    said = "space.views: labeler.grid=0 of case without does nothing, as space.labeler.grid sets the same; give that `when: "
    assert [note.startswith(said) for note in plan.space.notes] == [True] * undone


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
    ("base", "space", "codes"),
    [
        ("voc_gpr", "model: {choice: [resnet101, resnet50]}", {"model": "resnet50"}),
        ("voc_gpr", "kind: {cases: {large: [model=resnet101], small: [model=resnet50]}}", {"kind": "small"}),
        ("digits_gpr", "trainer: {choice: [default, digits]}", {"trainer": "digits"}),
        ("voc_gpr", "model: {choice: [resnet101, mime]}", None),
    ],
)
def test_a_fragment_by_name_is_that_of_the_base_where_it_says_what_the_base_has(tmp_path, base, space, codes):
    plan, told = Plan.load(sweeps.write(tmp_path, f"base: {base}\ntrials: 1\nspace: {{{space}}}\n")), []
    assert plan.starts(told.append) == ([] if codes is None else [codes])
    assert plan.base_codes == codes
    assert len(told) == (codes is None)
    assert all(len(line) < 200 for line in told)


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


@pytest.mark.parametrize(
    ("space", "codes", "path", "value"),
    [
        (
            "loss.rho: {float: [0.5, 1]}, on: {cases: {a: [], b: []}}, loss: {choice: [gpr], when: {on: a}}",
            {"loss.rho": 0.55}, "rho", 0.55,
        ),
        ("a case: {cases: {high: [loss.rho=0.55]}}, loss: {choice: [gpr]}", {}, "rho", 0.55),
        ("a case: {cases: {high: [loss.rho=0.55]}}, kind: {cases: {gpr: [loss=gpr]}}", {}, "rho", 0.55),
        (
            "loss.lambda2: {fraction_of: loss.lambda1, low: 0.2, high: 0.9}, loss.lambda1: {fraction_of: loss.rho, low: 0.2, "
            "high: 0.9}, loss.rho: {choice: [0.5, 1.0]}",
            {"loss.lambda2 / loss.lambda1": 0.5, "loss.lambda1 / loss.rho": 0.8, "loss.rho": 1.0}, "lambda2", 0.4,
        ),
        (
            "'loss.beta[1]': {float: [5, 9]}, loss.beta: {choice: [[0, 1, -2, -2], [0, 2, -2, -2]]}",
            {"loss.beta[1]": 7.5}, "beta", (0.0, 7.5, -2.0, -2.0),
        ),
    ],
)  # fmt: skip
def test_each_parameter_comes_after_those_that_would_undo_it_and_those_it_is_a_share_of(tmp_path, space, codes, path, value):
    plan = Plan.load(sweeps.write(tmp_path, f"base: digits_gpr\ntrials: 1\nspace: {{{space}}}\n"))
    words = plan.space.walk(plan.values, lambda parameter: codes.get(parameter.name, parameter.middle))[1]
    assert getattr(plan.resolve(words).loss, path) == value


def test_what_decides_on_a_component_comes_before_it_though_it_sets_something_inside(tmp_path):
    space = "kind: {cases: {ours: [labeler.grid=2], theirs: []}}, labeler: {choice: [vlpl, none], when: {kind: theirs}}"
    plan = Plan.load(sweeps.write(tmp_path, f"base: digits_gpr\ntrials: 1\nspace: {{{space}}}\n"))
    _, words = plan.space.walk(plan.values, by_name({"kind": "ours"}))
    assert plan.resolve(words).labeler.grid == 2
    _, words = plan.space.walk(plan.values, by_name({"kind": "theirs", "labeler": "vlpl"}))
    assert plan.resolve(words).labeler.name == "vlpl"


def test_a_share_is_of_a_number_of_the_base_only_where_that_is_not_searched(tmp_path):
    space = "trainer.max_drop: {float: [0.5, 1], when: {kind: a}}, kind: {cases: {a: [], b: []}}, "
    share = "loss.rho: {fraction_of: trainer.max_drop, low: 0.2, high: 0.9"
    text = f"base: digits_gpr\nset: [trainer.max_drop=null]\ntrials: 1\nspace: {{{space}{share}"
    with pytest.raises(ConfigError, match=r"space\.loss\.rho: trainer\.max_drop is no number of the base"):
        Plan.load(sweeps.write(tmp_path, text + "}}\n"))
    plan = Plan.load(sweeps.write(tmp_path, text + ", when: {kind: a}}}\n"))
    assert list(plan.space.walk(plan.values, by_name({"kind": "b"}))[0]) == ["kind"]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("path", "config", "last", "note"),
    [
        ("labeler.grid", "{int: [2, 7], step: 2}", 6, "in steps of 2 from 2 the last value is 6, not 7"),
        ("trainer.learning_rate", "{float: [0.001, 0.0105], step: 0.001}", 0.01,
         "in steps of 0.001 from 0.001 the last value is 0.01, not 0.0105"),
        ("loss.rho", "{float: [0.25, 0.5], step: 2}", 0.25, "in steps of 2.0 from 0.25 the last value is 0.25, not 0.5"),
        ("loss.rho", "{float: [0.1, 0.7], step: 0.1}", 0.7, ""),
        ("dataset.num_train", "{int: [10000, 1000000], step: 3}", 1000000, ""),
        ("loss.rho", "{float: [0.1, 0.7]}", 0.7, ""),
    ],
)  # fmt: skip
def test_a_range_goes_as_far_as_its_steps_reach_and_the_study_is_the_one_in_the_file(tmp_path, path, config, last, note):
    plan = Plan.load(sweeps.write(tmp_path, f"base: digits_gpr\nspace:\n  {path}: {config}\n"))
    (parameter,) = plan.space.parameters
    assert (parameter.ends[1], parameter.distribution.high) == (last, last)
    assert parameter.note == (note and f"space.{path}: {note}")
    written = plan.study.space[path].model_dump(by_alias=True, exclude_defaults=True)
    assert plan.definition()[f"space.{path}"] == json.dumps(written)


def test_whole_components_come_before_their_settings(tmp_path):
    text = "base: digits_gpr\ntrials: 1\nspace: {loss.rho: {float: [0.5, 1], when: {loss: gpr}}, loss: {choice: [an, gpr]}}"
    plan = Plan.load(sweeps.write(tmp_path, text))
    _, words = plan.space.walk(plan.values, by_name({"loss": "gpr", "loss.rho": 0.7}))
    assert plan.resolve(words).loss.rho == 0.7
    assert plan.resolve(plan.space.walk(plan.values, by_name({"loss": "an"}))[1]).loss.name == "an"


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
    assert said == ["the whole grid is tried with 2 trials; no more are begun"]


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


def test_where_the_data_lie_makes_no_other_study(tmp_path):
    path = sweeps.write(tmp_path, "base: coco_gpr\nspace:\n  loss.rho: {float: [0.1, 0.7]}\n")
    moved = Plan.load(path, ("dataset.root=/a", "dataset.arrays=/b"))
    assert moved.definition() == Plan.load(path).definition()
