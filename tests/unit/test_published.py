"""Checkpoints in the form of the published code: read without running anything, names translated, other classes refused."""

import argparse
import os
import sys
import types
from collections import OrderedDict

import pytest
import torch

from aevlp.cli import main
from aevlp.config.errors import CheckpointError, ConfigError
from aevlp.inference.evaluate import evaluate
from aevlp.inference.open import open_trained
from aevlp.inference.published import EXPERIMENTS, read_published, translate

EXPERIMENT = """
base: digits_gpr
dataset: {name: digits, image_size: 32, num_train: 48, num_val: 40, num_test: 40}
trainer: {eval_batch_size: 20}
"""


@pytest.fixture
def munch(monkeypatch):
    """A stand-in for the munch package: pickles name munch.Munch, as those of the published code do."""

    class Munch(dict):
        def __getstate__(self):
            return dict(self.items())

        def __setstate__(self, state):
            self.clear()
            self.update(state)

    module = types.ModuleType("munch")
    Munch.__module__, Munch.__qualname__ = "munch", "Munch"
    module.Munch = Munch
    monkeypatch.setitem(sys.modules, "munch", module)
    return Munch


@pytest.fixture
def published(trained_run, tmp_path, munch):
    """Write the small run's best weights as the published code would, under its own names."""
    ours = open_trained(str(trained_run)).weights

    def write(feature="feature_extractor.", head="linear_classifier.", weights=None, **settings):
        theirs = OrderedDict(
            (name.replace("backbone.", feature).replace("head.", head), value) for name, value in (weights or ours).items()
        )
        path = tmp_path / "best_model.pt"
        torch.save((theirs, munch(dataset="digits", arch="resnet50", num_classes=10, lr=1e-5, **settings)), path)
        del sys.modules["munch"]  # reading must not need the package
        return path

    (tmp_path / "mine.yaml").write_text(EXPERIMENT)
    write.experiment = str(tmp_path / "mine.yaml")
    write.weights = ours
    return write


@pytest.mark.parametrize(
    ("feature", "head"),
    [
        ("feature_extractor.", "linear_classifier."),
        ("module.feature_extractor.", "module.linear_classifier."),
        ("f.feature_extractor.feature_extractor.", "f.linear_classifier.linear_classifier."),
    ],
)
def test_a_published_checkpoint_scores_as_the_run_it_was_made_of(published, trained_run, feature, head):
    path = published(feature, head)
    found = evaluate(open_trained(str(path), [], published.experiment), "test")
    assert found.mean_average_precision == evaluate(open_trained(str(trained_run)), "test").mean_average_precision
    assert found.chosen_on == "the validation split"


def test_command_takes_the_file(published, capsys):
    assert main(["eval", str(published()), "--exp", published.experiment]) == 0
    assert "mAP " in capsys.readouterr().out


def test_settings_are_read_with_nested_values(published):
    weights, settings = read_published(published(nested={"a": [1, 2.5, None]}, flag=True))
    assert settings["dataset"] == "digits"
    assert settings["nested"] == {"a": [1, 2.5, None]}
    assert {name.partition(".")[0] for name in weights} == {"feature_extractor", "linear_classifier"}


def test_settings_may_be_a_namespace_or_absent(tmp_path):
    torch.save(({"w": torch.ones(1)}, argparse.Namespace(dataset="coco", lr=0.1)), tmp_path / "a.pt")
    assert read_published(tmp_path / "a.pt")[1] == {"dataset": "coco", "lr": 0.1}
    torch.save({"w": torch.ones(1)}, tmp_path / "b.pt")
    assert read_published(tmp_path / "b.pt")[1] == {}


def test_names_of_a_real_resnet_50_become_ours():
    from torchvision.models import resnet50

    from aevlp.config import registry

    with torch.device("meta"):
        network = torch.nn.Module()
        network.feature_extractor = torch.nn.Sequential(*list(resnet50().children())[:-2])
        network.linear_classifier = torch.nn.Linear(2048, 80)
        config = registry.get("models", "resnet").config(name="resnet", weights="none")
        ours = registry.build("models", config, num_classes=80, image_size=448).state_dict()
    found = translate(network.state_dict(), "file")
    assert {name: tensor.shape for name, tensor in found.items()} == {name: tensor.shape for name, tensor in ours.items()}


class Canary:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("place", ["settings", "weights", "whole", "inside"])
def test_a_file_that_would_run_code_is_refused_and_runs_nothing(munch, tmp_path, place):
    canary = Canary(tmp_path / "it ran")
    content = {
        "settings": ({"w": torch.ones(1)}, canary), "weights": (canary, munch(lr=1)), "whole": canary,
        "inside": ({"w": torch.ones(1)}, munch(dataset=canary)),
    }[place]  # fmt: skip
    torch.save(content, tmp_path / "bad.pt")
    with pytest.raises(CheckpointError, match=r"was not loaded: it holds \w+\.mkdir, which is not plain data"):
        read_published(tmp_path / "bad.pt")
    assert not (tmp_path / "it ran").exists()
    torch.load(tmp_path / "bad.pt", weights_only=False)  # the file would have done it
    assert (tmp_path / "it ran").exists()


def test_other_types_are_refused_even_when_harmless(tmp_path):
    torch.save(({"w": torch.ones(1)}, {"path": tmp_path}), tmp_path / "path.pt")
    with pytest.raises(CheckpointError, match="which is not plain data"):
        read_published(tmp_path / "path.pt")


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"<html></html>" * 100])
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path, content):
    (tmp_path / "file.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match="it cannot be read"):
        read_published(tmp_path / "file.pt")


@pytest.mark.parametrize("content", [[1, 2, 3], ({}, {}), ({"w": 1}, {}), ({"w": torch.ones(1)}, [1])])
def test_another_form_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "file.pt")
    with pytest.raises(CheckpointError, match=r"must (hold|be)"):
        read_published(tmp_path / "file.pt")


def test_another_class_count_is_refused_with_both_counts(published):
    weights = published.weights | {"head.weight": torch.zeros(7, 128), "head.bias": torch.zeros(7)}
    path = published(weights=weights)
    with pytest.raises(CheckpointError, match="its settings say 10 classes, its head has 7"):
        open_trained(str(path), [], published.experiment)
    content = read_published(path)[0]
    torch.save((content, {}), path)
    with pytest.raises(CheckpointError, match="a checkpoint of 7 classes, but the dataset has 10"):
        evaluate(open_trained(str(path), [], published.experiment), "test")


def test_missing_and_unexpected_tensors_are_named(published):
    weights = {name: value for name, value in published.weights.items() if name != "backbone.0.weight"}
    path = published(weights=weights | {"g.estimates": torch.zeros(3), "backbone.1.weight": torch.zeros(2)})
    with pytest.raises(CheckpointError) as caught:
        evaluate(open_trained(str(path), [], published.experiment), "test")
    for part in ("1 missing (backbone.0.weight)", "1 unexpected (g.estimates)", "1 of another shape (backbone.1.weight)"):
        assert part in str(caught.value)


def test_another_depth_is_told_with_the_way_out(published):
    path = str(published())
    with pytest.raises(ConfigError, match="its settings say resnet50, mine is resnet101; --set model=resnet50"):
        open_trained(path, ["model=resnet101"], published.experiment)
    assert open_trained(path, ["model=resnet50"], published.experiment).config.model.weights == "none"


def test_two_tensors_of_one_meaning_are_refused():
    with pytest.raises(CheckpointError, match=r"two of its tensors stand for head\.bias"):
        translate({"linear_classifier.bias": torch.ones(1), "module.linear_classifier.bias": torch.ones(1)}, "file")


def test_dataset_of_the_settings_names_the_experiment(published, tmp_path, monkeypatch):
    path = str(published())
    with pytest.raises(ConfigError, match=r"is of dataset 'digits'; name its experiment with --exp, one of voc_gpr"):
        open_trained(path)
    monkeypatch.setitem(EXPERIMENTS, "digits", "digits_an")
    assert open_trained(path).config.name == "digits_an"
    torch.save(({"w": torch.ones(1)}, {}), tmp_path / "plain.pt")
    with pytest.raises(ConfigError, match="has no settings; name its experiment"):
        open_trained(str(tmp_path / "plain.pt"))


def test_what_is_no_state_dict_of_a_classifier_is_refused_in_a_line(tmp_path, published):
    path = tmp_path / "odd.pt"
    torch.save(({"head.weight": torch.zeros(3, 4)}, {"dataset": ["coco"]}), path)
    with pytest.raises(ConfigError, match=r"is of dataset \['coco'\]; name its experiment"):
        open_trained(str(path))
    torch.save({0: torch.zeros(3, 4)}, path)
    with pytest.raises(CheckpointError, match="must hold a state dict, names to tensors"):
        open_trained(str(path), (), published.experiment)
    torch.save({"head.weight": torch.tensor(1.0)}, path)
    with pytest.raises(CheckpointError, match=r"its head must be a matrix, has shape \(\)"):
        open_trained(str(path), (), published.experiment)
