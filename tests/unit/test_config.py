"""Configuration: merging and origins, `--set`, validation, round trip and hash."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aevlp import load_experiment
from aevlp.config.errors import ConfigError
from aevlp.config.finding import files
from aevlp.config.loading import from_dict, resolve
from aevlp.config.registry import PARTS
from aevlp.config.yaml_reading import read_yaml, write_yaml

ROOT = Path(__file__).parents[2]
BASE = "base: [dataset/digits, model/small_cnn, labeler/none, loss/gpr, trainer/digits]\n"


@pytest.fixture
def experiment(tmp_path, monkeypatch):
    """Write experiments/NAME.yaml into a working folder; returns NAME."""
    monkeypatch.chdir(tmp_path)

    def write(text: str | bytes, name: str = "mine", folder: str = "experiments") -> str:
        path = tmp_path / folder / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return name

    return write


def error(name: str, *overrides: str) -> str:
    with pytest.raises(ConfigError) as raised:
        load_experiment(name, overrides)
    return str(raised.value)


@pytest.mark.parametrize("name", sorted(files("experiments")))
def test_every_shipped_experiment_is_valid(name):
    assert load_experiment(name).name == name


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*/*.yaml")), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_fragment_is_valid_in_an_experiment(path):
    needed = {"bce": ["dataset.train_labels=full"], "mime": ["model=mime"], "smile": ["model=smile"]}.get(path.stem, [])
    needed += ["model.encoder.source=bundled"] if path.parent.name == "model" and path.stem == "probe" else []
    config = load_experiment("digits_an", [f"{path.parent.name}={path.stem}", *needed])
    values, given = config.to_dict()[path.parent.name], read_yaml(path.read_text(), path.name)[0]
    for key in given.keys() - {"encoder", "label_graph", "backbone"}:
        assert values[key] == given[key]


@pytest.mark.parametrize(
    ("section", "part", "text"),
    [
        ("model", "backbone", "{name: mime, backbone: {depth: 101, weights: none}}"),
        ("model", "backbone", "{name: probe, backbone: {depth: 101}}"),
        ("model", "encoder", "{name: probe, encoder: {source: bundled}}"),
        ("labeler", "encoder", "{name: damp, encoder: {source: bundled}}"),
        ("labeler", "encoder", "{name: vlpl, encoder: {source: bundled}}"),
    ],
)
def test_a_part_without_a_name_is_the_default_of_its_kind(experiment, section, part, text):
    experiment(f"base: [dataset/digits, model/small_cnn, labeler/none, loss/an]\n{section}: {text}\n")
    assert resolve("mine").config.to_dict()[section][part]["name"] == PARTS[part][1]


def test_later_sources_win_and_each_value_knows_its_origin(experiment):
    experiment("name: gpr\nrho: 0.2\nq2: 0.2\nlambda2: 0.2\n", name="soft", folder="configs/loss")
    experiment("base: [dataset/digits, model/small_cnn, labeler/none, loss/soft]\nloss:\n  rho: 0.3\n  q2: 0.3\n")
    result = resolve("mine", ["loss.rho=.4"])
    loss = result.config.to_dict()["loss"]
    assert [loss[key] for key in ("rho", "q2", "lambda2", "lambda1")] == [0.4, 0.3, 0.2, 0.7]
    origins = [result.origins.get(f"loss.{key}") for key in ("rho", "q2", "lambda2", "lambda1")]
    assert origins == ["--set loss.rho=.4", "experiments/mine.yaml:4", "configs/loss/soft.yaml:4", None]


def test_an_experiment_inherits_and_nested_mappings_merge(experiment):
    experiment("base: digits_gpr\nseed: 5\nlabeler:\n  label_graph: {neighbors: 4}\nloss: {beta: [0, 4, -2, -2]}\n")
    result, parent = resolve("mine"), load_experiment("digits_gpr")
    labeler = parent.labeler.model_copy(update={"label_graph": parent.labeler.label_graph.model_copy(update={"neighbors": 4})})
    loss = parent.loss.model_copy(update={"beta": (0.0, 4.0, -2.0, -2.0)})
    assert result.config == parent.model_copy(update={"name": "mine", "seed": 5, "labeler": labeler, "loss": loss})
    assert result.origins["labeler.label_graph.enabled"].startswith("experiments/digits/gpr.yaml:")
    assert result.origins["labeler.label_graph.neighbors"] == "experiments/mine.yaml:4"


@pytest.mark.parametrize("text", ["loss: an\n", "loss: {name: an}\n"])
def test_an_experiment_that_names_another_component_keeps_nothing_of_the_old_one(experiment, text):
    experiment("base: digits_gpr\n" + text)
    result = resolve("mine")
    assert result.config.to_dict()["loss"] == {"name": "an"}
    assert {path for path in result.origins if path.startswith("loss.")} == {"loss.name"}


def test_an_experiment_may_be_given_as_a_file(experiment, tmp_path):
    experiment(BASE, name="elsewhere", folder="deep")
    assert load_experiment("deep/elsewhere.yaml") == load_experiment(tmp_path / "deep" / "elsewhere.yaml")
    assert load_experiment("deep/elsewhere.yaml").name == "elsewhere"
    assert error("deep/nowhere.yaml") == "experiment deep/nowhere.yaml: no such file"


def test_an_experiment_of_a_dataset_lies_in_its_folder(experiment):
    experiment(BASE, name="mine", folder="experiments/digits")
    assert load_experiment("digits_mine").name == "digits_mine"
    assert load_experiment("experiments/digits/mine.yaml").name == "digits_mine"
    assert load_experiment(ROOT / "experiments/digits/an.yaml") == load_experiment("digits_an")
    assert "table1" not in files("experiments")
    assert "suites_table1" not in files("experiments")


def test_a_file_that_has_moved_into_the_folder_of_its_dataset_is_told(experiment):
    told = "experiment experiments/digits_an.yaml: is now experiments/digits/an.yaml; its name, digits_an, stays"
    assert error("experiments/digits_an.yaml") == told
    assert error(ROOT / "experiments/digits_an.yaml").endswith("is now experiments/digits/an.yaml; its name, digits_an, stays")


def test_the_package_wins_over_the_working_folder(experiment):
    experiment(BASE, name="digits_an")
    assert files("experiments")["digits_an"] == ROOT / "experiments/digits/an.yaml"


def test_an_experiment_that_the_package_hides_is_not_ignored_but_told(experiment, tmp_path):
    experiment(BASE, name="digits_an")
    told = "experiments/digits_an.yaml here is hidden by the shipped one; rename it, or give its path"
    assert error("digits_an") == told
    experiment("base: digits_an\n")
    assert error("mine") == f"experiments/mine.yaml:1: {told}"
    assert load_experiment("experiments/digits_an.yaml").loss.name == "gpr"
    (tmp_path / "experiments/digits_an.yaml").write_bytes((ROOT / "experiments/digits/an.yaml").read_bytes())
    assert load_experiment("digits_an").loss.name == "an"  # says the same


def test_a_fragment_that_the_package_hides_is_told_where_it_is_asked_for(experiment):
    experiment("name: an\n", name="an", folder="configs/loss")
    assert load_experiment("digits_gpr").loss.name == "gpr"
    told = "configs/loss/an.yaml here is hidden by the shipped one; rename it"
    with pytest.raises(ConfigError, match=f"--set loss=an: {told}$"):
        load_experiment("digits_gpr", ["loss=an"])
    experiment("base: digits_gpr\nloss: an\n")
    assert error("mine") == f"experiments/mine.yaml:2: {told}"


def test_a_base_that_loops_is_refused(experiment):
    experiment("base: other\n")
    experiment("base: mine\n", name="other")
    assert error("mine") == "experiments/mine.yaml: `base` leads back to the file itself"


@pytest.mark.parametrize("base", ["5", "null", "{dataset: digits}", "[[dataset/digits]]", "[1]"])
def test_a_base_of_another_shape_is_refused(experiment, base):
    experiment(f"seed: 1\nbase: {base}\n")
    assert error("mine").startswith("experiments/mine.yaml:2: base: must be a list of names")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("seed: 1\nbase: digit_gpr\n", "experiments/mine.yaml:2: unknown experiment 'digit_gpr'; did you mean 'digits_gpr'"),
        ("base: [dataset/digit]\n", "experiments/mine.yaml:1: unknown fragment 'dataset/digit'; did you mean 'digits'?"),
        ("base: [losses/gpr]\n", "experiments/mine.yaml:1: unknown section 'losses'; did you mean 'loss'?"),
        (BASE + "trainer:\n  epoch: 3\n", "experiments/mine.yaml:3: trainer.epoch: unknown key; did you mean 'epochs'?"),
        (BASE + "epochs: 3\n", "experiments/mine.yaml:2: epochs: unknown section; did you mean trainer.epochs?"),
        (BASE + "losss: {rho: 1}\n", "experiments/mine.yaml:2: losss: unknown section; did you mean 'loss'?"),
        (BASE + "loss: gprr\n", "experiments/mine.yaml:2: unknown loss 'gprr'; did you mean 'gpr'"),
        (BASE + "loss:\n  name: gprr\n", "experiments/mine.yaml:3: loss.name: unknown loss 'gprr'; did you mean 'gpr'"),
        (BASE + "loss: 5\n", "experiments/mine.yaml:2: loss.name: must be a name or a mapping with a name"),
        (BASE + "trainer: []\n", "experiments/mine.yaml:2: trainer: input should be a valid dictionary"),
        (BASE + "loss:\n  rho: .nan\n", "experiments/mine.yaml, line 3: .nan is not a finite number"),
        ("trainer:\n  epochs: 3\n", "experiments/mine.yaml: has no `base:` and no dataset, model, labeler, loss; begin it with"),
        ("loss: an\n", "experiments/mine.yaml: has no `base:` and no dataset, model, labeler; begin it with the experiment"),
        ("- a\n", "experiments/mine.yaml: must hold `key: value` lines"),
        (b"name: \xff\n", "experiments/mine.yaml: cannot be read: 'utf-8' codec can't decode"),
    ],
)
def test_an_error_names_file_line_path_and_nearest_name(experiment, text, expected):
    experiment(text)
    assert error("mine").startswith(expected)


def test_an_unknown_experiment_is_told_the_nearest_and_where_to_look():
    assert error("digits_gpl").startswith("unknown experiment 'digits_gpl'; did you mean 'digits_gpr'")
    assert "run.py list experiments" in error("zzz")


def test_missing_sections_and_all_other_errors_are_reported_at_once(experiment):
    experiment("base: [dataset/digits, loss/gpr]\nloss: {rho: 2}\ntrainer: {epochs: 0, epoch: 1}\nsed: 1\n")
    starts = [line.split(" ", 2)[:2] for line in error("mine", "tracking.mode=loud").splitlines()]
    assert sorted(words[0] if words[0] in ("model:", "labeler:") else words[1] for words in starts) == sorted(
        ["sed:", "model:", "labeler:", "loss.rho:", "trainer.epochs:", "trainer.epoch:", "tracking.mode=loud:"]
    )


def test_full_labels_with_a_labeler_are_refused():
    message = error("digits_gpr", "dataset.train_labels=full")
    assert message == "dataset.train_labels: full leaves nothing to pseudo-label; set labeler: none as well"
    assert load_experiment("digits_gpr", ["dataset.train_labels=full", "labeler=none"]).dataset.train_labels == "full"


def test_a_configuration_is_frozen():
    config = load_experiment("digits_gpr")
    for part, key in ((config, "seed"), (config.loss, "rho"), (config.trainer, "epochs"), (config.labeler.encoder, "source")):
        with pytest.raises(pydantic.ValidationError, match="frozen"):
            setattr(part, key, getattr(part, key))
    assert isinstance(config.tracking.tags, tuple)


LETTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0/\\#?%:")  # those W&B takes in a project's name


@settings(max_examples=60, deadline=None)
@given(
    st.text(LETTERS, min_size=1, max_size=9).filter(str.strip)
    | st.sampled_from(["1e5", "123e4567", "off", "null", "1_0", "09", "~", ".inf", "\x85x"])
)
def test_a_configuration_survives_its_file(word):
    values = load_experiment("digits_gpr").to_dict()
    values["tracking"] |= {"project": word, "tags": [word, word]}
    values["labeler"]["encoder"] |= {"revision": word, "source": word}
    config = from_dict(values, "memory")
    again = from_dict(read_yaml(write_yaml(config.to_dict()), "config.yaml")[0], "config.yaml")
    assert again == config
    assert again.hash == config.hash


def test_the_hash_tells_results_apart_and_nothing_else():
    def hash_of(*overrides: str) -> str:
        return load_experiment("digits_gpr", overrides).hash

    assert hash_of("name=other", "tracking.mode=off", "tracking.tags=[a]", "loss.rho=0.9", "loss.q3=1.0") == hash_of()
    assert hash_of("trainer.threads=1", "trainer.num_workers=3", "trainer.image_cache=ram", "trainer.log_every=9") == hash_of()
    assert hash_of("trainer.evaluate_labeler=false", "labeler.encoder.batch_size=7", "trainer.eval_batch_size=9") == hash_of()
    assert hash_of("labeler=none", "trainer.evaluate_labeler=false") == hash_of("labeler=none")
    assert hash_of("labeler.flip=true", "trainer.num_workers=auto") == hash_of()
    changed = (
        "labeler.flip=false",
        "loss.rho=.8",
        "labeler.grid=2",
        "trainer.epochs=9",
        "dataset.num_train=9",
        "selection.labels=observed",
        "selection.epoch=last",
        "loss=an",
        "trainer.earlier_epochs=[4]",
    )
    assert len({hash_of(), *(hash_of(override) for override in changed)}) == 1 + len(changed)


def test_where_the_data_lie_does_not_count_and_what_is_taken_of_them_does():
    def hash_of(*overrides: str) -> str:
        return load_experiment("coco_gpr", overrides).hash

    assert hash_of("dataset.root=/a") == hash_of("dataset.root=/b", "dataset.arrays=/c") == hash_of() == "df53eb7e1b1b"
    assert len({hash_of(), hash_of("dataset.images=small"), hash_of("dataset.classes=names.txt")}) == 3


def test_a_setting_of_extended_runs_alone_is_told_of_no_other():
    assert "earlier_epochs" not in load_experiment("digits_gpr").to_dict()["trainer"]
    assert load_experiment("digits_gpr", ["trainer.earlier_epochs=[4]"]).to_dict()["trainer"]["earlier_epochs"] == [4]


@pytest.mark.parametrize(("name", "before"), [("digits_an", "a0134b844d0b"), ("digits_gpr", "1f47f469be2e")])
def test_a_setting_that_came_later_leaves_runs_of_before_repetitions_of_those_of_today(name, before):
    assert load_experiment(name).hash == before, "a new setting belongs into CAME_LATER, a changed recipe here"


@pytest.mark.parametrize(
    ("word", "path"),
    [
        (f"tracking.tags=[{'a' * 70}]", r"tracking\.tags\[0\]: has 70 characters; W&B takes 1 to 64"),
        ("tracking.tags=[a, '']", r"tracking\.tags\[1\]: has 0 characters, all blank; W&B"),
        ("tracking.tags=[' ']", r"tracking\.tags\[0\]: has 1 characters, all blank"),
        ("tracking.project=a/b:c", r"tracking\.project: holds / :, which W&B refuses here"),
        (f"tracking.project={'a' * 129}", r"tracking\.project: has 129 characters; W&B takes 1 to 128"),
        ("tracking.project=' '", r"tracking\.project: has 1 characters, all blank"),
        ("tracking.entity=''", r"tracking\.entity: has 0 characters"),
        ("tracking.entity=team/project", r"tracking\.entity: holds /, which W&B"),
        (f"tracking.group={'a' * 129}", r"tracking\.group: has 129 characters"),
        ("tracking.job_type=' '", r"tracking\.job_type: has 1 characters"),
        (f"name={'a' * 81}", r"name: string should match pattern"),
    ],
)
def test_what_wandb_would_not_take_is_refused_before_training(word, path):
    with pytest.raises(ConfigError, match=path):
        load_experiment("digits_gpr", [word])


@settings(max_examples=60, deadline=None)
@given(st.text(LETTERS, min_size=1, max_size=80), st.lists(st.text(min_size=0, max_size=70), max_size=3))
def test_what_is_accepted_is_accepted_by_wandb(project, tags):
    from wandb import Settings

    values = load_experiment("digits_gpr").to_dict()
    values["tracking"] |= {"project": project, "tags": tags}
    with contextlib.suppress(ConfigError):
        tracking = from_dict(values, "memory").tracking
        Settings(project=tracking.project, run_tags=tracking.tags, run_id=f"{'a' * 80}-20260101-000000-abcdef")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("dataset.known={share: 0}", r"dataset\.known\.share: input should be greater than 0 \(got 0\)"),
        ("dataset.known={share: 1.1}", r"dataset\.known\.share: input should be less than or equal to 1 \(got 1\.1\)"),
        ("dataset.known={shar: 0.1}", r"dataset\.known\.shar: unknown key; did you mean 'share'\?"),
        ("dataset.known={positives: some}", r"dataset\.known\.positives: must be a whole number from 0, or all \(got 'some'\)"),
        ("dataset.known={positives: 1, negatives: -5}", r"dataset\.known\.negatives: must be a whole number from 0, or all"),
        ("dataset.known={positives: 0}", r"dataset\.known: positives: 0 and negatives: 0 leave nothing to learn from"),
        ("dataset.known={negatives: 5}", r"dataset\.known: takes \{share: S\}, or \{positives: P\}"),
        ("dataset.known={share: 0.1, positives: 1}", r"dataset\.known: takes \{share: S\}, or \{positives: P\}"),
        ("dataset.known=sngle", r"dataset\.known: input should be 'single' or 'given' \(got 'sngle'\)"),
        ("dataset.known=[1]", r"dataset\.known: input should be 'single' or 'given' \(got \[1\]\)"),
    ],
)
def test_what_cannot_be_known_is_told_in_one_line(override, message):
    with pytest.raises(ConfigError, match=rf"^--set .*: {message}[^\n]*$"):
        load_experiment("digits_an", [override])


@pytest.mark.parametrize(
    "overrides",
    [
        ["dataset.known={share: 0.1}", "dataset.draw=rare"], ["dataset.known=given", "dataset.draw=frequent"],
        ["dataset.known={positives: all}", "dataset.draw=rare"],
    ],
)  # fmt: skip
def test_a_draw_of_positives_needs_a_number_of_them(overrides):
    with pytest.raises(ConfigError, match=r"draw: \w+ says which positives are drawn; here none is"):
        load_experiment("digits_an", overrides)


def test_all_labels_are_made_known_in_one_way_only():
    with pytest.raises(ConfigError, match=r"train_labels: full makes all labels known already"):
        load_experiment("digits_bce", ["dataset.known={share: 0.5}"])


def test_what_is_known_tells_results_apart_and_before_it_could_be_said_it_was_single():
    known = ["single", "given", "{share: 0.1}", "{share: 0.3}", "{positives: 1}", "{positives: 1, negatives: 5}"]
    hashes = [load_experiment("digits_gpr", [f"dataset.known={word}"]).hash for word in known]
    assert len({*hashes, load_experiment("digits_gpr", ["dataset.draw=rare"]).hash}) == len(known) + 1
    config = load_experiment("digits_gpr")
    assert config.hash == hashes[0]
    before = config.to_dict()
    del before["dataset"]["known"], before["dataset"]["draw"]
    assert from_dict(before, "config.yaml").hash == config.hash
    for word in known:
        changed = load_experiment("digits_gpr", [f"dataset.known={word}"])
        assert from_dict(changed.to_dict(), "config.yaml") == changed


def test_an_encoder_is_a_part_of_a_labeler_and_the_first_kind_is_meant_where_none_is_named(tmp_path):
    config = load_experiment("digits_gpr")
    before = config.to_dict()
    assert before["labeler"]["encoder"].pop("name") == "huggingface"
    assert from_dict(before, "config.yaml") == config
    assert (
        from_dict(before, "config.yaml").hash
        == config.hash
        == load_experiment("digits_gpr", ["labeler.encoder.name=huggingface"]).hash
    )
    (tmp_path / "mine.yaml").write_text("base: digits_gpr\nlabeler: {encoder: {name: huggingface, batch_size: 3}}\n")
    mine = load_experiment(tmp_path / "mine.yaml").labeler.encoder
    assert (mine.source, mine.batch_size) == ("bundled", 3)
    with pytest.raises(
        ConfigError, match=r"^--set \S+: labeler\.encoder: unknown encoder 'hugingface'; did you mean 'huggingface'"
    ):
        load_experiment("digits_gpr", ["labeler.encoder.name=hugingface"])
    with pytest.raises(ConfigError, match=r"labeler\.encoder\.sourc: unknown key; did you mean 'source'"):
        load_experiment("digits_gpr", ["labeler.encoder.sourc=x"])
