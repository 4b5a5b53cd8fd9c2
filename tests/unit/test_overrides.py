"""`--set`: what it changes, what it leaves alone, and what it refuses."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from aevlp import load_experiment
from aevlp.config.errors import ConfigError
from aevlp.config.loading import resolve
from aevlp.data.prepare import _settings


def changed(*overrides: str, name: str = "digits_gpr") -> dict:
    """Resolved values."""
    return load_experiment(name, overrides).to_dict()


def error(*overrides: str) -> str:
    with pytest.raises(ConfigError) as raised:
        load_experiment("digits_gpr", overrides)
    return str(raised.value)


def test_a_component_is_replaced_without_a_stale_value_or_origin():
    result = resolve("digits_gpr", ["loss.rho=.5", "loss=an"])
    assert result.config.to_dict() == {**changed(), "loss": {"name": "an"}}
    origins = {path: origin for path, origin in result.origins.items() if path.startswith("loss")}
    assert origins == {"loss.name": "configs/loss/an.yaml:2"}


def test_a_component_without_a_fragment_takes_its_defaults():
    result = resolve("digits_an", ["model=timm/resnet18", "labeler=damp", "labeler.encoder.batch_size=8"])
    assert result.config.to_dict()["model"] == {"name": "timm", "boost": None, "backbone": "resnet18", "weights": "pretrained"}
    assert result.origins["model.backbone"] == "--set model=timm/resnet18"
    assert result.config.labeler.encoder.batch_size == 8


def test_one_value_is_edited_and_nothing_else():
    expected = changed()
    expected["loss"]["rho"] = 0.8
    result = resolve("digits_gpr", ["loss.rho=.8"])
    assert result.config.to_dict() == expected
    assert result.origins["loss.rho"] == "--set loss.rho=.8"


def test_one_entry_of_a_list_is_edited():
    result = resolve("digits_gpr", ["loss.beta[1]=8"])
    assert result.config.loss.beta == (0.0, 8.0, -2.0, -2.0)
    assert result.origins["loss.beta"] == "--set loss.beta[1]=8"


def test_one_entry_of_a_list_that_no_file_sets_is_edited():
    assert changed("labeler.prompts[0]=a scan of a {}.")["labeler"]["prompts"] == ["a scan of a {}."]


def test_one_entry_of_a_list_is_edited_in_a_section_that_is_no_component():
    assert load_experiment("digits_gpr", ["trainer.stop_signals[1]=HUP"]).trainer.stop_signals == ("HUP", "HUP", "USR2")
    assert error("tracking.tags[0]=a") == "--set tracking.tags[0]=a: [0] does not exist; the value is a list of 0"


@pytest.mark.parametrize("name", ["set #2", "# 2", "2024 #2", "a  b", "it's"])
def test_a_word_is_a_name_as_it_stands_since_a_shell_has_its_own_comments(name):
    assert changed(f"tracking.notes= {name} ")["tracking"]["notes"] == name


@pytest.mark.parametrize("name", ["2024", "a: b", "set #2", "it's", "null", "[a", "*a", "café 🐦", "plain", '"a"', "a/b c"])
def test_a_printed_command_means_the_folder_that_was_prepared(name, monkeypatch):
    monkeypatch.delenv("AEVLP_DATA", raising=False)
    _, *words = shlex.split(_settings("folder", Path(name), Path(f"{name} out")))
    dataset = load_experiment("coco_an", words).dataset
    assert (dataset.root, dataset.arrays) == (str(Path(name).absolute()), str(Path(f"{name} out").absolute()))


def test_what_is_no_word_is_read_as_in_a_file():
    values = changed("tracking.tags=[a, b] # both", "tracking.notes=null", "tracking.group='set # 2' # quoted", "seed= 3 ")
    assert (values["tracking"]["tags"], values["tracking"]["notes"], values["tracking"]["group"]) == (["a", "b"], None, "set # 2")
    assert values["seed"] == 3


def test_a_list_is_replaced_whole():
    assert load_experiment("digits_gpr", ["loss.beta=[1, 2, 3, 4]"]).loss.beta == (1.0, 2.0, 3.0, 4.0)


def test_the_neighbours_of_a_nested_value_stay():
    expected = changed()
    expected["labeler"]["label_graph"]["neighbors"] = 3
    assert changed("labeler.label_graph.neighbors=3") == expected
    assert expected["labeler"]["label_graph"]["enabled"] is False


def test_the_neighbours_of_a_nested_value_that_no_file_sets_keep_their_defaults():
    before = changed("labeler=damp")["labeler"]
    assert before["label_graph"]["enabled"] is True
    for key, value in (("label_graph.neighbors=3", 3), ("encoder.batch_size=8", 8)):
        part, _, last = key.partition("=")[0].partition(".")
        after = changed("labeler=damp", f"labeler.{key}")["labeler"]
        assert after == {**before, part: {**before[part], last: value}}


def test_sections_of_defaults_can_be_set():
    values = changed("tracking.mode=off", "selection.labels=observed", "tracking.tags=[a, b]")
    assert (values["tracking"]["mode"], values["tracking"]["tags"]) == ("off", ["a", "b"])
    assert values["selection"] == {"labels": "observed", "epoch": "best"}


def test_later_words_win_and_null_switches_off():
    values = changed("seed=1", "trainer.patience=null", "seed=2")
    assert values["seed"] == 2
    assert values["trainer"]["patience"] is None


@pytest.mark.parametrize(
    "word", ["loss", "loss.rho", "=3", "a b=1", "loss.beta[-1]=3", "loss..rho=1", "[0]=1", f"loss.beta[{'9' * 5000}]=1"]
)
def test_a_word_of_another_shape_is_refused(word):
    assert error(word) == f"--set {word}: write it as path=value, for example loss.rho=0.8, loss=an or loss.beta[1]=8"


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("loss.beta[9]=1", "[9] does not exist; the value is a list of 4"),
        ("loss.rho[0]=1", "[0] does not exist; the value is not a list"),
        ("loss[0]=1", "[0] does not exist; the value is not a list"),
        ("loss.rho.x=1", "loss.rho is a single value and has no keys"),
        ("loss.rho.x.y=1", "x lies inside a single value, which has no keys"),
        ("loss=", "give the name of a loss; single values are set as loss.KEY=VALUE"),
        ("trainer={epochs: 3}", "give the name of a trainer; single values are set as trainer.KEY=VALUE"),
        ("loss=gprr", "unknown loss 'gprr'; did you mean 'gpr' or 'gr'?"),
        ("trainer=digit", "unknown trainer 'digit'; did you mean 'digits'?"),
        ("losss=an", "losss: unknown section; did you mean 'loss'?"),
        ("epochs=3", "epochs: unknown section; did you mean --set trainer.epochs=3?"),
        ("lr=.1", "lr: unknown section; did you mean --set trainer.learning_rate=.1?"),
        ("rho=.1", "rho: unknown section; did you mean --set loss.rho=.1?"),
        ("seeds=2", "seeds: unknown section; did you mean 'seed'?"),
        ("trainer.lr=.1", "trainer.lr: unknown key; did you mean 'learning_rate'?"),
        ("loss.roh=1", "loss.roh: unknown key; did you mean 'rho'?"),
        ("labeler.encoder.sorce=x", "labeler.encoder.sorce: unknown key; did you mean 'source'?"),
        ("labeler.negatives=of", "labeler.negatives: input should be 'off' or 'on' (got 'of')"),
        ("loss.rho=2", "loss.rho: input should be less than or equal to 1 (got 2)"),
        ("loss.rho=high", "loss.rho: input should be a valid number, unable to parse string as a number (got 'high')"),
        ("loss.beta=[0, 1, x, 3]", "loss.beta[2]: input should be a valid number, unable to parse string as a number (got 'x')"),
        ("loss.beta[1]=x", "loss.beta[1]: input should be a valid number, unable to parse string as a number (got 'x')"),
        ("loss.beta=[0, 1, 2]", "loss.beta[3]: is missing"),
        ("loss.rho=true", "loss.rho: must be a number, is true"),
        ("trainer.max_drop=false", "trainer.max_drop: must be a number, is false"),
        ("trainer.num_workers=true", "trainer.num_workers: must be a number, is true"),
        ("loss.beta=[0, true, 1, 1]", "loss.beta: must be numbers, holds true"),
        ("loss.beta[1]=false", "loss.beta: must be numbers, holds false"),
        ("loss.name=[gpr]", "give the name of a loss; single values are set as loss.KEY=VALUE"),
        ("name=a/b", "name: string should match pattern '^[A-Za-z0-9_.-]{1,80}$' (got 'a/b')"),
    ],
)
def test_what_cannot_be_set_is_told_with_the_word(word, message):
    assert error(word) == f"--set {word}: {message}"


@pytest.mark.parametrize("number", [".nan", ".inf", "-.inf", "1e999"])
def test_a_number_that_is_not_finite_is_refused(number):
    assert error(f"trainer.learning_rate={number}").startswith(f"--set trainer.learning_rate={number}, line 1: {number} is ")


def test_a_fraction_is_not_rounded():
    assert "fractional part (got 2.5)" in error("trainer.epochs=2.5")


def test_values_that_only_disagree_with_each_other_name_their_section():
    assert error("loss.lambda1=.1").endswith("loss: lambda1 (0.1) must not be below lambda2 (0.4)")


def test_several_errors_are_reported_at_once():
    message = error("loss.rho=2", "loss.q2=-1", "sed=1", "trainer.epochs=0")
    assert sorted(line.split(": ")[1] for line in message.splitlines()) == ["loss.q2", "loss.rho", "sed", "trainer.epochs"]
