"""The experiments on miniatures of their datasets: prepared by the command, rehearsed by the command."""

from __future__ import annotations

import numpy as np
import pytest
from miniatures import COCO_CATEGORIES, MAKE

from aevlp.cli import main
from aevlp.config.describe import flatten
from aevlp.config.finding import EXPERIMENTS, files
from aevlp.config.loading import load_experiment
from aevlp.config.schema import SPEED_AND_METERS

NAMES = [name for name in sorted(files(EXPERIMENTS)) if not name.startswith(("digits_", "scenes_"))]
EVERYWHERE = tuple(f"{dataset}_{method}" for dataset in MAKE for method in ("gpr", "gpr_reference", "an", "bce"))
REHEARSED = [name for name in NAMES if name in EVERYWHERE or name.startswith("coco_")]  # other methods on one dataset
REHEARSAL = (
    "dataset.image_size=64", "trainer.batch_size=3", "trainer.eval_batch_size=3", "trainer.num_workers=0", "tracking.mode=off",
)  # fmt: skip
SMALL, OWN = "model=small_cnn", "model.weights=none"  # ResNet-50 with Adam saves 280 MB twice: 5 s, so it is rehearsed once
SMALL_ENCODER = ("model.backbone={name: small_cnn}", "model.freeze=false")
MODEL = {"coco_gpr": (OWN,), "coco_mime": SMALL_ENCODER, "coco_smile": SMALL_ENCODER}


@pytest.mark.parametrize("name", REHEARSED)
def test_an_experiment_takes_two_steps_on_a_miniature_of_its_dataset(name, prepared, encoder, monkeypatch, capsys):
    monkeypatch.setenv("AEVLP_DATA", str(prepared))
    source = [f"labeler.encoder.source={encoder}"] if "gpr" in name or "vlpl" in name else []
    boost = ["model.boost=5"] if "boostlu" in name else []
    assert main(["--exp", name, "--dry-run", "--set", *REHEARSAL, *MODEL.get(name, (SMALL,)), *boost, *source]) == 0
    output = capsys.readouterr().out
    assert "dry run: two steps, one validation batch, saved and reloaded" in output


def test_a_reference_without_the_published_relation_says_so(prepared, encoder, tmp_path, capsys):
    words = [f"dataset.root={prepared / 'coco'}", f"labeler.encoder.source={encoder}", *REHEARSAL, SMALL, "trainer.epochs=1"]
    assert main(["--exp", "coco_gpr_reference", "--set", *words]) == 0
    assert "as in the public code but for the label relation" in capsys.readouterr().out.replace("\n", " ")
    relation = tmp_path / "relation.npy"
    np.save(relation, np.eye(len(COCO_CATEGORIES)))
    assert main(["--exp", "coco_gpr_reference", "--set", *words, f"labeler.label_graph.relation={relation}"]) == 0
    assert "label relation" not in capsys.readouterr().out


def test_there_are_experiments_of_every_method_for_every_dataset():
    methods = {name.removeprefix("coco_") for name in NAMES if name.startswith("coco_")}
    expected = {f"{d}_{method}" for d in MAKE for method in methods}
    assert set(NAMES) == expected - {"folder_gpr_reference"} | {"folder_probe_gpr"}


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("folder_") and name != "folder_probe_gpr"])
def test_photos_of_ones_own_have_the_values_of_coco_but_for_what_hangs_on_the_data(name):
    own, coco = (flatten(load_experiment(one).to_dict()) for one in (name, name.replace("folder_", "coco_")))
    differ = {path for path in {**own, **coco} if own.get(path) != coco.get(path)} - {"name", *SPEED_AND_METERS}
    unknown = {"labeler.label_graph.enabled", "labeler.label_graph.neighbors", "loss.regularizer", "loss.expected_positives"}
    differ = {path for path in differ if not path.startswith("dataset.")}
    assert differ == {"selection.epoch"} | (unknown if name == "folder_gpr" else set())


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("folder_")])
def test_an_experiment_that_counts_labels_says_how_to_give_their_number(name):
    counts = load_experiment(name).to_dict()["loss"].get("expected_positives", "none") != "none"
    head = [line for line in files(EXPERIMENTS)[name].read_text().splitlines() if line.startswith("#")]
    assert ("expected_positives=" in "".join(head)) == counts


def test_a_folder_without_full_labels_trains_and_claims_no_figure_it_cannot_know(tmp_path, encoder, capsys):
    from aevlp import train

    root = MAKE["folder"](tmp_path / "photos")
    table = [line.rpartition(",")[0] for line in (root / "labels.csv").read_text().splitlines()]
    (root / "labels.csv").write_text("\n".join(table) + "\n")
    overrides = [f"dataset.root={root}", f"labeler.encoder.source={encoder}", *REHEARSAL, SMALL, "trainer.epochs=1"]
    result = train(load_experiment("folder_gpr", overrides))
    assert result.test_map is None
    assert result.summary["val/mAP"] is None
    assert result.summary["pseudo/positive/precision"] is None
    assert 0 < result.summary["val/mAP_observed"] == result.best_val_map
