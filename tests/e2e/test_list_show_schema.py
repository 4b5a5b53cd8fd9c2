"""`list`, `show` and `schema`: what there is, with which values, and where each came from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aevlp.cli import main
from aevlp.command import COMMAND
from aevlp.config import registry
from aevlp.config.finding import dataset_of, experiment_name, files
from aevlp.config.loading import load_experiment
from aevlp.config.yaml_reading import read_yaml

ROOT = Path(__file__).parents[2]
EXPERIMENTS = files("experiments")
DATASETS = sorted({dataset_of(path) for path in EXPERIMENTS.values()})
SUITES = sorted((ROOT / "experiments/suites").glob("*.yaml"))
STUDIES = sorted((ROOT / "sweeps").glob("*.yaml"))


@pytest.fixture
def output(capsys):
    """Run a command that must succeed; returns what it wrote to stdout."""

    def succeed(*words: str) -> str:
        assert main(list(words)) == 0
        out, err = capsys.readouterr()
        assert err == ""
        return out

    return succeed


def test_list_names_every_kind_and_every_component(output):
    lines = output("list").splitlines()
    assert [line for line in lines if line and not line.startswith(" ")] == ["experiments", "suites", "sweeps", *registry.KINDS]
    begin = lines.index("suites")
    assert [line.split()[0] for line in lines[:begin] if line.startswith("    ")] == sorted(EXPERIMENTS)
    components = [name for kind in registry.KINDS for name in registry.names(kind)]
    named = [line.split()[0] for line in lines[begin:] if line.startswith(" ")]
    assert named == [path.stem for path in SUITES + STUDIES] + components


def test_experiments_are_grouped_by_dataset_with_the_command_that_prepares_it(output):
    _, *groups = output("list", "experiments").split("\n\n")
    assert len(groups) == len(DATASETS) == 7
    for dataset, group in zip(DATASETS, groups, strict=True):
        first, *others = group.splitlines()
        head = (ROOT / f"configs/dataset/{dataset}.yaml").read_text().splitlines()
        assert first == f"  {head[0].removeprefix('# ')}"
        assert [line.strip() for line in others if line.startswith("  prepare")] == (
            [f"prepare it: {COMMAND} prepare {dataset} --root FOLDER"] if dataset not in ("digits", "scenes") else []
        )
        rows = [line.split()[0] for line in others if line.startswith("    ")]
        assert rows == sorted(name for name, path in EXPERIMENTS.items() if dataset_of(path) == dataset)


@pytest.mark.parametrize("place", ["experiments/mine.yaml", "experiments/digits/mine.yaml", "experiments/other/mine.yaml"])
def test_experiments_of_the_working_folder_are_a_group_of_their_own(output, tmp_path, monkeypatch, place):
    (tmp_path / place).parent.mkdir(parents=True)
    (tmp_path / place).write_text("# What I try.\nbase: digits_gpr\n")
    monkeypatch.chdir(tmp_path)
    *_, own = output("list", "experiments").split("\n\n")
    head, *rows = own.splitlines()
    assert head.startswith("  Your own")
    assert [row.split(maxsplit=1) for row in rows] == [[experiment_name(tmp_path / place), "What I try."]]


@pytest.mark.parametrize("kind", ["experiments", "suites", "sweeps", *registry.KINDS])
def test_list_of_one_kind_gives_each_name_a_sentence(output, kind):
    head, *rest = output("list", kind).splitlines()
    assert head == kind
    assert rest
    assert all(len(line.split()) > 2 for line in rest if line)


def test_list_shows_an_experiment_of_the_working_folder_whatever_its_bytes(output, tmp_path, monkeypatch):
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "mine.yaml").write_bytes(b"# caf\xe9 run\n")
    monkeypatch.chdir(tmp_path)
    assert any(line.split()[0] == "mine" for line in output("list", "experiments").splitlines() if line)


def test_show_gives_each_value_with_its_origin(output):
    words = ["--set", "loss.rho=.8", "loss.q2=.5", "--set", "loss.q3=2", "--seed", "7"]
    rows = {line.split()[0]: line.split(maxsplit=1)[1] for line in output("show", "--exp", "digits_gpr", *words).splitlines()}
    assert rows["loss.rho"].split(maxsplit=1) == ["0.8", "--set loss.rho=.8"]
    assert rows["loss.q2"].split(maxsplit=1) == ["0.5", "--set loss.q2=.5"]
    assert rows["loss.q3"].split(maxsplit=1) == ["2.0", "--set loss.q3=2"]
    assert rows["seed"].split(maxsplit=1) == ["7", "--set seed=7"]
    assert rows["trainer.weight_decay"].split() == ["0.0", "default"]
    assert rows["labeler.negatives"].split()[0] == '"off"'
    assert rows["dataset.name"].split()[1].startswith("configs/dataset/digits.yaml:")


def test_flags_before_the_verb_count_as_well(output):
    assert output("--set", "loss.rho=.8", "--seed", "7", "show", "--exp", "digits_gpr") == output(
        "show", "--exp", "digits_gpr", "--set", "loss.rho=.8", "--seed", "7"
    )


def test_show_diff_lists_only_what_differs_in_both_forms(output):
    text = output("show", "--exp", "digits_gpr", "--diff", "digits_an")
    assert output("show", "--diff", "digits_gpr", "digits_an") == text
    head, *rows = text.splitlines()
    assert head.split() == ["digits_gpr", "digits_an"]
    paths = [row.split()[0] for row in rows]
    assert {"loss.name", "labeler.name", "loss.rho"} < set(paths)
    assert {path.partition(".")[0] for path in paths} == {"loss", "labeler"}
    assert next(row.split() for row in rows if row.startswith("loss.name")) == ["loss.name", '"gpr"', '"an"']
    assert output("show", "--diff", "digits_gpr", "digits_gpr") == "no differences\n"
    changed = output("show", "--exp", "digits_gpr", "--set", "loss.rho=0.8", "--diff", "digits_gpr").split()
    assert changed == ["digits_gpr", "loss.rho=0.8", "digits_gpr", "loss.rho", "0.8", "0.9"]


def test_the_schema_knows_every_key_of_the_shipped_experiments(output):
    schema = json.loads(output("schema"))
    text = json.dumps(schema)
    references = {part.partition('"')[0] for part in text.split('"$ref": "#/$defs/')[1:]}
    assert {reference.replace("~1", "/") for reference in references} <= set(schema["$defs"])
    for name, path in EXPERIMENTS.items():
        data, _ = read_yaml(path.read_text(), path.name)
        assert data.keys() <= schema["properties"].keys()
        for section in registry.SECTIONS.keys() & data.keys():
            component = schema["$defs"][f"{section}/{getattr(load_experiment(name), section).name}"]
            assert component["required"] == []
            if isinstance(data[section], dict):
                assert data[section].keys() <= component["properties"].keys()
                assert all("description" in component["properties"][key] for key in data[section])


def test_the_schema_accepts_what_experiments_may_be_and_refuses_unknown_keys(output):
    validator = pytest.importorskip("jsonschema").Draft202012Validator(json.loads(output("schema")))
    texts = ["base: digits_gpr\nloss: {rho: .5}", "loss: an\ntrainer: digits\ntracking: {mode: off}"]
    for text in [*texts, *(path.read_text() for path in EXPERIMENTS.values())]:
        assert list(validator.iter_errors(read_yaml(text, "x.yaml")[0])) == []
    for backbone in ("resnet50", "timm:resnet18", "null", "{name: resnet, depth: 101}", "{name: timm, backbone: resnet18}"):
        assert list(validator.iter_errors(read_yaml(f"model: {{name: probe, backbone: {backbone}}}", "x.yaml")[0])) == []
    for backbone in ("3", "{name: mime}", "{name: small_cnn, depth: 50}", "{boos: 1}"):
        for model in ("probe", "mime", "smile"):
            assert list(validator.iter_errors(read_yaml(f"model: {{name: {model}, backbone: {backbone}}}", "x.yaml")[0]))
    for text in ("los: an", "loss: {rh: 1}", "loss: {name: an, rho: 1}", "trainer: {epochs: 0}", "seed: a"):
        assert list(validator.iter_errors(read_yaml(text, "x.yaml")[0]))
