"""Every file of sweeps/: two trials of one epoch on a miniature of its dataset."""

from __future__ import annotations

from pathlib import Path

import pytest
import sweep_runs as sweeps

from aevlp import load_experiment
from aevlp.cli import main
from aevlp.sweeps.plan import Plan
from aevlp.tracking import read_metrics
from aevlp.tracking.metrics import EPOCH_METRICS

FILES = [path.stem for path in sorted((Path(__file__).parents[2] / "sweeps").glob("*.yaml"))]
DATASETS = ("digits", "scenes", "voc", "coco", "nuswide", "cub", "folder")
SMALL = (
    "trainer.epochs=1", "trainer.batch_size=8", "trainer.eval_batch_size=20", "trainer.num_workers=0", "trainer.threads=1",
    "tracking.mode=off",
)  # fmt: skip
DRAWN = ("dataset.num_train=24", "dataset.num_val=20", "dataset.num_test=20")


@pytest.mark.parametrize("name", FILES)
def test_every_study_runs_two_trials_on_a_miniature_of_its_dataset(name, prepared, encoder, monkeypatch, tmp_path):
    monkeypatch.setenv("AEVLP_DATA", str(prepared))
    words = (
        DRAWN
        if name.startswith(("digits", "scenes"))
        else ("dataset.image_size=64", "model=small_cnn", f"labeler.encoder.source={encoder}")
    )
    words = [*SMALL, *(word for word in words if word != "model=small_cnn" or "probe" not in name)]
    text = (Path(__file__).parents[2] / "sweeps" / f"{name}.yaml").read_text()
    if "\nseeds: 3" in text:  # one is enough here
        name = sweeps.write(tmp_path, text.replace("\nseeds: 3", "\nseeds: 1"), name)
    assert sweeps.run(name, "--trials", "2", "--no-confirm", "--set", *words) == 0
    name = Path(name).stem
    assert sweeps.states(name)[:2] == ["COMPLETE", "COMPLETE"]
    trials = sweeps.load(name).trials[:2]
    assert trials[0].params != trials[1].params
    grids = {load_experiment(str(run / "config.yaml")).labeler.grid for run in sweeps.run_folders(name)}
    assert len(grids) == (2 if name.endswith(("_gpr", "_grid", "_local_views")) else 1)
    if name == "digits_grid":  # whatever a study may be after is logged by a run, but for what takes other settings
        row = next(row for row in read_metrics(sweeps.run_folders(name)[0] / "metrics.jsonl") if "train/loss" in row)
        other = {
            "best/val_mAP_observed",
            "labeler/temperature",
            "labeler/threshold",
            "perf/gpu_memory_peak_mb",
            "val/mAP_assumed",
            *(metric for metric in EPOCH_METRICS if "pseudo/negative" in metric),
        }
        assert set(EPOCH_METRICS) - set(row) == other


@pytest.mark.parametrize("name", FILES)
def test_every_study_begins_with_all_its_starts(name):
    told: list[str] = []
    plan = Plan.load(name)
    assert len(plan.starts(told.append)) == len(plan.study.start)
    assert told == []


def test_there_is_a_study_for_every_dataset_and_each_is_listed(capsys):
    assert {f"{dataset}_{kind}" for dataset in DATASETS for kind in ("gpr", "grid")} <= set(FILES)
    assert main(["list", "sweeps"]) == 0
    lines = capsys.readouterr().out.splitlines()[1:]
    assert [line.split()[0] for line in lines] == FILES
    assert all(len(line.split()) > 3 for line in lines)
