"""The parts of docs/extending.md as they stand there: losses keep what all losses promise, each part does what it says."""

from __future__ import annotations

import importlib.util
import itertools
import runpy
from pathlib import Path

import numpy as np
import pytest
import small_runs as runs
import torch
from doc_checks import parts_put_back
from doc_pages import blocks, pages

from aevlp import load_experiment
from aevlp.cli import main
from aevlp.config import registry
from aevlp.config.errors import DataError
from aevlp.training.run import blind

FILES = {block.name: block.text for block in blocks("docs/extending.md", pages()["docs/extending.md"]) if block.name}
PARTS = [name for name, text in FILES.items() if "@register" in text and name != "NAME.py"]
TINY = (*runs.FAST, "dataset.image_size=64", "trainer.threads=1")


@pytest.fixture
def page(tmp_path, monkeypatch):
    """A working folder with the files of the page, whose parts are there as by `--plugin`."""
    monkeypatch.chdir(tmp_path)
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    with parts_put_back():
        for name in PARTS:
            registry.load_plugin(name)
        yield tmp_path


def contracts():
    """Every test of a contract that takes the name of a loss, with the values of its other parameters."""
    for path in sorted((Path(__file__).parents[1] / "contract").glob("test_*.py")):
        spec = importlib.util.spec_from_file_location(f"contract_of_{path.stem}", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        for name, test in vars(module).items():
            given = {mark.args[0]: mark.args[1] for mark in getattr(test, "pytestmark", ()) if mark.name == "parametrize"}
            of_all = given.pop("name", None)
            for values in [] if of_all is None else itertools.product(*given.values()):
                for loss in ("focal", "echo") if of_all == registry.names("losses") else ("echo",):
                    yield pytest.param(test, {"name": loss, **dict(zip(given, values, strict=True))}, id=f"{loss}-{name}")


@pytest.mark.parametrize(("contract", "given"), list(contracts()))
def test_a_loss_of_the_page_keeps_what_every_loss_promises(contract, given, page):
    contract(**given)


def test_the_contracts_are_found():
    found = [parameter.id for parameter in contracts()]
    assert sum(name.startswith("focal-") for name in found) >= 12
    assert sum(name.startswith("echo-") for name in found) >= 17


@pytest.mark.parametrize(
    "words",
    [
        ["--exp", "digits_gpr", "--set", *TINY, "loss=focal", "loss.gamma=1.5"],
        ["--exp", "digits_gpr", "--set", *TINY, "loss=echo"],
        ["--exp", "digits_gpr", "--set", *TINY, "labeler=loudest", "labeler.threshold=0.8", "trainer.evaluate_labeler=true"],
        [
            "--exp",
            "flags_an",
            "--set",
            "loss=gpr",
            "labeler=damp",
            "labeler.encoder.name=colours",
            "trainer.threads=1",
            "trainer.epochs=2",
            "tracking.mode=off",
        ],
        ["--exp", "digits_an", "--set", *TINY, "model=depthwise", "model.width=16", "model.boost=5"],
        ["--exp", "flags_an", "--set", "trainer.threads=1", "trainer.epochs=2", "tracking.mode=off"],
    ],
    ids=["focal", "echo", "loudest", "colours", "depthwise", "tagged"],
)
def test_a_part_of_the_page_trains_and_its_run_can_be_used(words, page, capsys):
    if "flags_an" in words:
        runpy.run_path("make_flags.py")
    assert main(words) == 0
    assert main(["--resume", "latest", "--set", "trainer.epochs=3"]) == 0
    assert main(["eval", "latest"]) == 0
    assert len(runs.epoch_rows(runs.only_run())) == 3
    assert "Traceback" not in capsys.readouterr().err


def digits(*words):
    config = load_experiment("digits_gpr", [*TINY, "labeler=loudest", *words])
    data = registry.build("datasets", config.dataset)
    labeler = registry.build(
        "labelers", config.labeler, prompt_names=data.prompt_names, flip=False, seed=0, device=torch.device("cpu"), notify=print
    )
    return data, labeler


def test_the_labeler_gives_explains_and_measures_the_same_labels(page):
    data, labeler = digits()
    train = blind(data.train)
    observed, rows = torch.from_numpy(train.observed), torch.arange(len(train))
    labeler.prepare(train)
    pseudo = labeler.label(rows, observed, epoch=1)
    assert set(pseudo.unique().tolist()) == {0, 1}
    assert not pseudo[observed > 0].any()
    again = torch.zeros_like(pseudo)
    explained = labeler.explain(train)
    again[explained.row, explained.column] = explained.sign
    assert torch.equal(again, pseudo)
    scores, measured = labeler.evaluate(train)
    assert torch.equal(measured, pseudo)
    assert torch.equal(labeler.view_scores(rows).amax(dim=1), scores)
    speaking = labeler.view_scores(explained.row)[range(len(explained.row)), explained.view, explained.column]
    assert torch.equal(speaking, explained.score)
    assert labeler.count_missing(train, flip=False) == 0
    assert digits()[1].num_images_encoded == 0  # another of the same settings finds all in the cache


def test_the_encoder_keeps_what_every_encoder_promises_and_finds_the_colours(page):
    runpy.run_path("make_flags.py")
    words = ["labeler=damp", "labeler.encoder.name=colours", "labeler.grid=2", "labeler.label_graph.enabled=false", "loss=gpr"]
    config = load_experiment("flags_an", words)
    data = registry.build("datasets", config.dataset)
    encoder = registry.build("encoders", config.labeler.encoder, device="cpu")
    views = torch.randint(0, 256, (7, 3, encoder.image_size, encoder.image_size), dtype=torch.uint8)
    found = encoder.encode_images(views)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(7))
    assert torch.equal(encoder.encode_images(views[2:3])[0], found[2])
    for encoded in (len(data.train) * 5, 0):
        labeler = registry.build(
            "labelers",
            config.labeler,
            prompt_names=data.prompt_names,
            flip=False,
            seed=0,
            device=torch.device("cpu"),
            notify=print,
        )
        labeler.prepare(blind(data.train))
        assert labeler.num_images_encoded == encoded
    scores, _ = labeler.evaluate(blind(data.train))
    best = scores.argmax(dim=1)
    assert data.train.targets[range(len(best)), best].mean() > 0.95


def test_the_dataset_reads_what_is_there_and_says_what_is_wrong(page):
    runpy.run_path("make_flags.py")
    config = load_experiment("flags_an")
    data = registry.build("datasets", config.dataset)
    assert [len(split) for split in (data.train, data.val, data.test)] == [128, 32, 40]
    names = [split.images.name(row) for split in (data.train, data.val, data.test) for row in range(len(split))]
    assert len(set(names)) == 200
    assert data.class_names == ["black", "blue", "green", "red", "white"]
    assert (data.train.observed.sum(axis=1) == 1).all()
    assert (data.train.observed <= data.train.targets).all()
    full = registry.build("datasets", load_experiment("flags_an", ["dataset.train_labels=full"]).dataset)
    assert np.array_equal(full.train.observed, full.train.targets)
    for wrong in ("[1, 2]", '{"000.png": 5}', "nonsense"):
        (page / "flags" / "tags.json").write_text(wrong)
        with pytest.raises(DataError, match=r"flags/tags\.json: cannot be read as tags"):
            registry.build("datasets", config.dataset)


def test_the_model_knows_no_neighbours(page):
    config = load_experiment("digits_an", ["model=depthwise", "model.width=8"])
    model = registry.build("models", config.model, num_classes=10, image_size=64).eval()
    images = torch.randint(0, 256, (3, 3, 64, 64), dtype=torch.uint8)
    with torch.inference_mode():
        torch.testing.assert_close(model(images)[1:2], model(images[1:2]), rtol=1e-5, atol=1e-6)
